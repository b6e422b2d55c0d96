//! What peers gave back to a node that lost state. `outbound` asks them.

use crate::id::AuthorityId;

/// What recovery brought.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// Statements that were later than what was held, and are kept now.
    pub recovered: u64,
    /// Peers that answered to the end.
    pub asked: Vec<AuthorityId>,
    /// Peers that did not, and why.
    pub failed: Vec<(AuthorityId, String)>,
}
