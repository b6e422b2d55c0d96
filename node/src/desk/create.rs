//! Turns an officer's draft into an alert: checks, signs, seals and indexes it, and puts it into
//! the feed in one commit.

use std::sync::Arc;

use super::conflicts::{Confirmed, Conflicts, conflicts};
use super::imported::ImportEntry;
use super::issue::{enter, key_in_force, may_date, may_issue, sealed};
use super::{DeskError, Issued};
use crate::alert::{self, Draft, View};
use crate::audit::{Event, Operation};
use crate::holding::Sealed;
use crate::id::AlertId;
use crate::matching::unsearchable;
use crate::node::{Node, SharedNode};
use crate::precedence::Turn;
use crate::roles::Actor;
use crate::store::{CommitError, Committed, Growth, Own, Tombstones, Tx};

/// How often to draw an unused id: with a million alerts in a year one draw in a hundred is taken.
const ID_TRIES: usize = 16;

/// Creates an alert from a draft (JSON). `override_reason` is the officer's reason for going on
/// despite a conflict, or empty.
///
/// # Errors
/// When the draft is refused, incompatible, or cannot be kept.
pub async fn create(
    node: &SharedNode,
    draft: &str,
    override_reason: &str,
    actor: &Actor,
) -> Result<Issued, DeskError> {
    let draft = Draft::parse(draft, node.clock.now())?;
    create_draft(node, &draft, Confirmed::everything(override_reason), actor, None, None).await
}

/// As [`create`], for a checked draft; an import enters the draft's digest, so that it makes
/// nothing twice, and its turn ends with the commit.
pub(super) async fn create_draft(
    node: &SharedNode,
    draft: &Draft,
    confirmed: Confirmed<'_>,
    actor: &Actor,
    imported: Option<ImportEntry>,
    mut turn: Option<Turn<'_>>,
) -> Result<Issued, DeskError> {
    may_date(node)?;
    key_in_force(node)?;
    let found = node.store.read_blocking(|now| conflicts(node, now, draft, None, confirmed));
    let conflict = Arc::new(found?);
    let mut warnings = conflict.warnings();
    warnings.extend(unsearchable(draft.content()));
    for _ in 0..ID_TRIES {
        let id = unused_id(node)?;
        let (now, key) = (node.clock.now(), &node.statement_key);
        let view = alert::issue(draft, id.clone(), 1, None, now, key, &node.entropy)?;
        let sealed = sealed(node, view)?;
        let event = conflict.noted(created_event(&sealed.view, actor)).of_case(sealed.case);
        let event = imported.iter().fold(event, |event, entry| entry.with_predecessor(event));
        let (conflict, entry) = (Arc::clone(&conflict), imported.clone());
        if let Some(turn) = &mut turn {
            turn.ready().await;
        }
        let committed = node
            .store
            .commit_growing(Growth::Content, move |tx| begin(tx, &sealed, &conflict, entry, event));
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
    /// Another alert got its number between the draw and the commit. The signed token contains it,
    /// so both are made again.
    Taken,
    Refused(DeskError),
}

impl<E: Into<DeskError>> From<E> for NotBegun {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

/// Enters the first version of an alert, if nothing prevents it now.
fn begin(
    tx: &mut Tx<'_>,
    sealed: &Sealed,
    conflict: &Conflicts,
    imported: Option<ImportEntry>,
    event: Event,
) -> Result<Committed<()>, NotBegun> {
    may_issue(tx)?;
    conflict.unchanged(tx)?;
    let id = &sealed.view.head.id;
    if tx.get::<Own>(id)?.is_some() || tx.get::<Tombstones>(id)?.is_some() {
        return Err(NotBegun::Taken);
    }
    if let Some(entry) = imported {
        entry.enter(tx, id)?;
    }
    enter(tx, sealed, None, "created");
    Ok(Committed::new((), event))
}

/// An id that no alert has or had. Another caller may draw it too, so the transaction checks again.
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
