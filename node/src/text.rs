//! Texts that come from outside as bytes: they must be UTF-8, or are refused with the place of the
//! first byte that is not.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Largest text file that is read whole, in bytes: configuration, policies, descriptors and keys
/// are far smaller.
pub const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// UTF-8's byte-order mark: it has no meaning, but some editors write it.
pub const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Why bytes are not valid text. It holds none of the bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// The text is in the encoding that Windows calls Unicode.
    #[error("this is {0}, not UTF-8: save it as UTF-8")]
    OtherEncoding(&'static str),
    /// A byte that UTF-8 does not have at this place.
    #[error(
        "line {line}, byte {column} is not UTF-8: save the file as UTF-8, not as Latin-1 or \
         another code page"
    )]
    NotUtf8 {
        /// Line, from 1.
        line: u64,
        /// Byte within the line, from 1.
        column: u64,
    },
}

impl From<TextError> for io::Error {
    fn from(error: TextError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// Recognises UTF-16 and UTF-32 by the first bytes of a text. Every text here begins with an ASCII
/// character, so a zero among its first bytes reveals them even without a byte-order mark.
pub fn other_encoding(start: &[u8]) -> Option<&'static str> {
    match start {
        [0xFF, 0xFE, 0, 0, ..]
        | [1..=255, 0, 0, 0, ..]
        | [0, 0, 0xFE, 0xFF, ..]
        | [0, 0, 0, 1..=255, ..] => Some("UTF-32"),
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] | [1..=255, 0, ..] | [0, 1..=255, ..] => Some("UTF-16"),
        _ => None,
    }
}

/// The bytes as text, without a byte-order mark.
///
/// # Errors
/// When they are not UTF-8, with the place.
pub fn from_utf8(bytes: Vec<u8>) -> Result<String, TextError> {
    if let Some(encoding) = other_encoding(&bytes) {
        return Err(TextError::OtherEncoding(encoding));
    }
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let sound = error.utf8_error().valid_up_to();
        not_utf8(error.as_bytes().get(..sound).unwrap_or_default())
    })?;
    if text.as_bytes().starts_with(BYTE_ORDER_MARK) {
        text.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(text)
}

/// The place after `sound`, the bytes that are valid UTF-8.
fn not_utf8(sound: &[u8]) -> TextError {
    let line = 1 + sound.iter().filter(|byte| **byte == b'\n').count() as u64;
    let within = sound.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    TextError::NotUtf8 { line, column: 1 + within.len() as u64 }
}

/// Reads a text to its end.
///
/// # Errors
/// When it is not UTF-8 or larger than 16 MiB ([`io::ErrorKind::InvalidData`], with the reason), or
/// cannot be read.
pub fn read_from(source: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    let taken = source.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if taken as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is larger than 16 MiB"));
    }
    Ok(from_utf8(bytes)?)
}

/// Reads a file of text.
///
/// # Errors
/// As [`read_from`].
pub fn read(path: &Path) -> io::Result<String> {
    read_from(File::open(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_that_is_not_utf8_is_refused_with_its_place() {
        let refused = |bytes: &[u8]| from_utf8(bytes.to_vec()).unwrap_err();
        for (bytes, line, column) in [
            (b"\xDEahin".as_slice(), 1, 1),
            (b"family=\xDEahin".as_slice(), 1, 8),
            ("eins\nzwei \u{FC}ber\n".as_bytes(), 0, 0),
            (b"one\ntwo\nM\xFCller".as_slice(), 3, 2),
            (b"cut \xC3".as_slice(), 1, 5),
        ] {
            if line == 0 {
                assert!(from_utf8(bytes.to_vec()).is_ok());
            } else {
                assert_eq!(refused(bytes), TextError::NotUtf8 { line, column });
            }
        }
    }

    #[test]
    fn a_mark_is_dropped_and_other_encodings_are_named() {
        assert_eq!(from_utf8(b"\xEF\xBB\xBF{}".to_vec()).unwrap(), "{}");
        assert_eq!(from_utf8(Vec::new()).unwrap(), "");
        for (bytes, name) in [
            (b"\xFF\xFE{\0}\0".as_slice(), "UTF-16"),
            (b"\xFE\xFF\0{\0}".as_slice(), "UTF-16"),
            (b"{\0}\0".as_slice(), "UTF-16"),
            (b"\0{\0}".as_slice(), "UTF-16"),
            (b"\xFF\xFE\0\0{\0\0\0".as_slice(), "UTF-32"),
            (b"{\0\0\0}\0\0\0".as_slice(), "UTF-32"),
            (b"\0\0\0{".as_slice(), "UTF-32"),
        ] {
            let refused = from_utf8(bytes.to_vec()).unwrap_err();
            assert_eq!(refused, TextError::OtherEncoding(name), "{bytes:?}");
            assert!(refused.to_string().contains("save it as UTF-8"));
        }
    }
}
