//! How tables of peers' records are walked.

use crate::id::AuthorityId;

/// Records read at a time when a stream's peers, ledgers or parked statements are walked.
pub(crate) const PAGE: usize = 256;

/// The beginning of every key that starts with this peer.
pub(crate) fn within(peer: &AuthorityId) -> Vec<u8> {
    let mut bytes = Vec::new();
    crate::store::TableKey::encode(peer, &mut bytes);
    bytes
}
