//! The typed alert: its vocabularies, what a category permits, generalised claims; issuing, disclosing, verifying.

use crate::id::{AlertId, AuthorityId, Digest, Entropy, KeyId, Timestamp, Version};
use crate::jose::{PublicKey, SigningKey};

/// `typ` of an alert.
pub const ALERT_TYP: &str = "entente-alert+sd-jwt";
/// `typ` of a withdrawal.
pub const WITHDRAWAL_TYP: &str = "entente-withdrawal+jwt";
/// Schema this version writes; it reads the minor versions next to it (DESIGN.md, Wire).
pub const SCHEMA: u32 = 1;
/// A token with all its disclosures, in bytes.
pub const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// What an officer submits: JSON, unknown fields refused. (Typed: category, exploitation, act, means, control, urgency, handling, evaluation,
/// legal_basis, case_ref, subjects[], objects[], locations[] as DOMAIN.md has them. No Debug of values.)
#[derive(Clone)]
pub struct Draft {/* Content */}

impl Draft {
    /// Parses and checks everything that needs no history: vocabularies, normal forms, what the category permits, mandatory claims, bounds, hostile Unicode.
    pub fn parse(json: &str) -> Result<Self, AlertError> { todo!() }
    /// A filled-in example for a category, as JSON, for `entente alert template`.
    pub fn template(category: Category) -> String { todo!() }
    /// The content.
    pub fn content(&self) -> &Content { todo!() }
    /// Digest of the canonical content: an import that is repeated makes nothing twice.
    pub fn digest(&self) -> Digest { todo!() }
}

/// The disclosed claims of an alert, typed; in a view everything but the core claims may be absent. Serialises to the JSON that people see.
#[derive(Clone)]
pub struct Content {/* all fields Option / Vec; subjects, objects, locations typed structs with pub accessors */}

/// Category of an alert (DOMAIN.md). Methods: action(), retention, coercive(): checks and seizure, protective(); as_str; FromStr; ALL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category { /* ChildPreventTravel … */ Placeholder }

/// The plain claims of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// `jti`
    pub id: AlertId,
    /// `ver`
    pub version: Version,
    /// `iat`
    pub issued_at: Timestamp,
    /// `exp`, the end of a month
    pub expires_at: Timestamp,
    /// `prev`
    pub previous: Option<Digest>,
    /// `schema`
    pub schema: u32,
}

/// Names of claims, as policies and the ledger speak of them, e.g. `category`, `subjects.birth_date`, `subjects.identifiers.phone`: a bit set over
/// the fixed catalogue of the schema. Serialises as its bits (u128). Methods: EMPTY, ALL, CORE (always in a view: category, handling, evaluation, expires_at, subjects.category,
/// objects.kind …), contains, is_subset, union, intersection, minus, names() -> Vec<&'static str>, parse(name or `subjects.*`) -> Result<ClaimSet>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct ClaimSet(u128);

/// An alert, own or received, with the claims that are disclosed in `token`.
#[derive(Clone)]
pub struct View {
    /// Plain claims.
    pub head: Head,
    /// Disclosed claims.
    pub content: Content,
    /// Which claims are disclosed.
    pub claims: ClaimSet,
    /// SHA-256 of the issuer-signed JWT.
    pub jwt_digest: Digest,
    /// The text as signed.
    pub token: String,
}

/// What sharing rules look at.
#[derive(Clone, Debug)]
pub struct Facts {/* pub category, exploitation: Vec<_>, urgency, handling: Vec<_>, subject_categories: Vec<_>, claims: ClaimSet */}

impl View {
    /// For the policy.
    pub fn facts(&self) -> Facts { todo!() }
    /// The token with no claims but `claims` (those present). Deterministic.
    pub fn disclose(&self, claims: ClaimSet) -> Result<String, AlertError> { todo!() }
}

/// What the held version of an alert means for a new one that verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Succession { First, Next, Gap, SameView, OtherView }

/// Judges a verified alert against the one held: `OlderVersion`, `PreviousContradicts`, `Equivocation` are errors.
pub fn succeeds(held: Option<(Version, Digest)>, new: &View) -> Result<Succession, AlertError> { todo!() }

/// Signs version `version` of an alert.
pub fn issue(draft: &Draft, id: AlertId, version: Version, previous: Option<Digest>, now: Timestamp, key: &SigningKey, entropy: &Entropy) -> Result<View, AlertError> { todo!() }

/// Strictly verifies what came from outside. `key_of(issuer, kid)` gives a key only if it is the issuer's and valid now. Everything that needs no history is checked:
/// see the list in the issue. Bounded by [`TOKEN_BYTES_MAX`].
pub fn verify(token: &str, key_of: impl FnOnce(&AuthorityId, &KeyId) -> Option<PublicKey>, now: Timestamp) -> Result<View, AlertError> { todo!() }

/// Reads a token of our own store, without checking the signature again.
pub fn read(token: &str) -> Result<View, AlertError> { todo!() }

/// A withdrawal: the issuer's last word on an alert.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Withdrawal { /// issuer
    pub iss: AuthorityId, /// alert
    pub jti: AlertId, /// last version
    pub ver: Version, /// when, UTC seconds
    pub iat: i64 }

/// Signs a withdrawal.
pub fn withdraw(id: &AlertId, version: Version, now: Timestamp, key: &SigningKey) -> String { todo!() }
/// Verifies one.
pub fn verify_withdrawal(jws: &str, key_of: impl FnOnce(&AuthorityId, &KeyId) -> Option<PublicKey>, now: Timestamp) -> Result<Withdrawal, AlertError> { todo!() }

/// Why an alert was refused; `reason()` is stable and machine-readable (snake_case), e.g. `unknown_key`, `future_iat`, `expired`, `older_version`,
/// `equivocation`, `previous_contradicts`, `withdrawn`, `claim_not_permitted`, `unknown_schema`, `unknown_alg`, `unknown_typ`, `duplicate_claim`, `duplicate_digest`, `orphan_disclosure`, `disclosure_reused`, `reserved_name` …
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AlertError {
    /// Placeholder.
    #[error("…")]
    Placeholder,
}
