//! What we start: connections to peers, the dispatch loop of each, tests of a peer, recovery.

use crate::id::AuthorityId;
use crate::node::SharedNode;

/// One step of `entente peer test`.
#[derive(Clone, Debug)]
pub struct TestStep { /// name, tcp, tls, trust, version, clock, stream
    pub name: &'static str, /// whether it went well
    pub ok: bool, /// what was found
    pub found: String, /// what to do about it; empty when ok
    pub hint: String }

/// Tries each step towards a peer in turn; stops at the first that fails.
pub async fn test_peer(node: &SharedNode, peer: &AuthorityId) -> Vec<TestStep> { todo!() }

/// What recovery brought.
#[derive(Clone, Debug, Default)]
pub struct Recovered { /// statements fetched and kept
    pub recovered: u64, /// peers that answered
    pub asked: Vec<AuthorityId>, /// peers that did not, and why
    pub failed: Vec<(AuthorityId, String)> }

/// Fetches this node's own later statements from every active peer.
pub async fn recover(node: &SharedNode) -> Recovered { todo!() }
