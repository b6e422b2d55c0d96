//! Issues again what was issued while the clock was ahead, once the clock is right: peers refuse it
//! until that time comes.

use super::DeskError;
use super::issue::{may_issue, next_version};
use crate::alert::{self, AlertError, Draft, View, WITHDRAWAL_TYP, Withdrawal};
use crate::audit::{Event, Operation};
use crate::exchange::{self, FUTURE_IAT};
use crate::holding::{forget_own, read_own};
use crate::id::{AlertId, CLOCK_TOLERANCE_S, Timestamp};
use crate::jose;
use crate::node::{Node, SharedNode};
use crate::store::{
    Change, CommitError, Committed, Own, OwnAlert, ParkedOut, Read, Scan, StoreError, Table,
    Tombstone, Tombstones,
};

/// Which alerts to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// Those that a peer refused because they were dated in its future.
    Refused,
    /// All, because the clock is known to have been ahead.
    All,
}

/// Issues again what is dated ahead of the time that the node believes now; returns how many.
///
/// # Errors
/// When a record cannot be read, or the store failed.
pub async fn reissue(node: &SharedNode, which: Ahead) -> Result<usize, DeskError> {
    if exchange::lost_state(node)? {
        return Ok(0);
    }
    let alerts = match which {
        Ahead::Refused if node.store.count::<ParkedOut>() == 0 => vec![],
        Ahead::Refused => {
            let refused = keys::<ParkedOut>(node, |parked| parked.reason == FUTURE_IAT)?;
            refused.into_iter().filter_map(|(_, subject)| subject.alert().cloned()).collect()
        }
        Ahead::All => {
            let mut alerts = keys::<Own>(node, |_| true)?;
            alerts.extend(keys::<Tombstones>(node, |gone| gone.statement.is_some())?);
            alerts
        }
    };
    let mut count = 0;
    for alert in alerts {
        match anew(node, &alert).await {
            Ok(made) => count += usize::from(made),
            // It was updated or withdrawn meanwhile.
            Err(DeskError::NotFound(_)) => {}
            Err(DeskError::Draft(error)) if !matches!(error, AlertError::Sign(_)) => {
                tracing::error!(%alert, "dated ahead of the time, and not to be issued anew: \
                                         {error}");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

/// The keys of a table whose records match.
fn keys<T: Table>(
    node: &Node,
    fits: impl Fn(&T::Value) -> bool,
) -> Result<Vec<T::Key>, StoreError> {
    let mut keys = Vec::new();
    Scan::<T>::all().for_each(&node.store, |key, value| {
        if fits(&value) {
            keys.push(key);
        }
    })?;
    Ok(keys)
}

async fn anew(node: &SharedNode, id: &AlertId) -> Result<bool, DeskError> {
    if *id.authority() != node.authority {
        return Ok(false);
    }
    let looked = node.store.read_blocking(|now| match now.get::<Own>(id)? {
        Some(own) => Ok::<_, DeskError>(Some((read_own(now, id, &own)?, own))),
        None => Ok(None),
    });
    if let Some((before, own)) = looked? {
        return alert_anew(node, id, before, own).await;
    }
    match node.store.get::<Tombstones>(id)? {
        Some(tombstone) => withdrawal_anew(node, id, tombstone).await,
        None => Ok(false),
    }
}

fn is_ahead(node: &SharedNode, issued_at: Timestamp) -> bool {
    issued_at > node.clock.now().plus(CLOCK_TOLERANCE_S)
}

/// The next version of the alert, with the right times and nothing else changed.
async fn alert_anew(
    node: &SharedNode,
    id: &AlertId,
    before: View,
    held: OwnAlert,
) -> Result<bool, DeskError> {
    if !is_ahead(node, before.head.issued_at) {
        return Ok(false);
    }
    let draft = Draft::again(&before.content, node.clock.now());
    let (followed, previous) =
        exchange::followed(&node.store, id, (held.version, held.jwt_digest))?;
    let version = followed + 1;
    let sealed = next_version(node, &draft, id, (version, previous))?;
    let event = Event::new(Operation::Alter, "alert.reissued", "node")
        .alert(id)
        .with("version", version)
        .with("jwt", sealed.view.jwt_digest.to_string())
        .with("dated", before.head.issued_at.to_string())
        .of_case(sealed.case);
    let key = id.clone();
    let committed = node.store.commit(move |tx| {
        may_issue(tx)?;
        let own = tx.get::<Own>(&key)?.filter(|own| own.jwt_digest == held.jwt_digest);
        let own = own.ok_or_else(|| DeskError::NotFound(key.clone()))?;
        if !exchange::heal_fork(tx, &key, followed)? {
            return Err(DeskError::NotFound(key));
        }
        forget_own(tx, &key, &own);
        let feed = exchange::feed(tx, &key, false, Some(own.feed));
        sealed.enter_own(tx, feed, own.recovered);
        tx.announce(Change::Alert { kind: "updated", id: key, version });
        Ok::<_, DeskError>(Committed::new(true, event))
    });
    committed.await.map_err(CommitError::flatten)
}

/// The same withdrawal, signed again.
async fn withdrawal_anew(
    node: &SharedNode,
    id: &AlertId,
    held: Tombstone,
) -> Result<bool, DeskError> {
    let said = held.statement.as_deref().map(|text| jose::peek::<Withdrawal>(WITHDRAWAL_TYP, text));
    let Some(Ok(said)) = said else { return Ok(false) };
    if !is_ahead(node, Timestamp::from_seconds(said.iat)) {
        return Ok(false);
    }
    let text = alert::withdraw(id, held.version, node.clock.now(), &node.statement_key)?;
    let event = Event::new(Operation::Erase, "alert.withdrawal_reissued", "node").alert(id);
    let key = id.clone();
    let committed = node.store.commit(move |tx| {
        may_issue(tx)?;
        tx.put::<Tombstones>(&key, &Tombstone { statement: Some(text), ..held });
        exchange::feed(tx, &key, true, None);
        Ok::<_, DeskError>(Committed::new(true, event))
    });
    committed.await.map_err(CommitError::flatten)
}
