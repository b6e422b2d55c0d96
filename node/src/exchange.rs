//! Use cases of the federation: offer, receive, receipt, retract, recover.

use crate::id::{AlertId, AuthorityId, FeedSeq, Timestamp};
use crate::node::Node;
use crate::store::{StoreError, Tx};

/// Live state of the streams to and from every peer; what is durable lies in the store.
#[derive(Default)]
pub struct Streams {}

/// How the streams with one peer stand.
#[derive(Clone, Debug, Default)]
pub struct StreamStatus {
    /// our stream to it is open
    pub sending: bool,
    /// its stream to us is open
    pub receiving: bool,
    /// when it last confirmed what we hold of it: a head that answered our fresh nonce, at the end of its feed
    pub confirmed_at: Option<Timestamp>,
    /// why nothing goes, e.g. a schema it lacks
    pub waiting: Option<String>,
    /// the last failure to reach it
    pub problem: Option<String>,
}

impl Streams {
    /// How the streams with `peer` stand.
    pub fn status(&self, peer: &AuthorityId) -> StreamStatus { todo!() }
}

/// Whether copies of `issuer` are within their lease now (decision 11), and when they were last confirmed.
pub fn lease(node: &Node, issuer: &AuthorityId) -> (bool, Option<Timestamp>) { todo!() }

/// Whether the node found that it lost state (its own later heads came back from a peer): nothing is issued until a person acts.
pub fn lost_state(node: &Node) -> Result<bool, StoreError> { todo!() }

/// Gives a new version or withdrawal of `alert` its place in the feed, frees the place it had, and wakes the dispatchers.
pub fn feed(tx: &mut Tx<'_>, alert: &AlertId, withdrawn: bool, freed: Option<FeedSeq>) -> FeedSeq { todo!() }

/// After a change of policy, in the same transaction: every stream decides anew, what peers hold first.
pub fn sweep(tx: &mut Tx<'_>) -> Result<(), StoreError> { todo!() }

/// When a peer becomes active, in the same transaction: its stream begins, or goes on with everything decided anew.
pub fn open_stream(tx: &mut Tx<'_>, peer: &AuthorityId) -> Result<(), StoreError> { todo!() }

/// Offers again what `peer` refused, in the same transaction; how many.
pub fn retry_parked(tx: &mut Tx<'_>, peer: &AuthorityId) -> Result<u64, StoreError> { todo!() }

/// After a loss of state was repaired: a new epoch towards every peer, and the stop ends. In the approving transaction.
pub fn start_epochs(tx: &mut Tx<'_>) -> Result<(), StoreError> { todo!() }
