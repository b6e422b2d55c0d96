//! Which drafts were imported, so that none makes two alerts.

use super::DeskError;
use crate::audit::Event;
use crate::id::AlertId;
use crate::store::{Imports, IndexKey, Tx};

/// Which draft an alert is made of.
#[derive(Clone)]
pub(super) struct ImportEntry {
    pub(super) key: IndexKey,
    /// The alert that the same draft made before, which has ended.
    pub(super) ended: Option<AlertId>,
}

impl ImportEntry {
    /// The event, with the alert that this one follows.
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
