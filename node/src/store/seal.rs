//! Sealing: AES-256-GCM for records and slots, HMAC-SHA-256 for the index; all keys come from the
//! node key.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, hmac};

use super::schema::{IndexKey, SlotId};
use crate::id::{Entropy, Secret};

/// Bytes that sealing adds: nonce and tag.
pub(super) const SEAL_BYTES: usize = NONCE_LEN + 16;

/// Keys derived from the node key.
pub(super) struct Keys {
    wrap: Secret<[u8; 32]>,
    index: hmac::Key,
}

impl Keys {
    pub(super) fn derive(node_key: &Secret<[u8; 32]>) -> Self {
        let wrap = expand(node_key, b"entente slot wrap 1");
        let index = expand(node_key, b"entente match index 1");
        Self { wrap, index: hmac::Key::new(hmac::HMAC_SHA256, index.expose()) }
    }

    /// The key of a slot, wrapped for its place in the file.
    pub(super) fn wrap(&self, id: SlotId, key: &Secret<[u8; 32]>, entropy: &Entropy) -> Vec<u8> {
        seal(&self.wrap, &id.to_be_bytes(), key.expose(), entropy)
    }

    /// The key of a slot, if it was wrapped under this node key for this place.
    pub(super) fn unwrap(&self, id: SlotId, wrapped: &[u8]) -> Option<Secret<[u8; 32]>> {
        let key = unseal(&self.wrap, &id.to_be_bytes(), wrapped)?;
        key.try_into().ok().map(Secret::new)
    }

    pub(super) fn index_key(&self, match_key: &[u8]) -> IndexKey {
        let tag = hmac::sign(&self.index, match_key);
        let mut key = IndexKey::default();
        key.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        key
    }
}

/// HKDF-SHA-256 (RFC 5869) with `label` as info.
fn expand(node_key: &Secret<[u8; 32]>, label: &[u8]) -> Secret<[u8; 32]> {
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"entente store 1");
    let mut key = [0; 32];
    let secret = salt.extract(node_key.expose());
    #[expect(clippy::expect_used, reason = "32 bytes are within what HKDF-SHA-256 gives")]
    secret
        .expand(&[label], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut key))
        .expect("HKDF gives 32 bytes");
    Secret::new(key)
}

fn cipher(key: &Secret<[u8; 32]>) -> LessSafeKey {
    #[expect(clippy::expect_used, reason = "the key has the cipher's length by type")]
    let key = UnboundKey::new(&AES_256_GCM, key.expose()).expect("32 bytes make an AES-256 key");
    LessSafeKey::new(key)
}

/// nonce ‖ ciphertext ‖ tag.
pub(super) fn seal(
    key: &Secret<[u8; 32]>,
    associated_data: &[u8],
    plain: &[u8],
    entropy: &Entropy,
) -> Vec<u8> {
    let nonce: [u8; NONCE_LEN] = entropy.bytes();
    let mut sealed = Vec::with_capacity(plain.len() + SEAL_BYTES);
    sealed.extend(nonce);
    sealed.extend(plain);
    let (_, in_place) = sealed.split_at_mut(NONCE_LEN);
    let nonce = Nonce::assume_unique_for_key(nonce);
    #[expect(clippy::expect_used, reason = "records are far below the cipher's bound of 64 GiB")]
    let tag = cipher(key)
        .seal_in_place_separate_tag(nonce, Aad::from(associated_data), in_place)
        .expect("the record is within the cipher's bound");
    sealed.extend(tag.as_ref());
    sealed
}

/// What [`seal`] sealed, if key and associated data are the same and nothing was changed.
pub(super) fn unseal(
    key: &Secret<[u8; 32]>,
    associated_data: &[u8],
    sealed: &[u8],
) -> Option<Vec<u8>> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut opened = rest.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let length =
        cipher(key).open_in_place(nonce, Aad::from(associated_data), &mut opened).ok()?.len();
    opened.truncate(length);
    Some(opened)
}
