//! Hands back to an authority that lost state what this node holds of its own statements.

use crate::exchange::kind::Kind;
use crate::exchange::restores::RESTORES_MAX;
use crate::holding::{copy_text, is_sent, signed_notice};
use crate::id::{AlertId, AuthorityId, NoticeId};
use crate::node::Node;
use crate::store::{
    Copies, HeldCopy, Notices, Read, Restores, Scan, Snapshot, StoreError, Tombstones,
};

/// How far statements were handed back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecoveryCursor {
    /// Alerts up to this one.
    Alerts(Option<AlertId>),
    /// All alerts, and withdrawals and retractions up to this one.
    Words(Option<AlertId>),
    /// All of these, the restores, and notices up to this one.
    Notices(Option<NoticeId>),
}

/// Statements read at a time for a peer that recovers: at most 1 MiB, which the gate reserves for
/// the call.
const HANDED_AT_ONCE: usize = 16;

/// A page of what this node holds of `issuer`'s own statements, after `after`, and where to
/// continue: alerts as received, then withdrawals and retractions, then the restores of its log,
/// and notices where the issuer's `protocol` has them.
///
/// # Errors
/// When the store cannot be read.
pub fn statements_of(
    node: &Node,
    issuer: &AuthorityId,
    after: &RecoveryCursor,
    protocol: u32,
) -> Result<(Vec<String>, Option<RecoveryCursor>), StoreError> {
    node.store.read_blocking(|now| match after {
        RecoveryCursor::Alerts(after) => {
            let page = now.scan(Scan::<Copies>::of(issuer).after(after), HANDED_AT_ONCE)?;
            let text = |(id, copy): &(AlertId, HeldCopy)| copy_text(now, id, copy);
            let statements = page.iter().map(text).collect::<Result<_, _>>()?;
            let next = match last_of_full(&page) {
                Some(last) => RecoveryCursor::Alerts(Some(last)),
                None => RecoveryCursor::Words(None),
            };
            Ok((statements, Some(next)))
        }
        RecoveryCursor::Words(after) => {
            let page = now.scan(Scan::<Tombstones>::of(issuer).after(after), HANDED_AT_ONCE)?;
            let mut next = last_of_full(&page).map(|last| RecoveryCursor::Words(Some(last)));
            let words = page.into_iter().filter_map(|(_, tombstone)| tombstone.statement);
            let mut words: Vec<_> = words.collect();
            if next.is_none() {
                let restores = now.scan(Scan::<Restores>::of(issuer), RESTORES_MAX)?;
                words.extend(restores.into_iter().map(|(_, jws)| jws));
                let has_notices = Kind::Notice.rules().protocol <= protocol;
                next = has_notices.then_some(RecoveryCursor::Notices(None));
            }
            Ok((words, next))
        }
        RecoveryCursor::Notices(after) => notices_of(now, issuer, after.as_ref()),
    })
}

fn notices_of(
    now: &Snapshot<'_>,
    issuer: &AuthorityId,
    after: Option<&NoticeId>,
) -> Result<(Vec<String>, Option<RecoveryCursor>), StoreError> {
    let after = after.map(|id| (issuer.clone(), id.clone()));
    let page = now.scan(Scan::<Notices>::of(issuer).after(&after), HANDED_AT_ONCE)?;
    let received = page.iter().filter(|(key, _)| !is_sent(key));
    let statements = received.map(|(key, held)| signed_notice(now, key, held));
    let statements = statements.collect::<Result<_, _>>()?;
    let last = page.last().filter(|_| page.len() == HANDED_AT_ONCE);
    Ok((statements, last.map(|((_, id), _)| RecoveryCursor::Notices(Some(id.clone())))))
}

fn last_of_full<T>(page: &[(AlertId, T)]) -> Option<AlertId> {
    page.last().filter(|_| page.len() == HANDED_AT_ONCE).map(|(id, _)| id.clone())
}
