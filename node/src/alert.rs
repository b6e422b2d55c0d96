//! The typed alert: its vocabularies, what a category permits, generalised claims; issuing,
//! disclosing, verifying. An alert is an SD-JWT (RFC 9901), signed once; each peer gets it with the
//! claims policy allows.

mod claims;
mod content;
mod dates;
mod draft;
mod explain;
mod fault;
mod fields;
mod identifier;
mod nearest;
mod reading;
mod regions;
mod rules;
mod schema;
mod template;
mod text;
mod token;
mod vocabulary;
mod withdrawal;

pub use claims::ClaimSet;
pub use content::{Content, Location, Name, Object, Subject};
pub use draft::{DRAFT_BYTES_MAX, Draft};
pub use explain::{Explained, explain};
pub use fault::{Fault, FaultKind, Faults};
pub use identifier::{Identifier, IdentifierKind};
pub use schema::schema;
pub(crate) use text::checked_lines;
pub use token::{Facts, Head, Succession, View, issue, joined, read, succeeds, verify};
pub use vocabulary::{
    Act, BasedOn, Category, Consent, Control, Exploitation, Handling, LocationKind, Means,
    NameKind, ObjectKind, Sex, SubjectCategory, Urgency, Warning,
};
pub use withdrawal::{Withdrawal, verify_withdrawal, withdraw};

use crate::id::Versions;
use crate::jose::{JoseError, SignError};
use crate::reason::Reason;

/// `typ` of an alert.
pub const ALERT_TYP: &str = "entente-alert+sd-jwt";

/// `typ` of a withdrawal.
pub const WITHDRAWAL_TYP: &str = "entente-withdrawal+jwt";

/// Schema of alerts that this version writes, and the newest it reads.
pub const SCHEMA: u32 = 1;

/// Versions of the schema that this version reads.
pub const SCHEMAS: Versions = Versions::new(1, SCHEMA);

/// A token with all its disclosures, in bytes.
pub const TOKEN_BYTES_MAX: usize = crate::jose::TOKEN_BYTES_MAX;

/// Why an alert was refused. No variant holds a value of a claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AlertError {
    /// The token itself is invalid.
    #[error(transparent)]
    Token(#[from] JoseError),
    /// Not the JSON of an alert; says where.
    #[error("not the JSON of an alert: {0}")]
    Json(String),
    /// This node does not read its `schema`.
    #[error("the alert's schema is not one that this node reads")]
    UnknownSchema,
    /// `iat` lies more than 5 minutes ahead.
    #[error("the alert is dated in the future: compare the clocks")]
    FutureIat,
    /// Its time is over.
    #[error("the alert has expired")]
    Expired,
    /// A plain claim is missing or malformed.
    #[error("the plain claim {0} is missing or malformed")]
    Plain(&'static str),
    /// The id names another issuer.
    #[error("the alert's id names another issuer")]
    NotTheIssuer,
    /// Claims are missing, malformed, not permitted, or have values that they may not have: each
    /// with its place.
    #[error("{0}")]
    Content(Faults),
    /// Older than the version held.
    #[error("a newer version is held")]
    OlderVersion,
    /// The issuer signed two different alerts for one id and version.
    #[error("the issuer signed two different alerts with one id and version")]
    Equivocation,
    /// The alert was withdrawn.
    #[error("the alert was withdrawn")]
    Withdrawn,
    /// It could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl AlertError {
    /// Stable and machine-readable.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Token(error) => error.reason(),
            Self::Json(_) => Reason::JsonMalformed,
            Self::UnknownSchema => Reason::UnknownSchema,
            Self::FutureIat => Reason::FutureIat,
            Self::Expired => Reason::Expired,
            Self::Plain(_) => Reason::PlainClaimMalformed,
            Self::NotTheIssuer => Reason::NotTheIssuer,
            Self::Content(faults) => faults.reason(),
            Self::OlderVersion => Reason::OlderVersion,
            Self::Equivocation => Reason::Equivocation,
            Self::Withdrawn => Reason::Withdrawn,
            Self::Sign(error) => error.reason(),
        }
    }
}

#[cfg(test)]
mod tests;
