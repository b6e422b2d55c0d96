//! This node lost state: it stops issuing, fetches its own later statements from peers that hold them, and
//! goes on in a new epoch once two persons said so.

use super::resume::done;
use super::stream;
use crate::alert::{self, AlertError, View};
use crate::audit::{Event, Operation};
use crate::holding::{HoldingError, Sealed, forget_own, read_own};
use crate::id::{AlertId, AuthorityId};
use crate::node::{Node, SharedNode};
use crate::store::{
    CommitError, Committed, Copies, Erased, HeldCopy, Meta, Own, OwnAlert, StoreError, Tombstone,
    Tombstones, Tx, about,
};
use crate::text::from_utf8;

/// Key in [`Meta`] of the stop: present while this node may not issue.
const STOP_KEY: &str = "lost_state";

/// Why a recovered statement was not kept.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// Not a statement of this node's that verifies.
    #[error("not a statement of this node: {0}")]
    Alert(#[from] AlertError),
    /// What is held of it can't be read.
    #[error(transparent)]
    Holding(#[from] HoldingError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether the node found that it lost state (its own later heads came back from a peer): nothing is issued
/// until people act.
///
/// # Errors
/// When the store cannot be read.
pub fn lost_state(node: &Node) -> Result<bool, StoreError> {
    Ok(node.store.get::<Meta>(&STOP_KEY.to_owned())?.is_some())
}

/// As [`lost_state`], inside a transaction.
pub(crate) fn is_stopped(tx: &Tx<'_>) -> Result<bool, StoreError> {
    Ok(tx.get::<Meta>(&STOP_KEY.to_owned())?.is_some())
}

/// Stops issuing to all: `peer` holds later statements under our own signature.
pub(super) async fn stop<E: From<StoreError>>(
    node: &SharedNode,
    peer: &AuthorityId,
) -> Result<(), E> {
    let peer = peer.clone();
    done(node.store.commit(move |tx| {
        tx.put::<Meta>(&STOP_KEY.to_owned(), &tx.now().seconds().to_be_bytes().to_vec());
        let event = Event::new(Operation::Key, "alarm.lost_state", "node").peer(&peer);
        Ok(Committed::new((), event))
    }))
    .await
}

pub(super) fn end_stop(tx: &mut Tx<'_>) {
    tx.delete::<Meta>(&STOP_KEY.to_owned());
}

/// How far statements were handed back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handed {
    /// Alerts up to this one.
    Alerts(Option<AlertId>),
    /// All alerts, and withdrawals up to this one.
    Withdrawals(Option<AlertId>),
}

/// Statements read at a time for a peer that recovers: 1 MiB at most, which the gate counts for the call.
const HANDED_AT_ONCE: usize = 16;

/// What this node holds that `issuer` itself issued, a page after `after`, and where to go on: alerts as received, then
/// withdrawals.
///
/// # Errors
/// When the store cannot be read.
pub fn statements_of(
    node: &Node,
    issuer: &AuthorityId,
    after: &Handed,
) -> Result<(Vec<String>, Option<Handed>), StoreError> {
    let within = stream::within(issuer);
    match after {
        Handed::Alerts(after) => {
            let page = node.store.scan::<Copies>(&within, after.as_ref(), HANDED_AT_ONCE)?;
            let new = page.iter().filter(|(id, _)| Some(id) != after.as_ref());
            let statements =
                new.map(|(id, copy)| unsealed(node, id, copy)).collect::<Result<_, _>>();
            let next = match last_of_full(&page) {
                Some(last) => Handed::Alerts(Some(last)),
                None => Handed::Withdrawals(None),
            };
            Ok((statements?, Some(next)))
        }
        Handed::Withdrawals(after) => {
            let page = node.store.scan::<Tombstones>(&within, after.as_ref(), HANDED_AT_ONCE)?;
            let next = last_of_full(&page).map(|last| Handed::Withdrawals(Some(last)));
            let new = page.into_iter().filter(|(id, _)| Some(id) != after.as_ref());
            let withdrawn = new.filter(|(_, t)| t.erased == Erased::Withdrawn);
            Ok((withdrawn.filter_map(|(_, tombstone)| tombstone.statement).collect(), next))
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

/// Keeps a statement of this node's own that a peer handed back; returns whether it brought something that was not held.
/// Of an alert only the claims that peers had been given come back, those of all of them together.
///
/// # Errors
/// When it is not this node's own, or the store failed.
pub async fn keep_recovered(node: &SharedNode, statement: &str) -> Result<bool, RecoverError> {
    let key_of = |issuer: &AuthorityId, kid: &_| {
        (*issuer == node.authority).then(|| node.own_statement_key(kid)).flatten()
    };
    let now = node.clock.now();
    if let Ok(withdrawal) = alert::verify_withdrawal(statement, key_of, now) {
        let (id, version) = (withdrawal.jti, withdrawal.ver);
        let text = statement.to_owned();
        return kept(node.store.commit(move |tx| keep_withdrawal(tx, &id, version, text)).await);
    }
    let view = with_claims_held(node, alert::verify(statement, key_of, now)?)?;
    let sealed = Sealed::own(node, view);
    kept(node.store.commit(move |tx| keep_alert(tx, &sealed)).await)
}

/// The view with the claims that another peer handed back before.
fn with_claims_held(node: &Node, view: View) -> Result<View, RecoverError> {
    let held = node.store.get::<Own>(&view.head.id)?;
    let Some(held) = held.filter(|own| own.recovered && own.jwt_digest == view.jwt_digest) else {
        return Ok(view);
    };
    Ok(alert::joined(&read_own(node, &view.head.id, &held)?, &view)?)
}

fn kept(committed: Result<bool, CommitError<StoreError>>) -> Result<bool, RecoverError> {
    committed.map_err(|error| match error {
        CommitError::Refused(error) | CommitError::Store(error) => error.into(),
    })
}

fn keep_withdrawal(
    tx: &mut Tx<'_>,
    id: &AlertId,
    version: u32,
    text: String,
) -> Result<Committed<bool>, StoreError> {
    let known = tx.get::<Tombstones>(id)?.is_some_and(|t| t.erased == Erased::Withdrawn);
    if !known {
        let own = tx.get::<Own>(id)?;
        if let Some(own) = &own {
            forget_own(tx, id, own);
        }
        let tombstone = Tombstone {
            erased: Erased::Withdrawn,
            version,
            jwt_digest: own.as_ref().map(|own| own.jwt_digest),
            at: tx.now(),
            statement: Some(text),
        };
        tx.put::<Tombstones>(id, &tombstone);
        stream::feed(tx, id, true, own.map(|own| own.feed));
    }
    let event = Event::new(Operation::Erase, "alert.withdrawal_recovered", "node").alert(id);
    Ok(Committed::new(!known, event.with("new", !known)))
}

fn keep_alert(tx: &mut Tx<'_>, sealed: &Sealed) -> Result<Committed<bool>, StoreError> {
    let (id, view) = (&sealed.view.head.id, &sealed.view);
    let own = tx.get::<Own>(id)?;
    let brings = |own: &OwnAlert| {
        let fuller = own.recovered && own.claims != view.claims;
        own.version < view.head.version || own.jwt_digest == view.jwt_digest && fuller
    };
    let later = own.as_ref().is_none_or(brings) && tx.get::<Tombstones>(id)?.is_none();
    if later {
        if let Some(own) = &own {
            forget_own(tx, id, own);
        }
        enter_own(tx, sealed, own.map(|own| own.feed));
    }
    let event = Event::new(Operation::Collect, "alert.recovered", "node")
        .alert(id)
        .with("version", view.head.version)
        .with("new", later)
        .of_case(sealed.case);
    Ok(Committed::new(later, event))
}

fn enter_own(tx: &mut Tx<'_>, sealed: &Sealed, freed: Option<u64>) {
    let feed = stream::feed(tx, &sealed.view.head.id, false, freed);
    sealed.enter_own(tx, feed, true);
}
