//! An officer's draft becomes an alert: checked, signed, sealed, indexed, and given to the feed in one commit.

use super::conflicts::{Confirmed, conflicts};
use super::import::Note;
use super::{DeskError, Issued};
use crate::alert::{self, Draft, View};
use crate::audit::{Event, Operation};
use crate::exchange;
use crate::holding::Sealed;
use crate::id::{AlertId, Version};
use crate::matching::{MATCH_KEYS_MAX, unsearchable};
use crate::node::{Node, SharedNode};
use crate::roles::Actor;
use crate::store::{Change, Committed, Own, StoreError, Tombstones, Tx};

/// Tries for an id that was never given before: two in a row collide once in 10¹⁰ alerts.
const ID_TRIES: usize = 8;

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
    let draft = Draft::parse(draft)?;
    create_draft(node, &draft, Confirmed::everything(confirmation), actor, None).await
}

/// As [`create`], for a checked draft; an import notes the draft's digest, so that it makes nothing twice.
pub(super) async fn create_draft(
    node: &SharedNode,
    draft: &Draft,
    confirmed: Confirmed<'_>,
    actor: &Actor,
    imported: Option<Note>,
) -> Result<Issued, DeskError> {
    let conflict = conflicts(node, draft, None, confirmed)?;
    let mut warnings = conflict.warnings();
    warnings.extend(unsearchable(draft.content()));
    let (now, year) = (node.clock.now(), node.clock.now().date().year());
    let id = unused_id(node, u16::try_from(year).unwrap_or_default())?;
    let view = alert::issue(draft, id.clone(), 1, None, now, &node.statement_key, &node.entropy)?;
    let sealed = sealed(node, view)?;
    let event = conflict.noted(created_event(&sealed.view, actor));
    let event = imported.iter().fold(event, |event, note| note.noted(event));
    let committed = node.store.commit_growing(move |tx| {
        may_issue(tx)?;
        conflict.unchanged(tx)?;
        if let Some(note) = imported {
            note.keep(tx, &sealed.view.head.id)?;
        }
        enter(tx, &sealed, None, "created");
        Ok::<_, DeskError>(Committed::new((), event))
    });
    committed.await?;
    Ok(Issued { id, version: 1, warnings })
}

fn unused_id(node: &Node, year: u16) -> Result<AlertId, DeskError> {
    for _ in 0..ID_TRIES {
        let id = AlertId::random(&node.authority, year, &node.entropy);
        let used =
            node.store.get::<Own>(&id)?.is_some() || node.store.get::<Tombstones>(&id)?.is_some();
        if !used {
            return Ok(id);
        }
    }
    Err(StoreError::Corrupt("no unused alert id was found".to_owned()).into())
}

fn created_event(view: &View, actor: &Actor) -> Event {
    Event::new(Operation::Collect, "alert.created", &actor.name)
        .alert(&view.head.id)
        .with("version", view.head.version)
        .with("jwt", view.jwt_digest.to_string())
}

/// Nothing is issued while the node knows that it forgot what it issued.
pub(super) fn may_issue(tx: &Tx<'_>) -> Result<(), DeskError> {
    if exchange::is_stopped(tx)? { Err(DeskError::LostState) } else { Ok(()) }
}

/// Enters the newest version of an own alert, in place of the one at `freed`.
pub(super) fn enter(tx: &mut Tx<'_>, sealed: &Sealed, freed: Option<u64>, kind: &'static str) {
    let head = &sealed.view.head;
    let feed = exchange::feed(tx, &head.id, false, freed);
    sealed.enter_own(tx, feed, false);
    tx.announce(Change::Alert { kind, id: head.id.clone(), version: head.version });
}

/// Version `version` of an own alert, signed and sealed.
pub(super) fn next_version(
    node: &Node,
    draft: &Draft,
    before: &View,
    version: Version,
) -> Result<Sealed, DeskError> {
    let (id, previous) = (before.head.id.clone(), Some(before.jwt_digest));
    let (now, key) = (node.clock.now(), &node.statement_key);
    let view = alert::issue(draft, id, version, previous, now, key, &node.entropy)?;
    sealed(node, view)
}

fn sealed(node: &Node, view: View) -> Result<Sealed, DeskError> {
    let sealed = Sealed::own(node, view);
    let few = sealed.match_keys().len() <= MATCH_KEYS_MAX;
    if few { Ok(sealed) } else { Err(DeskError::TooManyMatchKeys) }
}
