//! What peers handed back to a node that lost state. `outbound` asks them.

use crate::id::AuthorityId;

/// The result of a recovery.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// Number of statements that were newer than what the node held, and are kept now.
    pub recovered: u64,
    /// Peers that answered completely.
    pub asked: Vec<AuthorityId>,
    /// Peers that did not, with the reason.
    pub failed: Vec<(AuthorityId, String)>,
}
