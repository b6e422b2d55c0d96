//! JWS (RFC 7515) and SD-JWT (RFC 9901): sign, disclose, verify. Parsing is strict, total and
//! bounded.

mod json;
mod key;
mod sd_jwt;

pub(crate) use json::read as read_json;
pub use key::{PublicKey, SigningKey};
pub use sd_jwt::{Claim, SdJwt, Verified};

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::id::KeyId;
use crate::reason::Reason;

/// Largest statement, in bytes: an alert with all its disclosures.
pub const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// Why a token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JoseError {
    /// Over [`TOKEN_BYTES_MAX`].
    #[error("the token is larger than 64 KiB")]
    TooLarge,
    /// Not three parts, or parts missing.
    #[error("the token does not have the parts it must have")]
    Malformed,
    /// Not base64url, or not in canonical form.
    #[error("a part of the token is not canonical base64url")]
    Base64,
    /// Not JSON, or nested too deeply.
    #[error("a part of the token is not the JSON it must be")]
    Json,
    /// An object has the same name twice.
    #[error("a name stands twice in one object")]
    DuplicateClaim,
    /// `alg` is not `EdDSA`.
    #[error("the token's alg is not EdDSA")]
    UnknownAlg,
    /// `typ` is not the expected one.
    #[error("the token's typ is not the one expected here")]
    UnknownTyp,
    /// The header has a member that is not permitted, such as `crit`.
    #[error("the token's header says more than alg, typ and kid")]
    UnknownHeader,
    /// No valid key of the issuer has this `kid`.
    #[error("no valid key of the issuer has the token's kid")]
    UnknownKey,
    /// The signature does not verify.
    #[error("the signature does not verify")]
    Signature,
    /// `_sd_alg` is missing, misplaced or not `sha-256`.
    #[error("_sd_alg is not sha-256, or not at the top")]
    UnknownSdAlg,
    /// A disclosure is not an array of two or three elements that fits its place.
    #[error("a disclosure does not fit its place")]
    Disclosure,
    /// A digest stands twice.
    #[error("a digest stands twice in the token")]
    DuplicateDigest,
    /// No digest in the token belongs to a disclosure.
    #[error("a disclosure has no digest in the token")]
    OrphanDisclosure,
    /// The same disclosure is given twice.
    #[error("a disclosure is given twice")]
    DisclosureReused,
    /// A disclosure claims a reserved name.
    #[error("a disclosure has a reserved name")]
    ReservedName,
    /// Too many disclosures or digests.
    #[error("the token has more disclosures or digests than are read")]
    TooMany,
    /// Not a point of the curve, or a weak one.
    #[error("the key is not a sound Ed25519 key")]
    Key,
}

impl JoseError {
    /// Stable and machine-readable.
    pub fn reason(self) -> Reason {
        match self {
            Self::TooLarge => Reason::TooLarge,
            Self::Malformed => Reason::MalformedToken,
            Self::Base64 => Reason::Base64NotCanonical,
            Self::Json => Reason::JsonMalformed,
            Self::DuplicateClaim => Reason::DuplicateClaim,
            Self::UnknownAlg => Reason::UnknownAlg,
            Self::UnknownTyp => Reason::UnknownTyp,
            Self::UnknownHeader => Reason::UnknownHeader,
            Self::UnknownKey => Reason::UnknownKey,
            Self::Signature => Reason::SignatureInvalid,
            Self::UnknownSdAlg => Reason::UnknownSdAlg,
            Self::Disclosure => Reason::DisclosureMalformed,
            Self::DuplicateDigest => Reason::DuplicateDigest,
            Self::OrphanDisclosure => Reason::OrphanDisclosure,
            Self::DisclosureReused => Reason::DisclosureReused,
            Self::ReservedName => Reason::ReservedName,
            Self::TooMany => Reason::TooManyDisclosures,
            Self::Key => Reason::KeyUnsound,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: KeyId,
}

const ALG: &str = "EdDSA";

/// A key of this node's own did not sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nothing could be signed ({0}): look after what holds this node's keys, then try again")]
pub struct SignError(pub(crate) String);

impl SignError {
    /// Stable and machine-readable.
    pub fn reason(&self) -> Reason {
        Reason::SigningFailed
    }
}

/// Signs `payload` as a compact JWS with this `typ`.
///
/// # Errors
/// When the key does not sign now.
pub fn sign(typ: &str, payload: &impl Serialize, key: &SigningKey) -> Result<String, SignError> {
    let header = Header { alg: ALG.to_owned(), typ: typ.to_owned(), kid: key.key_id() };
    let part = |json: serde_json::Result<Vec<u8>>| {
        let json = json.map_err(|error| SignError(error.to_string()))?;
        Ok(Base64UrlUnpadded::encode_string(&json))
    };
    let header = part(serde_json::to_vec(&header))?;
    let payload = part(serde_json::to_vec(payload))?;
    let input = format!("{header}.{payload}");
    let signature = Base64UrlUnpadded::encode_string(&key.sign(input.as_bytes())?);
    Ok(format!("{input}.{signature}"))
}

/// Verifies a compact JWS: size, header, the key that `key_of` gives for its `kid`, the signature
/// (`verify_strict`), and only then the payload.
///
/// # Errors
/// [`JoseError`], the first that applies.
pub fn verify<T: DeserializeOwned>(
    typ: &str,
    jws: &str,
    key_of: impl FnOnce(&KeyId) -> Option<PublicKey>,
) -> Result<T, JoseError> {
    let parts = Parts::split(jws)?;
    let header = parts.header(typ)?;
    let key = key_of(&header.kid).ok_or(JoseError::UnknownKey)?;
    parts.check(&key)?;
    json::parse_as(&parts.payload()?)
}

/// Reads the payload *before* the signature is checked, for a statement that carries its own key;
/// the caller must then [`verify`] it.
///
/// # Errors
/// When header or payload are not what they must be.
pub fn peek<T: DeserializeOwned>(typ: &str, jws: &str) -> Result<T, JoseError> {
    let parts = Parts::split(jws)?;
    parts.header(typ)?;
    json::parse_as(&parts.payload()?)
}

/// The three parts of a compact JWS, still encoded.
struct Parts<'a> {
    input: &'a str,
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
}

impl<'a> Parts<'a> {
    fn split(jws: &'a str) -> Result<Self, JoseError> {
        if jws.len() > TOKEN_BYTES_MAX {
            return Err(JoseError::TooLarge);
        }
        let (input, signature) = jws.rsplit_once('.').ok_or(JoseError::Malformed)?;
        let (header, payload) = input.split_once('.').ok_or(JoseError::Malformed)?;
        if payload.contains('.') {
            return Err(JoseError::Malformed);
        }
        Ok(Self { input, header, payload, signature })
    }

    fn header(&self, typ: &str) -> Result<Header, JoseError> {
        #[derive(Deserialize)]
        struct Loose {
            alg: Option<String>,
            typ: Option<String>,
        }
        let bytes = decode(self.header)?;
        let loose: Loose = json::parse_as(&bytes)?;
        if loose.alg.as_deref() != Some(ALG) {
            return Err(JoseError::UnknownAlg);
        }
        if loose.typ.as_deref() != Some(typ) {
            return Err(JoseError::UnknownTyp);
        }
        serde_json::from_slice(&bytes).map_err(|_| JoseError::UnknownHeader)
    }

    fn payload(&self) -> Result<Vec<u8>, JoseError> {
        decode(self.payload)
    }

    fn check(&self, key: &PublicKey) -> Result<(), JoseError> {
        let signature = decode(self.signature)?;
        let signature = signature.try_into().map_err(|_| JoseError::Signature)?;
        if key.verifies(self.input.as_bytes(), &signature) {
            Ok(())
        } else {
            Err(JoseError::Signature)
        }
    }
}

/// base64url without padding, in its one canonical form.
fn decode(part: &str) -> Result<Vec<u8>, JoseError> {
    Base64UrlUnpadded::decode_vec(part).map_err(|_| JoseError::Base64)
}
