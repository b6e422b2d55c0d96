//! Imports: like creating, but a draft that was imported before creates nothing while its alert is
//! live.

use super::conflicts::Confirmed;
use super::create::create_draft;
use super::imported::ImportEntry;
use super::read::is_live;
use super::{DeskError, Issued};
use crate::alert::Draft;
use crate::id::AlertId;
use crate::node::{Node, SharedNode};
use crate::roles::Actor;
use crate::store::{Imports, Own, StoreError, Tombstones};

/// How often a line is tried again: lines of one import are processed in parallel, and two about
/// the same person conflict.
const RACES_MAX: usize = 8;

/// A line of an import.
#[derive(Clone, Default)]
pub struct Line {
    /// The draft (JSON).
    pub draft: String,
    /// The officer's reason for going on although an own alert has the same document, VIN or plate;
    /// empty if none was given.
    pub override_reason: String,
    /// Creates a new alert if the one that this draft created before has ended.
    pub recreate: bool,
}

/// The result of a line of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// A new alert.
    Created(Issued),
    /// The live alert that the same draft created before.
    Existing(AlertId),
}

/// Imports a draft. A keyed hash recognises the same checked content.
///
/// # Errors
/// Like [`super::create`]; also when the alert that the draft created before has ended, unless the
/// line says `recreate`: somebody who disappears a second time must not be lost.
pub async fn import(node: &SharedNode, line: &Line, actor: &Actor) -> Result<Imported, DeskError> {
    let turn = node.precedence.turn().await;
    let draft = Draft::parse(&line.draft, node.clock.now())?;
    let key = node.store.index_key(&[b"import\0", draft.digest().0.as_slice()].concat());
    let mut entry = ImportEntry { key, ended: None };
    if let Some(id) = node.store.get::<Imports>(&key)? {
        if is_live(node, &node.store, &id)? {
            drop(turn);
            node.store.settled().await?;
            return Ok(Imported::Existing(id));
        }
        if !line.recreate {
            return Err(ended(node, id)?);
        }
        entry.ended = Some(id);
    }
    let confirmed = Confirmed::same_identifiers(&line.override_reason);
    let create =
        |turn| create_draft(node, &draft, confirmed, actor, Some(entry.clone()), Some(turn));
    let mut created = create(turn).await;
    for _ in 0..RACES_MAX {
        if !matches!(created, Err(DeskError::Raced(_))) {
            break;
        }
        created = create(node.precedence.turn().await).await;
    }
    match created {
        Ok(issued) => Ok(Imported::Created(issued)),
        Err(DeskError::AlreadyImported(id)) => Ok(Imported::Existing(id)),
        Err(error) => Err(error),
    }
}

fn ended(node: &Node, id: AlertId) -> Result<DeskError, StoreError> {
    let (state, at) = match (node.store.get::<Tombstones>(&id)?, node.store.get::<Own>(&id)?) {
        (Some(tombstone), _) => (tombstone.erased.as_str(), tombstone.at),
        (None, Some(own)) => ("expired", own.expires_at),
        (None, None) => return Ok(DeskError::NotFound(id)),
    };
    Ok(DeskError::ImportEnded { id, state, at })
}
