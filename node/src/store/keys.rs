//! Keys as order-preserving bytes.

use crate::id::{AlertId, AuthorityId, Timestamp};

/// A key as order-preserving bytes: fixed-width big-endian numbers, names with their length in
/// front, so that no key is the beginning of another.
pub trait TableKey: Sized {
    /// Appends the key's bytes.
    fn encode(&self, out: &mut Vec<u8>);

    /// Takes a key off the front of `bytes`; `None` if they don't begin with one.
    fn take(bytes: &mut &[u8]) -> Option<Self>;
}

/// The first part of keys `K`, which a scan can run over.
pub trait KeyPrefix<K>: TableKey {}

impl<A: TableKey, B: TableKey> KeyPrefix<(A, B)> for A {}

/// The alerts of one issuer.
impl KeyPrefix<AlertId> for AuthorityId {}

impl<A: TableKey> KeyPrefix<(A, AlertId)> for (A, AuthorityId) {}

fn take_array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

impl TableKey for u64 {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.to_be_bytes());
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        take_array(bytes).map(u64::from_be_bytes)
    }
}

impl<const N: usize> TableKey for [u8; N] {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self);
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        take_array(bytes)
    }
}

fn encode_text(text: &str, out: &mut Vec<u8>) {
    let text = text.as_bytes().get(..255).unwrap_or(text.as_bytes());
    out.push(text.len() as u8);
    out.extend(text);
}

impl TableKey for String {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_text(self, out);
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let [length] = take_array(bytes)?;
        let (text, rest) = bytes.split_at_checked(length.into())?;
        *bytes = rest;
        String::from_utf8(text.to_vec()).ok()
    }
}

impl TableKey for AuthorityId {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_text(self.as_str(), out);
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        String::take(bytes)?.parse().ok()
    }
}

impl TableKey for AlertId {
    fn encode(&self, out: &mut Vec<u8>) {
        let (year, number) = self.parts();
        self.authority().encode(out);
        out.extend(year.to_be_bytes());
        out.extend(number.to_be_bytes());
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let authority = AuthorityId::take(bytes)?;
        let year = u16::from_be_bytes(take_array(bytes)?);
        let number = u32::from_be_bytes(take_array(bytes)?);
        Self::from_parts(authority, year, number)
    }
}

impl TableKey for Timestamp {
    fn encode(&self, out: &mut Vec<u8>) {
        (self.seconds() as u64).encode(out);
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let seconds = i64::try_from(u64::take(bytes)?).ok()?;
        Some(Self::from_seconds(seconds))
    }
}

impl<A: TableKey, B: TableKey> TableKey for (A, B) {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
        self.1.encode(out);
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        Some((A::take(bytes)?, B::take(bytes)?))
    }
}
