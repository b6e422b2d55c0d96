//! Imports: as creating, but a draft that was imported before makes nothing again.

use super::create::create_draft;
use super::{DeskError, Issued};
use crate::alert::Draft;
use crate::id::AlertId;
use crate::node::SharedNode;
use crate::roles::Actor;
use crate::store::{Imports, IndexKey, Tx};

/// Lines of one import are worked on side by side: where two are about the same person, one is looked at again, at most
/// so often.
const RACES_MAX: usize = 8;

/// What a line of an import came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// A new alert.
    Created(AlertId),
    /// The alert that the same draft made before.
    Existing(AlertId),
}

/// Imports a draft (JSON). The same checked content is known again by a keyed hash.
///
/// # Errors
/// As [`super::create`]; an import gives no confirmation.
pub async fn import(node: &SharedNode, draft: &str, actor: &Actor) -> Result<Imported, DeskError> {
    let draft = Draft::parse(draft)?;
    let key = node.store.index_key(&[b"import\0", draft.digest().0.as_slice()].concat());
    if let Some(id) = node.store.get::<Imports>(&key)? {
        node.store.settled().await?;
        return Ok(Imported::Existing(id));
    }
    let mut created = create_draft(node, &draft, "", actor, Some(key)).await;
    for _ in 0..RACES_MAX {
        if !matches!(created, Err(DeskError::Raced(_))) {
            break;
        }
        created = create_draft(node, &draft, "", actor, Some(key)).await;
    }
    match created {
        Ok(Issued { id, .. }) => Ok(Imported::Created(id)),
        Err(DeskError::AlreadyImported(id)) => Ok(Imported::Existing(id)),
        Err(error) => Err(error),
    }
}

/// Notes which alert a draft made; refuses when another line of the same import was quicker.
pub(super) fn note(tx: &mut Tx<'_>, key: IndexKey, id: &AlertId) -> Result<(), DeskError> {
    if let Some(before) = tx.get::<Imports>(&key)? {
        return Err(DeskError::AlreadyImported(before));
    }
    tx.put::<Imports>(&key, id);
    Ok(())
}
