//! Which drafts were imported, so that none makes two alerts.

use super::DeskError;
use crate::audit::Event;
use crate::id::AlertId;
use crate::store::{Imports, IndexKey, Tx};

/// The draft that an alert was created from.
#[derive(Clone)]
pub(super) struct ImportEntry {
    pub(super) key: IndexKey,
    /// The ended alert that the same draft created before.
    pub(super) ended: Option<AlertId>,
}

impl ImportEntry {
    /// Adds the alert that this one follows to the event.
    pub(super) fn with_predecessor(&self, event: Event) -> Event {
        match &self.ended {
            Some(id) => event.with("again_after", id.to_string()),
            None => event,
        }
    }

    /// Enters which alert the draft made; refuses when another line of the same import was quicker.
    pub(super) fn enter(&self, tx: &mut Tx<'_>, id: &AlertId) -> Result<(), DeskError> {
        match tx.get::<Imports>(&self.key)? {
            Some(before) if self.ended.as_ref() != Some(&before) => {
                Err(DeskError::AlreadyImported(before))
            }
            _ => {
                tx.put::<Imports>(&self.key, id);
                Ok(())
            }
        }
    }
}
