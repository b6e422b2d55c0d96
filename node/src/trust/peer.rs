//! The life cycle of a peer: imported by one person, approved by another, suspended, resumed,
//! removed.

use serde::{Deserialize, Serialize};

use super::{Fingerprint, SignedDescriptor, TrustError};
use crate::id::{AuthorityId, Timestamp};

/// The state of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerState {
    /// Imported, and waiting for a second person.
    Pending,
    /// Exchanges.
    Active,
    /// Neither sends nor receives; nothing is erased.
    Suspended,
    /// Trust has ended.
    Removed,
}

impl PeerState {
    /// The word for it, on the wire and in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Removed => "removed",
        }
    }
}

/// A peer as this node holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Who.
    pub authority: AuthorityId,
    /// Its state.
    pub state: PeerState,
    /// Increases with every change; no offer outlives the revision under which it was decided.
    pub revision: u64,
    /// The descriptor in force, as signed.
    pub descriptor: String,
    /// A newer descriptor that waits for approval.
    pub pending: Option<String>,
    /// Who imported it.
    pub imported_by: String,
    /// Who approved it.
    pub approved_by: Option<String>,
    /// When it last changed.
    pub changed_at: Timestamp,
}

impl Peer {
    /// Imports a descriptor. A new peer is pending then; a known peer keeps its old descriptor
    /// until the newer one is approved.
    ///
    /// # Errors
    /// When it is not newer, or comes with another identity key.
    pub fn import(
        held: Option<&Self>,
        descriptor: &SignedDescriptor,
        by: &str,
        now: Timestamp,
    ) -> Result<Self, TrustError> {
        let said = descriptor.descriptor();
        let fresh = |revision| Self {
            authority: said.authority.clone(),
            state: PeerState::Pending,
            revision,
            descriptor: descriptor.jws().to_owned(),
            pending: None,
            imported_by: by.to_owned(),
            approved_by: None,
            changed_at: now,
        };
        let Some(held) = held else { return Ok(fresh(1)) };
        if matches!(held.state, PeerState::Removed | PeerState::Pending) {
            return Ok(fresh(held.revision + 1));
        }
        let before = SignedDescriptor::parse(&held.descriptor)?;
        if before.fingerprint() != descriptor.fingerprint() {
            return Err(TrustError::IdentityChanged(held.authority.clone()));
        }
        let (given, known) = (said.serial, before.descriptor().serial);
        if given <= known {
            return Err(TrustError::OldSerial { given, held: known });
        }
        let pending = Some(descriptor.jws().to_owned());
        let imported_by = by.to_owned();
        Ok(Self { pending, imported_by, changed_at: now, ..held.clone() })
    }

    /// Approves the imported descriptor, by a second person who has compared the fingerprint.
    ///
    /// # Errors
    /// When it is the same person, the fingerprint differs, or nothing is pending.
    pub fn approve(
        &self,
        by: &str,
        fingerprint: &Fingerprint,
        now: Timestamp,
    ) -> Result<Self, TrustError> {
        let waits = self.state == PeerState::Pending || self.pending.is_some();
        if !waits {
            return Err(TrustError::State { from: self.state.as_str(), to: "active" });
        }
        if self.imported_by == by {
            return Err(TrustError::SamePerson);
        }
        let descriptor = self.pending.as_ref().unwrap_or(&self.descriptor);
        if SignedDescriptor::admit(descriptor)?.fingerprint() != *fingerprint {
            return Err(TrustError::FingerprintDiffers);
        }
        let state = match self.state {
            PeerState::Pending => PeerState::Active,
            other => other,
        };
        Ok(Self {
            state,
            revision: self.revision + 1,
            descriptor: descriptor.clone(),
            pending: None,
            approved_by: Some(by.to_owned()),
            changed_at: now,
            ..self.clone()
        })
    }

    /// Suspends, resumes or removes.
    ///
    /// # Errors
    /// When the present state does not allow it.
    pub fn change(&self, to: PeerState, now: Timestamp) -> Result<Self, TrustError> {
        use PeerState as S;
        match (self.state, to) {
            (S::Active, S::Suspended)
            | (S::Suspended, S::Active)
            | (S::Pending | S::Active | S::Suspended, S::Removed) => {
                Ok(Self { state: to, revision: self.revision + 1, changed_at: now, ..self.clone() })
            }
            (from, to) => Err(TrustError::State { from: from.as_str(), to: to.as_str() }),
        }
    }
}
