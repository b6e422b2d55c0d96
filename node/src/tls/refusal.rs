//! Why a door did not let somebody in: the reason is for our own log, since the other side gets the
//! same TLS alert whatever it was.

use std::sync::Arc;

use rustls::{CertificateError, Error, OtherError};

use crate::id::AuthorityId;
use crate::trust::{self, PeerState};

/// Why somebody was not let in. Holds no name of a person, and is bounded as the names of
/// authorities are.
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

    /// A peer whose certificate is sound, and which may not come in as it stands here.
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

    /// One of few words, for counters.
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
