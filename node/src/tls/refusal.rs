//! Why a door did not let somebody in. The reason is only for our own log: the other side always
//! gets the same TLS alert.

use std::sync::Arc;

use rustls::{CertificateError, Error, OtherError};

use crate::id::AuthorityId;
use crate::trust::{self, PeerState};

/// Why somebody was not let in. It contains no name of a person, and is as bounded as the names of
/// authorities.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct Refusal {
    kind: &'static str,
    sentence: String,
}

impl Refusal {
    pub(super) fn new(kind: &'static str, sentence: impl Into<String>) -> Self {
        Self { kind, sentence: sentence.into() }
    }

    /// A certificate outside of the profile.
    pub(super) fn unfit(who: &str, error: trust::CertificateError) -> Self {
        Self::new("not_in_profile", format!("{who}: its certificate does not fit: {error}"))
    }

    /// A peer whose certificate is valid, but whose state here does not permit it to connect.
    pub(super) fn standing(peer: &AuthorityId, state: PeerState) -> Self {
        let remedy = match state {
            PeerState::Pending => "approve it",
            PeerState::Suspended => "resume it if it is to come in",
            PeerState::Removed => "import its descriptor again if it is to come in",
            PeerState::Active => "nothing is wrong with it",
        };
        let sentence = format!("{peer} is {} here: {remedy}", state.as_str());
        Self::new(state.as_str(), sentence)
    }

    /// One of a few words, for counters.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// The refusal that ended a handshake, if one did.
    pub fn of(error: &std::io::Error) -> Option<&Self> {
        let error = error.get_ref()?.downcast_ref::<Error>()?;
        let Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) = error else {
            return None;
        };
        cause.downcast_ref()
    }
}

/// Every refusal becomes the alert `certificate_unknown`.
impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal))))
    }
}
