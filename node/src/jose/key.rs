//! Ed25519 keys (RFC 8032), and their form as JWK (RFC 8037).

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::{Signature, Signer, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{JoseError, SignError};
use crate::id::{Digest, Entropy, KeyId, Secret};

/// A private Ed25519 key: statement key, log key or identity key. It cannot be printed, and is
/// overwritten when dropped.
#[derive(Clone)]
pub struct SigningKey {
    key: ed25519_dalek::SigningKey,
    id: KeyId,
    #[cfg(test)]
    is_out_of_reach: bool,
}

impl SigningKey {
    /// A fresh key.
    pub fn generate(entropy: &Entropy) -> Self {
        Self::from_seed(Secret::new(entropy.bytes()))
    }

    /// From the 32-byte seed.
    pub fn from_seed(seed: Secret<[u8; 32]>) -> Self {
        let key = ed25519_dalek::SigningKey::from_bytes(seed.expose());
        let id = PublicKey(key.verifying_key()).key_id();
        Self {
            key,
            id,
            #[cfg(test)]
            is_out_of_reach: false,
        }
    }

    /// The seed, for the key file only.
    pub fn seed(&self) -> Secret<[u8; 32]> {
        Secret::new(self.key.to_bytes())
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.key.verifying_key())
    }

    /// `kid` of what this key signs.
    pub fn key_id(&self) -> KeyId {
        self.id
    }

    /// The same key, out of reach: it signs nothing.
    #[cfg(test)]
    pub(crate) fn out_of_reach(&self) -> Self {
        Self { is_out_of_reach: true, ..self.clone() }
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        #[cfg(test)]
        if self.is_out_of_reach {
            return Err(SignError("the key is out of reach".to_owned()));
        }
        let signed = self.key.try_sign(message).map_err(|error| SignError(error.to_string()))?;
        Ok(signed.to_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.key_id())
    }
}

/// A public Ed25519 key; in JSON a JWK.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// From 32 bytes.
    ///
    /// # Errors
    /// When they are not a point of the curve, or one of small order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, JoseError> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| JoseError::Key)?;
        if key.is_weak() { Err(JoseError::Key) } else { Ok(Self(key)) }
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// RFC 7638 thumbprint of the JWK.
    pub fn key_id(&self) -> KeyId {
        let x = Base64UrlUnpadded::encode_string(self.0.as_bytes());
        Digest::of(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#).as_bytes())
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.0.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.key_id())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Jwk {
    kty: String,
    crv: String,
    x: String,
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let x = Base64UrlUnpadded::encode_string(self.0.as_bytes());
        Jwk { kty: "OKP".to_owned(), crv: "Ed25519".to_owned(), x }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let jwk = Jwk::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        let decoded = Base64UrlUnpadded::decode(&jwk.x, &mut bytes);
        let whole = decoded.is_ok_and(|decoded| decoded.len() == 32);
        if (jwk.kty.as_str(), jwk.crv.as_str(), whole) != ("OKP", "Ed25519", true) {
            return Err(D::Error::custom("not an Ed25519 key as RFC 8037 writes it"));
        }
        Self::from_bytes(&bytes).map_err(D::Error::custom)
    }
}
