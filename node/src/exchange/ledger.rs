//! What a peer holds, or may hold, of an alert.

use crate::id::Version;
use crate::store::{Disclosed, LedgerEntry};

/// Whether the peer holds, or may hold, something of the alert that was not taken back.
pub(crate) fn may_hold(ledger: &LedgerEntry) -> bool {
    ledger.taken_back.is_none() && (ledger.held.is_some() || !ledger.possible.is_empty())
}

/// Whether the peer may hold something of the alert that does not end with its last version.
pub(super) fn may_outlive(ledger: &LedgerEntry, last: Version) -> bool {
    let last_held = ledger.held.as_ref().is_some_and(|held| held.version == last);
    may_hold(ledger) && !(last_held && ledger.possible.is_empty())
}

/// Disclosures of one alert that a peer may hold, kept apart: a peer that acknowledges none, or
/// hands every part of it back to us, makes no record too large.
pub(super) const POSSIBLE_MAX: usize = 64;

/// Joins the oldest two: what they disclosed stays in the ledger.
pub(super) fn bound(possible: &mut Vec<Disclosed>) {
    if possible.len() > POSSIBLE_MAX {
        let oldest = possible.remove(0);
        if let Some(next) = possible.first_mut() {
            next.claims = next.claims.union(oldest.claims);
        }
    }
}
