//! Imports: as creating, but a draft that was imported before makes nothing again.

use super::create::create_draft;
use super::{DeskError, Issued};
use crate::alert::Draft;
use crate::id::AlertId;
use crate::node::SharedNode;
use crate::roles::Actor;
use crate::store::{Imports, IndexKey, Tx};

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
        return Ok(Imported::Existing(id));
    }
    match create_draft(node, &draft, "", actor, Some(key)).await {
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
