//! An officer's draft becomes an alert: checked, signed, sealed, indexed, and given to the feed in
//! one commit.

use std::sync::Arc;

use super::conflicts::{Confirmed, Conflicts, conflicts};
use super::import::Note;
use super::{DeskError, Issued};
use crate::alert::{self, Draft, View};
use crate::audit::{Event, Operation};
use crate::exchange;
use crate::holding::Sealed;
use crate::id::{AlertId, Digest, Version};
use crate::matching::{MATCH_KEYS_MAX, unsearchable};
use crate::node::{ClockDoubt, Node, SharedNode, clock_doubt};
use crate::precedence::Turn;
use crate::roles::Actor;
use crate::store::{Change, CommitError, Committed, Own, Tombstones, Tx};
use crate::trust::Part;

/// Tries for an id that was never given before: with a million alerts in a year one draw in a
/// hundred is taken.
const ID_TRIES: usize = 16;

/// Creates an alert from a draft (JSON). `confirmation` is the officer's reason to go on where
/// [`DeskError::ConfirmationNeeded`] was answered; else empty.
///
/// # Errors
/// When the draft is refused, incompatible, or cannot be kept.
pub async fn create(
    node: &SharedNode,
    draft: &str,
    confirmation: &str,
    actor: &Actor,
) -> Result<Issued, DeskError> {
    let draft = Draft::parse(draft, node.clock.now())?;
    create_draft(node, &draft, Confirmed::everything(confirmation), actor, None, None).await
}

/// As [`create`], for a checked draft; an import notes the draft's digest, so that it makes nothing
/// twice, and its turn ends with the commit.
pub(super) async fn create_draft(
    node: &SharedNode,
    draft: &Draft,
    confirmed: Confirmed<'_>,
    actor: &Actor,
    imported: Option<Note>,
    mut turn: Option<Turn<'_>>,
) -> Result<Issued, DeskError> {
    may_date(node)?;
    key_in_force(node)?;
    let conflict = Arc::new(conflicts(node, draft, None, confirmed)?);
    let mut warnings = conflict.warnings();
    warnings.extend(unsearchable(draft.content()));
    for _ in 0..ID_TRIES {
        let id = unused_id(node)?;
        let (now, key) = (node.clock.now(), &node.statement_key);
        let view = alert::issue(draft, id.clone(), 1, None, now, key, &node.entropy)?;
        let sealed = sealed(node, view)?;
        let event = conflict.noted(created_event(&sealed.view, actor)).of_case(sealed.case);
        let event = imported.iter().fold(event, |event, note| note.noted(event));
        let (conflict, note) = (Arc::clone(&conflict), imported.clone());
        if let Some(turn) = &mut turn {
            turn.ready().await;
        }
        let committed =
            node.store.commit_growing(move |tx| begin(tx, &sealed, &conflict, note, event));
        match committed.await {
            Ok(()) => return Ok(Issued { id, version: 1, warnings }),
            Err(CommitError::Refused(NotBegun::Taken)) => {}
            Err(CommitError::Refused(NotBegun::Refused(error))) => return Err(error),
            Err(CommitError::Store(error)) => return Err(error.into()),
        }
    }
    Err(DeskError::NoFreeId)
}

/// Why a new alert was not entered.
enum NotBegun {
    /// Its number was given to another between the draw and the commit: it is in the signed token,
    /// so both are made anew.
    Taken,
    Refused(DeskError),
}

impl<E: Into<DeskError>> From<E> for NotBegun {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

/// Enters the first version of an alert, if nothing speaks against it now.
fn begin(
    tx: &mut Tx<'_>,
    sealed: &Sealed,
    conflict: &Conflicts,
    imported: Option<Note>,
    event: Event,
) -> Result<Committed<()>, NotBegun> {
    may_issue(tx)?;
    conflict.unchanged(tx)?;
    let id = &sealed.view.head.id;
    if tx.get::<Own>(id)?.is_some() || tx.get::<Tombstones>(id)?.is_some() {
        return Err(NotBegun::Taken);
    }
    if let Some(note) = imported {
        note.keep(tx, id)?;
    }
    enter(tx, sealed, None, "created");
    Ok(Committed::new((), event))
}

/// An id that no alert has, and none that was erased. Another caller may draw it too: the
/// transaction looks again.
fn unused_id(node: &Node) -> Result<AlertId, DeskError> {
    let year = u16::try_from(node.clock.now().date().year()).unwrap_or_default();
    for _ in 0..ID_TRIES {
        let id = AlertId::random(&node.authority, year, &node.entropy);
        let used =
            node.store.get::<Own>(&id)?.is_some() || node.store.get::<Tombstones>(&id)?.is_some();
        if !used {
            return Ok(id);
        }
    }
    Err(DeskError::NoFreeId)
}

fn created_event(view: &View, actor: &Actor) -> Event {
    Event::new(Operation::Collect, "alert.created", &actor.name)
        .alert(&view.head.id)
        .with("version", view.head.version)
        .with("jwt", view.jwt_digest.to_string())
}

/// Nothing new is signed with a key that has ended: peers would refuse it. A withdrawal is, since
/// it erases here.
pub(super) fn key_in_force(node: &Node) -> Result<(), DeskError> {
    let ended = node.ends.load().ended(Part::StatementKey, node.clock.now());
    ended.map_or(Ok(()), |at| Err(DeskError::KeyEnded(at)))
}

/// Nothing is issued while the node knows that it forgot what it issued.
pub(super) fn may_issue(tx: &Tx<'_>) -> Result<(), DeskError> {
    if exchange::is_stopped(tx)? { Err(DeskError::LostState) } else { Ok(()) }
}

/// Nothing is signed for a time in the past.
pub(super) fn may_date(node: &Node) -> Result<(), DeskError> {
    match clock_doubt(node).filter(ClockDoubt::forbids_issuing) {
        Some(doubt) => Err(DeskError::ClockInDoubt(Box::new(doubt))),
        None => Ok(()),
    }
}

/// Enters the newest version of an own alert, in place of the one at `freed`.
pub(super) fn enter(tx: &mut Tx<'_>, sealed: &Sealed, freed: Option<u64>, kind: &'static str) {
    let head = &sealed.view.head;
    let feed = exchange::feed(tx, &head.id, false, freed);
    sealed.enter_own(tx, feed, false);
    tx.announce(Change::Alert { kind, id: head.id.clone(), version: head.version });
}

/// Version `version` of an own alert after the one with the digest `previous`, signed and sealed.
pub(super) fn next_version(
    node: &Node,
    draft: &Draft,
    id: &AlertId,
    (version, previous): (Version, Digest),
) -> Result<Sealed, DeskError> {
    let (id, now, key) = (id.clone(), node.clock.now(), &node.statement_key);
    let view = alert::issue(draft, id, version, Some(previous), now, key, &node.entropy)?;
    sealed(node, view)
}

fn sealed(node: &Node, view: View) -> Result<Sealed, DeskError> {
    let sealed = Sealed::own(node, view);
    let few = sealed.match_keys().len() <= MATCH_KEYS_MAX;
    if few { Ok(sealed) } else { Err(DeskError::TooManyMatchKeys) }
}
