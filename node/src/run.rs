//! Starts a node from its home folder and ends it in good order.

use std::net::SocketAddr;
use std::path::Path;
use crate::id::{Clock, Entropy};
use crate::node::SharedNode;

/// What tests set and people don't.
#[derive(Clone, Debug)]
pub struct Options { /// time
    pub clock: Clock, /// randomness
    pub entropy: Entropy }

/// A running node.
pub struct Running {
    /// its state, for tests
    pub node: SharedNode,
    /// exchange door as bound
    pub exchange: SocketAddr,
    /// desk door as bound
    pub desk: SocketAddr,
    /// health and metrics as bound
    pub telemetry: SocketAddr,
}

impl Running {
    /// Ends in good order: no new calls, those under way end (within a bound), the writer commits what waits.
    pub async fn stop(self) -> anyhow::Result<()> { todo!() }
}

/// Parses the configuration whole, opens the store, binds the doors, starts the loops.
pub async fn start(home: &Path, options: Options) -> anyhow::Result<Running> { todo!() }
