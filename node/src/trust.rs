//! Authorities, their descriptors and life cycle, and when whose keys are valid. Trust is
//! bilateral.

mod descriptor;
mod directory;
mod endpoint;
mod ends;
mod peer;
mod profile;

pub use descriptor::{DESCRIPTOR_TYP, DatedKey, Descriptor, Draft, Fingerprint, SignedDescriptor};
pub use directory::{Directory, Known};
pub use endpoint::{Reach, endpoint_parts};
pub use ends::{Ending, Ends, Part};
pub use peer::{Peer, PeerState};
pub use profile::{
    CHAIN_MAX, CertificateError, Identity, certificate_end, certificate_end_der,
    certificate_identity, certificate_issuer, chain_end, check_intermediates, check_leaf,
    check_root, check_root_der, is_user_name, key_digest,
};

use crate::id::AuthorityId;
use crate::jose::{JoseError, SignError};
use crate::reason::Reason;

/// Why trust was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// Not a descriptor, or not signed by the identity key it names.
    #[error("the descriptor does not verify: {0}")]
    Descriptor(#[from] JoseError),
    /// A list or text is empty or too long.
    #[error("the descriptor's {0} is empty, too long or malformed")]
    Bounds(&'static str),
    /// An endpoint is not host and port, or is an address that nobody can connect to.
    #[error(
        "an endpoint of the descriptor is not host:port, or a wildcard, multicast or link-local \
         address: ask for a descriptor whose endpoints peers can reach"
    )]
    Endpoint,
    /// The contact has characters that hide or change what people read.
    #[error(
        "the descriptor's contact holds invisible, control or direction-changing characters, or \
         blanks at its ends: ask for another"
    )]
    Contact,
    /// A TLS root does not fit the certificate profile.
    #[error("a TLS root of the descriptor does not fit the certificate profile: {0}")]
    Root(CertificateError),
    /// The draft is for another identity key or has none.
    #[error("the descriptor names another identity key than the one that signs it")]
    OtherIdentity,
    /// A known authority uses another identity key.
    #[error(
        "{0} is known with another identity key: remove the peer, then import it anew and compare \
         fingerprints"
    )]
    IdentityChanged(AuthorityId),
    /// Not newer than the one held.
    #[error("the descriptor has serial {given}, and {held} is held: ask for the newest")]
    OldSerial {
        /// As imported.
        given: u64,
        /// As held.
        held: u64,
    },
    /// One person can't import and approve.
    #[error("who imported a peer can't approve it: ask another coordinator")]
    SamePerson,
    /// The fingerprint that was read out is not that of the imported descriptor.
    #[error(
        "the fingerprint is not that of the imported descriptor: compare again, on another channel"
    )]
    FingerprintDiffers,
    /// The peer's present state does not permit this.
    #[error("{}", unreachable_state(from, to))]
    State {
        /// Now.
        from: &'static str,
        /// Asked for.
        to: &'static str,
    },
    /// It could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The authority's own descriptor.
    #[error("this is the authority's own descriptor")]
    Own,
}

fn unreachable_state(from: &str, to: &str) -> String {
    if from == to {
        return format!("the peer is {from} already");
    }
    format!("a peer that is {from} can't become {to}")
}

impl TrustError {
    /// Stable and machine-readable.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Descriptor(error) => error.reason(),
            Self::Sign(error) => error.reason(),
            Self::Bounds(_) => Reason::DescriptorOutOfBounds,
            Self::Endpoint => Reason::EndpointNotPermitted,
            Self::Contact => Reason::ContactNotPermitted,
            Self::Root(_) => Reason::RootNotInProfile,
            Self::OtherIdentity => Reason::OtherIdentity,
            Self::IdentityChanged(_) => Reason::IdentityChanged,
            Self::OldSerial { .. } => Reason::OldSerial,
            Self::SamePerson => Reason::SamePerson,
            Self::FingerprintDiffers => Reason::FingerprintDiffers,
            Self::State { .. } => Reason::StateNotPossible,
            Self::Own => Reason::OwnDescriptor,
        }
    }
}
