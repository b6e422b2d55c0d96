//! JWS (RFC 7515) and SD-JWT (RFC 9901): sign, disclose, verify. Parsing is strict, total and bounded.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::id::{Digest, Entropy, KeyId, Secret};

/// A private Ed25519 key: statement key, log key or identity key.
#[derive(Clone, Debug)]
pub struct SigningKey(Secret<[u8; 32]>);

impl SigningKey {
    /// A fresh key.
    pub fn generate(entropy: &Entropy) -> Self { todo!() }
    /// From the 32-byte seed.
    pub fn from_seed(seed: Secret<[u8; 32]>) -> Self { todo!() }
    /// The seed, for the key file only.
    pub fn seed(&self) -> &Secret<[u8; 32]> { todo!() }
    /// The public half.
    pub fn public(&self) -> PublicKey { todo!() }
    /// `kid` of what this key signs.
    pub fn key_id(&self) -> KeyId { todo!() }
}

/// A public Ed25519 key; in JSON a JWK (RFC 8037 OKP). (Add serde through the JWK form.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl Serialize for PublicKey {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> { todo!() }
}

impl<'de> serde::Deserialize<'de> for PublicKey {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> { todo!() }
}

impl PublicKey {
    /// From 32 bytes; refused when they are no point of the curve or a weak one.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, JoseError> { todo!() }
    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] { &self.0 }
    /// RFC 7638 thumbprint.
    pub fn key_id(&self) -> KeyId { todo!() }
}

/// Why a token was refused. (To be completed: one variant for each reason, each with a stable `reason()` string.)
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoseError {
    /// Placeholder.
    #[error("malformed token")]
    Malformed,
}

/// Signs `payload` as a compact JWS with the given `typ`, `alg: EdDSA` and the key's `kid`.
pub fn sign(typ: &str, payload: &impl Serialize, key: &SigningKey) -> String { todo!() }

/// Verifies a compact JWS strictly: size, `typ`, `alg`, no `crit`, the key that `key_of(kid)` gives, the
/// signature (`verify_strict`), then the payload into `T` (duplicate JSON keys refused).
pub fn verify<T: DeserializeOwned>(typ: &str, jws: &str, key_of: impl FnOnce(&KeyId) -> Option<PublicKey>) -> Result<T, JoseError> { todo!() }

/// As [`verify`], for a statement that carries its own key (the identity key in a descriptor): reads the payload
/// BEFORE the signature is checked; the caller finds the key in it and calls [`verify`].
pub fn peek<T: DeserializeOwned>(typ: &str, jws: &str) -> Result<T, JoseError> { todo!() }

/// A claim before signing: a plain value, an object each of whose properties is a disclosure of its own, or an
/// array each of whose elements is one (RFC 9901 §4.2: recursive disclosures).
#[derive(Clone, Debug)]
pub enum Claim {
    /// One value, disclosed whole.
    Value(Value),
    /// Properties that are disclosed one by one.
    Object(Vec<(String, Claim)>),
    /// Elements that are disclosed one by one.
    Array(Vec<Claim>),
}

/// A token with some of its disclosures, `<JWT>~<d1>~…~`, kept as signed.
#[derive(Clone, PartialEq, Eq)]
pub struct SdJwt {/* jwt, disclosures */}

/// What a verified token says.
#[derive(Clone)]
pub struct Verified {
    /// The claims in clear (without `_sd`, `_sd_alg`).
    pub plain: Map<String, Value>,
    /// The disclosed claims, put back in their places. Array elements not disclosed are absent.
    pub disclosed: Map<String, Value>,
}

impl SdJwt {
    /// Signs `plain` claims and the digests of `claims`; every `_sd` array is sorted and padded with decoys to a multiple of
    /// 16, every array with undisclosed elements to a multiple of 4.
    pub fn issue(typ: &str, plain: Map<String, Value>, claims: Vec<(String, Claim)>, key: &SigningKey, entropy: &Entropy) -> Self { todo!() }
    /// Splits the text into its parts, bounded; checks nothing else.
    pub fn parse(text: &str) -> Result<Self, JoseError> { todo!() }
    /// SHA-256 of the issuer-signed JWT without disclosures: `prev`, and what equivocation is judged by.
    pub fn jwt_digest(&self) -> Digest { todo!() }
    /// Strict verification (RFC 9901 §7.1 and the list in CRATES.md).
    pub fn verify(&self, typ: &str, key_of: impl FnOnce(&Map<String, Value>, &KeyId) -> Option<PublicKey>) -> Result<Verified, JoseError> { todo!() }
    /// Reads a token that this node keeps itself, without checking the signature again.
    pub fn read(&self) -> Result<Verified, JoseError> { todo!() }
    /// The same token with only the disclosures whose path `keep` allows; the path is the property names from the top, without
    /// array positions, e.g. `["subjects", "birth_date"]`. What hangs below a withheld disclosure goes too. Deterministic: same input, same bytes.
    pub fn disclose(&self, keep: impl FnMut(&[&str], &Value) -> bool) -> Result<Self, JoseError> { todo!() }
    /// The text, ending in `~`.
    pub fn to_text(&self) -> String { todo!() }
}
