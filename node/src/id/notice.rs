//! The id of a notice.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{AuthorityId, IdError};

/// Bytes of a notice's number: random, so that ids count nothing, and no two of an authority are
/// the same.
pub const NOTICE_NUMBER_BYTES: usize = 6;

/// The id of a notice: `<authority>:n-<12 hexadecimal digits in three groups>`, as in
/// `dk.politi:n-8f3a-2b91-c4d0`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NoticeId {
    authority: AuthorityId,
    number: [u8; NOTICE_NUMBER_BYTES],
}

impl NoticeId {
    /// From who sent it, and its number.
    pub fn new(authority: AuthorityId, number: [u8; NOTICE_NUMBER_BYTES]) -> Self {
        Self { authority, number }
    }

    /// Who sent it.
    pub fn authority(&self) -> &AuthorityId {
        &self.authority
    }

    /// Its number, for keys of the store.
    pub fn number(&self) -> [u8; NOTICE_NUMBER_BYTES] {
        self.number
    }
}

impl fmt::Display for NoticeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.number;
        write!(f, "{}:n-{a:02x}{b:02x}-{c:02x}{d:02x}-{e:02x}{g:02x}", self.authority)
    }
}

impl fmt::Debug for NoticeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for NoticeId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (authority, digits) = text.split_once(":n-").ok_or(IdError::Notice)?;
        let authority = authority.parse().map_err(|_| IdError::Notice)?;
        let mut number = [0; NOTICE_NUMBER_BYTES];
        let digits: String = digits.split('-').collect();
        hex::decode_to_slice(digits, &mut number).map_err(|_| IdError::Notice)?;
        let id = Self { authority, number };
        // One form only: capitals and other groups are another text.
        if id.to_string() == text { Ok(id) } else { Err(IdError::Notice) }
    }
}

impl TryFrom<String> for NoticeId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<NoticeId> for String {
    fn from(id: NoticeId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_id_has_one_form() {
        let id = NoticeId::new("dk.politi".parse().unwrap(), [0x8f, 0x3a, 0x2b, 0x91, 0xc4, 0xd0]);
        assert_eq!(id.to_string(), "dk.politi:n-8f3a-2b91-c4d0");
        assert_eq!(id.to_string().parse::<NoticeId>(), Ok(id));
        for other in [
            "dk.politi:n-8f3a2b91c4d0",
            "dk.politi:n-8F3A-2b91-c4d0",
            "dk.politi:n-8f3a-2b91-c4d",
            "dk.politi:n-8f3a-2b91-c4d0-00",
            "dk.politi:2026-481920375",
            "n-8f3a-2b91-c4d0",
            "dk.politi:n-é",
            "",
        ] {
            assert_eq!(other.parse::<NoticeId>(), Err(IdError::Notice), "{other}");
        }
    }
}
