//! An own alert as it goes out: opened, read and disclosed once for all peers that get the same.

use std::sync::{Arc, Mutex, PoisonError};

use crate::alert::{ClaimSet, Facts, View};
use crate::holding::{HoldingError, read_own};
use crate::id::{AlertId, Digest};
use crate::store::{OwnAlert, Snapshot};

/// Disclosures of one alert that are held: policies give few different ones, and each is as large
/// as the alert.
const DISCLOSED_MAX: usize = 4;

/// An own alert, opened.
pub(super) struct Opened {
    pub(super) view: View,
    pub(super) facts: Facts,
    disclosed: Mutex<Vec<(ClaimSet, Disclosed)>>,
}

/// The statement with some of its claims.
#[derive(Clone)]
pub(super) struct Disclosed {
    pub(super) text: Arc<str>,
    pub(super) digest: Digest,
}

impl Opened {
    /// Opens an alert, unless a stream to another peer has just done so.
    pub(super) fn read(
        held: &Snapshot<'_>,
        alert: &AlertId,
        own: &OwnAlert,
    ) -> Result<Arc<Self>, HoldingError> {
        let open = || {
            let view = read_own(held, alert, own)?;
            // The token, what was read of it, and what is disclosed.
            let bytes = view.token.len() * (2 + DISCLOSED_MAX);
            let facts = view.facts();
            Ok::<_, HoldingError>((Self { view, facts, disclosed: Mutex::default() }, bytes))
        };
        let opened = held.opened(own.slot, open)?;
        // Whatever a slot was used for before, only this very version leaves.
        let head = &opened.view.head;
        if head.id == *alert && opened.view.jwt_digest == own.jwt_digest {
            return Ok(opened);
        }
        Ok(Arc::new(open()?.0))
    }

    /// The statement with these claims, the same bytes each time.
    pub(super) fn disclose(&self, claims: ClaimSet) -> Result<Disclosed, HoldingError> {
        let mut disclosed = self.disclosed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, held)) = disclosed.iter().find(|(of, _)| *of == claims) {
            return Ok(held.clone());
        }
        let text = self.view.disclose(claims);
        let text = text.map_err(|error| HoldingError::Alert(self.view.head.id.clone(), error))?;
        let made = Disclosed { digest: Digest::of(text.as_bytes()), text: text.into() };
        if disclosed.len() < DISCLOSED_MAX {
            disclosed.push((claims, made.clone()));
        }
        Ok(made)
    }
}
