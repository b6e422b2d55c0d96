//! What a statement in a stream is about.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::keys::TableKey;
use crate::id::{AlertId, AuthorityId, IdError, NoticeId};

/// What a statement is about: feed, offers, ledger and parked statements are kept by it.
///
/// As a key an alert is the bytes of its id, which begin with the length of its authority's name;
/// every other kind begins with a byte of its own that no such length has. As a value it is its
/// text. So both are, for an alert, what they were before there were other kinds, and no upgrade
/// has to write the ledger anew.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Subject {
    /// An alert: its views, its withdrawal, its retractions.
    Alert(AlertId),
    /// A notice.
    Notice(NoticeId),
    /// The word that a notice was read.
    Acknowledgement(NoticeId),
}

/// First byte of a notice's key.
const NOTICE: u8 = 0x81;

/// First byte of an acknowledgement's key.
const ACKNOWLEDGEMENT: u8 = 0x82;

/// Stands behind the id of the notice that an acknowledgement is about.
const ACKNOWLEDGED: &str = "/acknowledgement";

impl Subject {
    /// The alert, where it is one.
    pub fn alert(&self) -> Option<&AlertId> {
        match self {
            Self::Alert(id) => Some(id),
            Self::Notice(_) | Self::Acknowledgement(_) => None,
        }
    }

    /// The word for what it is.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Alert(_) => "alert",
            Self::Notice(_) => "notice",
            Self::Acknowledgement(_) => "acknowledgement",
        }
    }
}

impl From<AlertId> for Subject {
    fn from(id: AlertId) -> Self {
        Self::Alert(id)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alert(id) => id.fmt(f),
            Self::Notice(id) => id.fmt(f),
            Self::Acknowledgement(id) => write!(f, "{id}{ACKNOWLEDGED}"),
        }
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Subject {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if let Some(notice) = text.strip_suffix(ACKNOWLEDGED) {
            return notice.parse().map(Self::Acknowledgement);
        }
        match text.parse() {
            Ok(alert) => Ok(Self::Alert(alert)),
            Err(error) => text.parse().map(Self::Notice).map_err(|_| error),
        }
    }
}

impl TryFrom<String> for Subject {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.to_string()
    }
}

impl TableKey for NoticeId {
    fn encode(&self, out: &mut Vec<u8>) {
        self.authority().encode(out);
        self.number().encode(out);
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let authority = AuthorityId::take(bytes)?;
        Some(Self::new(authority, TableKey::take(bytes)?))
    }
}

impl TableKey for Subject {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Alert(id) => id.encode(out),
            Self::Notice(id) => {
                out.push(NOTICE);
                id.encode(out);
            }
            Self::Acknowledgement(id) => {
                out.push(ACKNOWLEDGEMENT);
                id.encode(out);
            }
        }
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let made = match *kind {
            NOTICE => Self::Notice,
            ACKNOWLEDGEMENT => Self::Acknowledgement,
            _ => return AlertId::take(bytes).map(Self::Alert),
        };
        *bytes = rest;
        NoticeId::take(bytes).map(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::AUTHORITY_BYTES_MAX;

    fn subjects() -> [Subject; 3] {
        let alert: AlertId = "dk.politi:2026-481920375".parse().unwrap();
        let notice = NoticeId::new("dk.politi".parse().unwrap(), [0xfe, 1, 2, 3, 4, 5]);
        [alert.into(), Subject::Notice(notice.clone()), Subject::Acknowledgement(notice)]
    }

    #[test]
    fn a_subject_is_the_same_after_each_of_its_forms() {
        for subject in subjects() {
            assert_eq!(subject.to_string().parse(), Ok(subject.clone()));
            let mut key = Vec::new();
            subject.encode(&mut key);
            let mut rest = key.as_slice();
            assert_eq!(Subject::take(&mut rest), Some(subject.clone()));
            assert!(rest.is_empty());
            let value = postcard::to_allocvec(&subject).unwrap();
            assert_eq!(postcard::from_bytes::<Subject>(&value), Ok(subject));
        }
        let (mut empty, mut cut): (&[u8], &[u8]) = (&[], &[NOTICE, 9]);
        assert_eq!((Subject::take(&mut empty), Subject::take(&mut cut)), (None, None));
    }

    #[test]
    fn an_alert_is_kept_as_before_there_were_subjects() {
        let [subject, ..] = subjects();
        let alert = subject.alert().unwrap();
        let (mut key, mut before) = (Vec::new(), Vec::new());
        subject.encode(&mut key);
        alert.encode(&mut before);
        assert_eq!(key, before);
        let value = postcard::to_allocvec(&subject).unwrap();
        assert_eq!(value, postcard::to_allocvec(alert).unwrap());
        assert!(AUTHORITY_BYTES_MAX < usize::from(NOTICE), "no name's length is a kind");
    }
}
