//! Tokens in the form in which they are sealed: base64url is taken out, twice where it lies inside
//! of itself (digests and salts in what is signed or disclosed), and put back byte for byte. That
//! saves four bytes of ten. It is no compression: a length depends on how long the parts of a token
//! are, not on whether they repeat, so that lengths on the disk say nothing new about content.

use base64ct::{Base64UrlUnpadded, Encoding};

/// A segment as it is, and one that was base64url.
const AS_IT_IS: u8 = 0;
const TAKEN_OUT: u8 = 1;

/// Characters of a digest and of a salt, and the bytes that they say.
const DIGEST: (usize, usize) = (43, 32);
const SALT: (usize, usize) = (22, 16);

/// Takes base64url out of `text`: segments, each with what it was, its separator and its length.
pub(super) fn pack(text: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(text.len());
    for segment in text.split_inclusive(|byte| matches!(byte, b'.' | b'~')) {
        let (inner, separator) = match segment.split_last() {
            Some((separator @ (b'.' | b'~'), inner)) => (inner, *separator),
            _ => (segment, 0),
        };
        let decoded = decoded(inner).filter(|decoded| !decoded.is_empty());
        packed.push(if decoded.is_some() { TAKEN_OUT } else { AS_IT_IS });
        packed.push(separator);
        let inner = decoded.map_or_else(|| inner.to_vec(), |decoded| pack_inner(&decoded));
        put_length(&mut packed, inner.len());
        packed.extend(inner);
    }
    packed
}

/// What was packed; `None` for anything else.
pub(super) fn unpack(mut packed: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(packed.len() * 2);
    while !packed.is_empty() {
        let ([kind, separator], rest) = packed.split_first_chunk()?;
        packed = rest;
        let length = take_length(&mut packed)?;
        let (inner, rest) = packed.split_at_checked(length)?;
        packed = rest;
        match *kind {
            AS_IT_IS => text.extend(inner),
            TAKEN_OUT => encode(&unpack_inner(inner)?, &mut text),
            _ => return None,
        }
        text.extend(Some(*separator).filter(|separator| *separator != 0));
    }
    Some(text)
}

/// Stretches of bytes as they are, each followed by a digest or a salt, but for the last.
fn pack_inner(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(bytes.len());
    let (mut stretch, mut rest) = (0, bytes);
    while let Some(quote) = rest.get(stretch..).and_then(|r| r.iter().position(|b| *b == b'"')) {
        let at = stretch + quote;
        let found = [DIGEST, SALT].into_iter().find_map(|size| quoted(rest, at, size));
        let Some((characters, value)) = found else {
            stretch = at + 1;
            continue;
        };
        put_length(&mut packed, at);
        packed.extend(rest.get(..at).unwrap_or_default());
        packed.push(value.len() as u8);
        packed.extend(value);
        rest = rest.get(at + characters + 2..).unwrap_or_default();
        stretch = 0;
    }
    put_length(&mut packed, rest.len());
    packed.extend(rest);
    packed
}

fn unpack_inner(mut packed: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(packed.len() * 2);
    loop {
        let length = take_length(&mut packed)?;
        let (stretch, rest) = packed.split_at_checked(length)?;
        bytes.extend(stretch);
        let Some((size, rest)) = rest.split_first() else { return Some(bytes) };
        let (value, rest) = rest.split_at_checked((*size).into())?;
        bytes.push(b'"');
        encode(value, &mut bytes);
        bytes.push(b'"');
        packed = rest;
    }
}

/// The value of so many characters in quotes at this place.
fn quoted(bytes: &[u8], at: usize, (characters, size): (usize, usize)) -> Option<(usize, Vec<u8>)> {
    let inside = bytes.get(at + 1..at + 1 + characters)?;
    if bytes.get(at + 1 + characters) != Some(&b'"') || inside.contains(&b'"') {
        return None;
    }
    let value = decoded(inside).filter(|value| value.len() == size)?;
    Some((characters, value))
}

/// Only of what is written in the one form that [`encode`] gives.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    Base64UrlUnpadded::decode_vec(std::str::from_utf8(text).ok()?).ok()
}

fn encode(value: &[u8], out: &mut Vec<u8>) {
    out.extend(Base64UrlUnpadded::encode_string(value).into_bytes());
}

/// Seven bits a byte, the lowest first.
fn put_length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

fn take_length(bytes: &mut &[u8]) -> Option<usize> {
    let mut length = 0;
    for shift in [0, 7, 14, 21] {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(length);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::alert::{Draft, issue};
    use crate::id::{Clock, Entropy};
    use crate::jose::SigningKey;
    use crate::sample::Samples;
    use proptest::prelude::*;

    fn same(text: &[u8]) {
        assert_eq!(unpack(&pack(text)).as_deref(), Some(text), "{}", text.escape_ascii());
    }

    #[test]
    fn tokens_come_back_byte_for_byte_and_take_little() {
        let (entropy, now) = (Entropy::seeded(1), Clock::system().now());
        let key = SigningKey::generate(&entropy);
        let id = "dk.politi:2026-481920375".parse().ok();
        for sample in Samples::new(1).take(20) {
            let Some(id) = Option::<crate::id::AlertId>::clone(&id) else { continue };
            let draft = Draft::parse(&sample.to_string(), now).unwrap();
            let view = issue(&draft, id, 1, None, now, &key, &entropy).unwrap();
            same(view.token.as_bytes());
            let (packed, whole) = (pack(view.token.as_bytes()).len(), view.token.len());
            assert!(packed * 10 < whole * 65, "{packed} of {whole} bytes");
        }
    }

    /// What says the same in another spelling keeps its spelling.
    #[test]
    fn no_spelling_is_lost() {
        let salt = "AA7-yHxXSewRV5EuDhcfYA";
        for text in [
            "",
            ".",
            "~",
            "a",
            "aa",
            "aaa",
            "aaaa",
            "AA==",
            "AB",
            "AA",
            "AAB",
            "~~..",
            "a.b~c",
            "YWJj.YWJj~",
            "not base64!",
            "YQ\n",
        ] {
            same(text.as_bytes());
        }
        for inner in [
            format!("[\"{salt}\",\"sex\",\"male\"]"),
            format!("\"{}B\"", &salt[..21]),
            format!("\"{salt}\"\"{salt}\""),
            format!("\"\"{salt}\"\""),
            format!("\"{}\"", "A".repeat(43)),
            format!("\"{}\"", "B".repeat(43)),
            "\"".repeat(99),
        ] {
            same(inner.as_bytes());
            same(format!("{}~", Base64UrlUnpadded::encode_string(inner.as_bytes())).as_bytes());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            same(&bytes);
            same(Base64UrlUnpadded::encode_string(&bytes).as_bytes());
        }

        #[test]
        fn anything_like_a_token_comes_back(text in "[\"A-D_.~-]{0,120}") {
            same(text.as_bytes());
            same(Base64UrlUnpadded::encode_string(text.as_bytes()).as_bytes());
        }

        #[test]
        fn whatever_is_unpacked_ends(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = unpack(&bytes);
        }
    }
}
