//! Hands back to an authority that lost state what it issued itself and this node holds.

use crate::exchange::pages::{PAGE, within};
use crate::id::{AlertId, AuthorityId};
use crate::node::Node;
use crate::store::{Copies, HeldCopy, Restores, StoreError, Tombstones, about};
use crate::text::from_utf8;

/// How far statements were handed back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handed {
    /// Alerts up to this one.
    Alerts(Option<AlertId>),
    /// All alerts, and withdrawals and retractions up to this one.
    Words(Option<AlertId>),
}

/// Statements read at a time for a peer that recovers: 1 MiB at most, which the gate counts for the
/// call.
const HANDED_AT_ONCE: usize = 16;

/// What this node holds that `issuer` itself issued, a page after `after`, and where to go on:
/// alerts as received, then withdrawals and retractions, then the restores of its log.
///
/// # Errors
/// When the store cannot be read.
pub fn statements_of(
    node: &Node,
    issuer: &AuthorityId,
    after: &Handed,
) -> Result<(Vec<String>, Option<Handed>), StoreError> {
    let of_issuer = within(issuer);
    match after {
        Handed::Alerts(after) => {
            let page = node.store.scan::<Copies>(&of_issuer, after.as_ref(), HANDED_AT_ONCE)?;
            let new = page.iter().filter(|(id, _)| Some(id) != after.as_ref());
            let statements =
                new.map(|(id, copy)| unsealed(node, id, copy)).collect::<Result<_, _>>();
            let next = match last_of_full(&page) {
                Some(last) => Handed::Alerts(Some(last)),
                None => Handed::Words(None),
            };
            Ok((statements?, Some(next)))
        }
        Handed::Words(after) => {
            let page = node.store.scan::<Tombstones>(&of_issuer, after.as_ref(), HANDED_AT_ONCE)?;
            let next = last_of_full(&page).map(|last| Handed::Words(Some(last)));
            let new = page.into_iter().filter(|(id, _)| Some(id) != after.as_ref());
            let mut words: Vec<_> = new.filter_map(|(_, tombstone)| tombstone.statement).collect();
            if next.is_none() {
                let restores = node.store.scan::<Restores>(&of_issuer, None, PAGE)?;
                words.extend(restores.into_iter().map(|(_, jws)| jws));
            }
            Ok((words, next))
        }
    }
}

fn last_of_full<T>(page: &[(AlertId, T)]) -> Option<AlertId> {
    page.last().filter(|_| page.len() == HANDED_AT_ONCE).map(|(id, _)| id.clone())
}

fn unsealed(node: &Node, id: &AlertId, copy: &HeldCopy) -> Result<String, StoreError> {
    let text = node.store.unseal(copy.slot, &about(false, id), &copy.token)?;
    from_utf8(text).map_err(|_| StoreError::Corrupt("a token is no text".to_owned()))
}
