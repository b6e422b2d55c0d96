//! Notices: a signed text from one authority's desk to another's, and the signed word that it was
//! read.

use serde::{Deserialize, Serialize};

use crate::alert::checked_lines;
use crate::id::{AlertId, AuthorityId, Bounds, CLOCK_TOLERANCE_S, NoticeId, Timestamp};
use crate::jose::{self, JoseError, PublicKey, SignError, SigningKey};
use crate::reason::Reason;

/// `typ` of a notice.
pub const NOTICE_TYP: &str = "entente-notice+jwt";

/// `typ` of an acknowledgement.
pub const ACKNOWLEDGEMENT_TYP: &str = "entente-notice-acknowledgement+jwt";

/// Longest text of a notice, in characters: a page.
pub const NOTICE_CHARS_MAX: usize = 2000;

/// Longest word on who read a notice and who will act, in characters: a line or two.
pub const WHO_CHARS_MAX: usize = 200;

/// Largest notice as signed, in bytes: 2 000 characters of four bytes in base64url, and its names.
pub const NOTICE_BYTES_MAX: usize = 12 * 1024;

/// Largest acknowledgement as signed, in bytes: 200 characters of four bytes in base64url, and its
/// names.
pub const ACKNOWLEDGEMENT_BYTES_MAX: usize = 2048;

/// How long a notice is kept at both ends, in seconds: a year from its `iat`, then it is erased.
pub const NOTICE_KEPT_S: i64 = 365 * 24 * 3600;

/// A text from one authority's desk to another's. Its text is personal data, so it has no `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// Who sent it.
    pub iss: AuthorityId,
    /// Whom it is for.
    pub aud: AuthorityId,
    /// Its id.
    pub jti: NoticeId,
    /// When signed, UTC seconds.
    pub iat: i64,
    /// 1 to 2 000 characters in NFC; none controls, hides or turns but the ends of lines.
    pub text: String,
    /// The alert that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<AlertId>,
}

/// A person at the receiver read a notice. `who` is personal data, so it has no `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acknowledgement {
    /// Who received the notice.
    pub iss: AuthorityId,
    /// Who sent it.
    pub aud: AuthorityId,
    /// The notice.
    pub jti: NoticeId,
    /// When signed, UTC seconds.
    pub iat: i64,
    /// Who read it and who will act: 1 to 200 characters in NFC, as the text of a notice.
    pub who: String,
}

/// Why a notice or an acknowledgement was refused. No variant holds its text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoticeError {
    /// The key does not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// Not a statement of this kind that its issuer signed.
    #[error(transparent)]
    Jose(#[from] JoseError),
    /// Larger than any of its kind.
    #[error("the statement is larger than any of its kind")]
    TooLong,
    /// Of another issuer than the one who sends it, or with an id of another authority.
    #[error("the statement is not of the authority that sends it")]
    NotTheIssuer,
    /// For another authority.
    #[error("the statement is for another authority")]
    Misdirected,
    /// The text is empty, too long, not in its one form, or hides something.
    #[error("{0}")]
    Text(String),
    /// Dated in the future.
    #[error("the statement is dated in the future")]
    FutureIat,
    /// Older than a year.
    #[error("the notice is older than a year")]
    Expired,
}

impl NoticeError {
    /// Stable and machine-readable.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Sign(_) => Reason::SigningFailed,
            Self::Jose(error) => error.reason(),
            Self::TooLong => Reason::StatementTooLong,
            Self::NotTheIssuer => Reason::NotTheIssuer,
            Self::Misdirected => Reason::NotForThisReceiver,
            Self::Text(_) => Reason::NoticeTextRefused,
            Self::FutureIat => Reason::FutureIat,
            Self::Expired => Reason::Expired,
        }
    }
}

/// The text of a notice in its one form.
///
/// # Errors
/// What is expected instead.
pub fn notice_text(text: &str) -> Result<String, NoticeError> {
    checked_lines(text, NOTICE_CHARS_MAX).map_err(NoticeError::Text)
}

/// The word on who read a notice, in its one form.
///
/// # Errors
/// What is expected instead.
pub fn who_text(text: &str) -> Result<String, NoticeError> {
    checked_lines(text, WHO_CHARS_MAX).map_err(NoticeError::Text)
}

/// When a notice of this time is erased at both ends.
pub fn ends_at(issued_at: Timestamp) -> Timestamp {
    issued_at.plus(NOTICE_KEPT_S)
}

impl Notice {
    /// Signs it.
    ///
    /// # Errors
    /// When the key does not sign.
    pub fn sign(&self, key: &SigningKey) -> Result<String, NoticeError> {
        Ok(jose::sign(NOTICE_TYP, self, key)?)
    }

    /// Verifies a notice that `from` sends to `to`, strictly.
    ///
    /// # Errors
    /// [`NoticeError`], the first that applies.
    pub fn verify(
        jws: &str,
        (from, to): (&AuthorityId, &AuthorityId),
        key_of: impl FnOnce(&crate::id::KeyId) -> Option<PublicKey>,
        now: impl Into<Bounds>,
    ) -> Result<Self, NoticeError> {
        check_length(jws, NOTICE_BYTES_MAX)?;
        let notice: Self = jose::verify(NOTICE_TYP, jws, key_of)?;
        if notice.iss != *from || notice.jti.authority() != from {
            return Err(NoticeError::NotTheIssuer);
        }
        if notice.aud != *to {
            return Err(NoticeError::Misdirected);
        }
        let now = now.into();
        check_date(notice.iat, now)?;
        if ends_at(notice.issued_at()) <= now.earliest {
            return Err(NoticeError::Expired);
        }
        check_form(&notice.text, notice_text)?;
        Ok(notice)
    }

    /// When it was signed.
    pub fn issued_at(&self) -> Timestamp {
        Timestamp::from_seconds(self.iat)
    }
}

impl Acknowledgement {
    /// Signs it.
    ///
    /// # Errors
    /// When the key does not sign.
    pub fn sign(&self, key: &SigningKey) -> Result<String, NoticeError> {
        Ok(jose::sign(ACKNOWLEDGEMENT_TYP, self, key)?)
    }

    /// Verifies an acknowledgement that `from` sends to `to`, strictly.
    ///
    /// # Errors
    /// [`NoticeError`], the first that applies.
    pub fn verify(
        jws: &str,
        (from, to): (&AuthorityId, &AuthorityId),
        key_of: impl FnOnce(&crate::id::KeyId) -> Option<PublicKey>,
        now: impl Into<Bounds>,
    ) -> Result<Self, NoticeError> {
        check_length(jws, ACKNOWLEDGEMENT_BYTES_MAX)?;
        let said: Self = jose::verify(ACKNOWLEDGEMENT_TYP, jws, key_of)?;
        if said.iss != *from {
            return Err(NoticeError::NotTheIssuer);
        }
        if said.aud != *to || said.jti.authority() != to {
            return Err(NoticeError::Misdirected);
        }
        check_date(said.iat, now.into())?;
        check_form(&said.who, who_text)?;
        Ok(said)
    }
}

fn check_length(jws: &str, bytes_max: usize) -> Result<(), NoticeError> {
    if jws.len() <= bytes_max { Ok(()) } else { Err(NoticeError::TooLong) }
}

fn check_date(iat: i64, now: Bounds) -> Result<(), NoticeError> {
    let latest = now.latest.seconds().saturating_add(CLOCK_TOLERANCE_S);
    if iat > latest { Err(NoticeError::FutureIat) } else { Ok(()) }
}

/// A text that was signed is in its one form already: two spellings are not taken for two texts.
fn check_form(
    text: &str,
    form: fn(&str) -> Result<String, NoticeError>,
) -> Result<(), NoticeError> {
    if form(text)? == text {
        return Ok(());
    }
    Err(NoticeError::Text("the text is not in its one form: NFC, no blanks around it".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Entropy;

    fn names() -> (AuthorityId, AuthorityId) {
        ("dk.politi".parse().unwrap(), "fr.police-judiciaire".parse().unwrap())
    }

    fn notice(text: &str) -> Notice {
        let (iss, aud) = names();
        let jti = NoticeId::new(iss.clone(), [1; 6]);
        Notice { iss, aud, jti, iat: 1_000, text: text.to_owned(), about: None }
    }

    fn key() -> SigningKey {
        SigningKey::generate(&Entropy::seeded(7))
    }

    fn verified(notice: &Notice, now: i64) -> Result<Notice, Reason> {
        let (key, (dk, fr)) = (key(), names());
        let public = key.public();
        let key_of = |kid: &_| (public.key_id() == *kid).then_some(public);
        let now = Timestamp::from_seconds(now);
        Notice::verify(&notice.sign(&key).unwrap(), (&dk, &fr), key_of, now).map_err(|e| e.reason())
    }

    #[test]
    fn a_notice_of_the_right_parties_verifies_and_the_largest_fits() {
        assert!(verified(&notice("Call us.\n\nÆgir Σ 東京"), 1_000).is_ok());
        for letter in ["𐍈", "\"", "é"] {
            assert!(verified(&notice(&letter.repeat(NOTICE_CHARS_MAX)), 1_000).is_ok(), "{letter}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_notice_is_refused_with_its_reason() {
        let other: AuthorityId = "de.bka".parse().unwrap();
        let good = notice("Call us.");
        let foreign = NoticeId::new(other.clone(), [1; 6]);
        for (notice, now, reason) in [
            (Notice { iss: other.clone(), ..good.clone() }, 1_000, Reason::NotTheIssuer),
            (Notice { jti: foreign, ..good.clone() }, 1_000, Reason::NotTheIssuer),
            (Notice { aud: other, ..good.clone() }, 1_000, Reason::NotForThisReceiver),
            (Notice { iat: 10_000, ..good.clone() }, 1_000, Reason::FutureIat),
            (Notice { iat: i64::MAX, ..good.clone() }, 1_000, Reason::FutureIat),
            (good.clone(), 1_000 + NOTICE_KEPT_S, Reason::Expired),
            (Notice { iat: i64::MIN, ..good }, NOTICE_KEPT_S, Reason::Expired),
        ] {
            assert_eq!(verified(&notice, now).err(), Some(reason));
        }
        let long = "a".repeat(NOTICE_CHARS_MAX + 1);
        for text in
            ["", " ", "a ", "a\rb", "a\tb", "\u{202e}a", "a\u{200b}", "e\u{301}", "\u{fffd}", &long]
        {
            let refused = verified(&notice(text), 1_000).err();
            assert_eq!(refused, Some(Reason::NoticeTextRefused), "{text:?}");
        }
        let huge = notice(&"a".repeat(NOTICE_BYTES_MAX));
        assert_eq!(verified(&huge, 1_000).err(), Some(Reason::StatementTooLong));
    }

    #[test]
    fn an_acknowledgement_is_of_the_receiver_and_for_the_sender() {
        let (key, (dk, fr)) = (key(), names());
        let said = |iss: &AuthorityId, aud: &AuthorityId| Acknowledgement {
            iss: iss.clone(),
            aud: aud.clone(),
            jti: NoticeId::new(dk.clone(), [1; 6]),
            iat: 1_000,
            who: "Night desk".to_owned(),
        };
        let now = Timestamp::from_seconds(1_000);
        let verified = |said: &Acknowledgement| {
            let public = key.public();
            Acknowledgement::verify(&said.sign(&key).unwrap(), (&fr, &dk), |_| Some(public), now)
                .map_err(|error| error.reason())
        };
        assert!(verified(&said(&fr, &dk)).is_ok());
        assert_eq!(verified(&said(&dk, &dk)).err(), Some(Reason::NotTheIssuer));
        assert_eq!(verified(&said(&fr, &fr)).err(), Some(Reason::NotForThisReceiver));
        let long = Acknowledgement { who: "a".repeat(WHO_CHARS_MAX + 1), ..said(&fr, &dk) };
        assert_eq!(verified(&long).err(), Some(Reason::NoticeTextRefused));
    }
}
