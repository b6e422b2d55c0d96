//! Names of things: authorities, alerts, keys, positions; time, digests, secrets and randomness.
//!
//! This module uses no other module of the project.

mod clock;
mod notice;
mod printable;
mod versions;

pub use clock::{Bounds, CLOCK_TOLERANCE_S, Clock, Doubt, LEAP_AT_START_S, LEAP_S};
pub use notice::{NOTICE_NUMBER_BYTES, NoticeId};
pub use printable::{PRINTABLE_CHARS_MAX, is_hidden, printable, visible};
pub use versions::Versions;

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use base64ct::{Base64UrlUnpadded, Encoding};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize, Serializer};
use sha2::Digest as _;
use zeroize::Zeroize;

/// Why a name, number or date was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a country code, a dot and a name of lower-case letters, digits and hyphens.
    #[error("an authority is written like dk.politi: country code, dot, name (a-z, 0-9, hyphen)")]
    Authority,
    /// Not an alert id, or its check digit does not fit.
    #[error("an alert id is written like dk.politi:2026-481920375; check the digits")]
    Alert,
    /// Not a notice id.
    #[error("a notice id is written like dk.politi:n-8f3a-2b91-c4d0")]
    Notice,
    /// Not base64url of 32 bytes.
    #[error("a digest is 43 characters of base64url")]
    Digest,
    /// Not a UTC time as RFC 3339 writes it.
    #[error("a time is written like 2026-11-24T10:20:07Z")]
    Timestamp,
}

/// Longest name of an authority, in bytes: certificates, keys and every statement contain it.
pub const AUTHORITY_BYTES_MAX: usize = 64;

/// The name of an authority, such as `fr.police-judiciaire`; also its node's identity in
/// certificates, as the URI `entente://<authority>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AuthorityId(Arc<str>);

impl AuthorityId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The two-letter country code the name begins with.
    pub fn country(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }

    /// The identity a certificate of this authority's node carries as its URI SAN.
    pub fn uri(&self) -> String {
        format!("entente://{}", self.0)
    }
}

impl FromStr for AuthorityId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut labels = text.split('.');
        let country = labels.next().unwrap_or_default();
        let country_ok = country.len() == 2 && country.bytes().all(|b| b.is_ascii_lowercase());
        let mut count = 0;
        let rest_ok = labels.all(|label| {
            count += 1;
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        });
        if text.len() <= AUTHORITY_BYTES_MAX && country_ok && rest_ok && count >= 1 {
            Ok(Self(text.into()))
        } else {
            Err(IdError::Authority)
        }
    }
}

/// The id of an alert: `<authority>:<year>-<8 random digits><check digit>`. Never reused; the
/// number is random, so that ids reveal no counts. The check digit is ISO/IEC 7064 MOD 11,10.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AlertId {
    authority: AuthorityId,
    year: u16,
    number: u32,
}

impl AlertId {
    /// A fresh id in `year` (four digits).
    pub fn random(authority: &AuthorityId, year: u16, entropy: &Entropy) -> Self {
        let body = entropy.below(entropy.alert_numbers.into()) as u32;
        let number = body * 10 + check_digit(body);
        Self { authority: authority.clone(), year, number }
    }

    /// The authority that issued the alert.
    pub fn authority(&self) -> &AuthorityId {
        &self.authority
    }

    /// Year and nine-digit number, for keys of the store.
    pub fn parts(&self) -> (u16, u32) {
        (self.year, self.number)
    }

    /// Rebuilds an id from its parts; `None` when the check digit does not fit.
    pub fn from_parts(authority: AuthorityId, year: u16, number: u32) -> Option<Self> {
        let sound =
            year <= 9999 && number <= 999_999_999 && check_digit(number / 10) == number % 10;
        sound.then_some(Self { authority, year, number })
    }
}

/// The ISO/IEC 7064 MOD 11,10 check digit of eight digits.
fn check_digit(body: u32) -> u32 {
    let digits = (0..8).rev().map(|place| body / 10u32.pow(place) % 10);
    let product = digits.fold(10, |product, digit| {
        let sum = (product + digit) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    (11 - product) % 10
}

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:04}-{:09}", self.authority, self.year, self.number)
    }
}

impl FromStr for AlertId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (authority, rest) = text.split_once(':').ok_or(IdError::Alert)?;
        let (year, number) = rest.split_once('-').ok_or(IdError::Alert)?;
        let digits = |s: &str, n: usize| s.len() == n && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(year, 4) || !digits(number, 9) {
            return Err(IdError::Alert);
        }
        let authority = authority.parse().map_err(|_| IdError::Alert)?;
        let year = year.parse().map_err(|_| IdError::Alert)?;
        let number = number.parse().map_err(|_| IdError::Alert)?;
        Self::from_parts(authority, year, number).ok_or(IdError::Alert)
    }
}

/// Gives a text newtype its `Display`, `Debug` and conversions from its parser.
macro_rules! text_form {
    ($name:ty) => {
        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

impl fmt::Display for AuthorityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_form!(AuthorityId);
text_form!(AlertId);
text_form!(Digest);
text_form!(Timestamp);

/// A SHA-256 digest; written as 43 characters of base64url.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Digest(pub [u8; 32]);

/// Characters of a digest in text.
const DIGEST_CHARS: usize = 43;

impl Digest {
    /// SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// SHA-256 of the parts, one after the other; the caller makes the boundaries unambiguous.
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hasher = sha2::Sha256::new();
        parts.iter().for_each(|part| hasher.update(part));
        Self(hasher.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; DIGEST_CHARS];
        f.write_str(Base64UrlUnpadded::encode(&self.0, &mut text).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Digest {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut bytes = [0; 32];
        match Base64UrlUnpadded::decode(text, &mut bytes) {
            Ok(decoded) if decoded.len() == 32 => Ok(Self(bytes)),
            _ => Err(IdError::Digest),
        }
    }
}

/// The RFC 7638 thumbprint of a public key: the `kid` of everything it signs.
pub type KeyId = Digest;

/// Version of an alert: 1, 2, 3 …; only the issuer advances it.
pub type Version = u32;

/// Place in the node's feed of outgoing statements, from 1.
pub type FeedSeq = u64;

/// Place in one peer's stream, from 1, without gaps within an epoch.
pub type StreamSeq = u64;

/// Number of a peer's stream since the two nodes were joined, from 1; a restore starts the next.
pub type Epoch = u64;

/// Number of the sharing policy in force, from 1; 0 is the empty policy of a new node.
pub type PolicyVersion = u64;

/// A point in time, UTC seconds since 1970; JSON carries it as a number in tokens, people see RFC
/// 3339.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

/// Latest second a [`Timestamp`] may hold: the end of the year 9999.
pub const TIMESTAMP_MAX: i64 = 253_402_207_200;

impl Timestamp {
    /// 1970.
    pub const EPOCH: Self = Self(0);

    /// From UTC seconds, held within 1970 … 9999.
    pub fn from_seconds(seconds: i64) -> Self {
        Self(seconds.clamp(0, TIMESTAMP_MAX))
    }

    /// UTC seconds since 1970.
    pub fn seconds(self) -> i64 {
        self.0
    }

    /// The time `seconds` later (earlier when negative).
    pub fn plus(self, seconds: i64) -> Self {
        Self::from_seconds(self.0.saturating_add(seconds))
    }

    /// Seconds from `earlier` to this time; negative when it lies before.
    pub fn since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// The calendar date in UTC.
    pub fn date(self) -> jiff::civil::Date {
        let time = jiff::Timestamp::from_second(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        jiff::tz::Offset::UTC.to_datetime(time).date()
    }

    /// The last second of this time's month.
    pub fn end_of_month(self) -> Self {
        let date = self.date();
        let next = date.last_of_month().tomorrow().unwrap_or(date);
        let midnight = next.to_datetime(jiff::civil::Time::midnight());
        let seconds = jiff::tz::Offset::UTC
            .to_timestamp(midnight)
            .map_or(TIMESTAMP_MAX, |time| time.as_second() - 1);
        Self::from_seconds(seconds)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = jiff::Timestamp::from_second(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        write!(f, "{time}")
    }
}

impl FromStr for Timestamp {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let time: jiff::Timestamp = text.parse().map_err(|_| IdError::Timestamp)?;
        let seconds = time.as_second();
        if (0..=TIMESTAMP_MAX).contains(&seconds) {
            Ok(Self(seconds))
        } else {
            Err(IdError::Timestamp)
        }
    }
}

/// The numbers that alerts of a year are drawn from: eight digits, so that ids reveal no counts.
const ALERT_NUMBERS: u32 = 100_000_000;

/// A source of randomness: the operating system's, or a seeded one for tests and samples.
#[derive(Clone)]
pub struct Entropy {
    seeded: Option<Arc<Mutex<ChaCha20Rng>>>,
    alert_numbers: u32,
}

impl Entropy {
    /// The operating system's randomness.
    pub fn os() -> Self {
        Self { seeded: None, alert_numbers: ALERT_NUMBERS }
    }

    /// Gives the same bytes for the same seed. Never use it for keys that guard real data.
    pub fn seeded(seed: u64) -> Self {
        let rng = Arc::new(Mutex::new(ChaCha20Rng::seed_from_u64(seed)));
        Self { seeded: Some(rng), ..Self::os() }
    }

    /// Draws the numbers of alerts from so few (1 to 10⁸), for tests that want two to draw the
    /// same.
    #[must_use]
    pub fn with_alert_numbers(self, numbers: u32) -> Self {
        Self { alert_numbers: numbers.clamp(1, ALERT_NUMBERS), ..self }
    }

    /// Fills `bytes`.
    ///
    /// # Panics
    /// If the operating system gives no randomness: continuing would make guessable keys.
    pub fn fill(&self, bytes: &mut [u8]) {
        match &self.seeded {
            Some(rng) => rng.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes),
            None => DRAWN.with_borrow_mut(|drawn| drawn.fill(bytes)),
        }
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// An even number from 0 up to, not including, `bound`; 0 when `bound` is 0.
    pub fn below(&self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        let zone = u64::MAX - u64::MAX % bound;
        loop {
            let value = u64::from_le_bytes(self.bytes());
            if value < zone {
                return value % bound;
            }
        }
    }
}

thread_local! {
    static DRAWN: RefCell<Drawn> =
        const { RefCell::new(Drawn { bytes: [0; DRAWN_BYTES], used: DRAWN_BYTES }) };
}

/// Bytes drawn from the operating system at once: an alert needs a salt of 16 bytes for each claim,
/// and a system call for each would be expensive.
const DRAWN_BYTES: usize = 1024;

/// Randomness from the operating system, drawn in advance; bytes are wiped once given out.
struct Drawn {
    bytes: [u8; DRAWN_BYTES],
    used: usize,
}

impl Drawn {
    #[expect(clippy::expect_used, reason = "no key may be made without randomness")]
    fn fill(&mut self, wanted: &mut [u8]) {
        for piece in wanted.chunks_mut(DRAWN_BYTES) {
            if piece.len() > DRAWN_BYTES - self.used {
                getrandom::fill(&mut self.bytes).expect("the operating system gives randomness");
                self.used = 0;
            }
            let (_, left) = self.bytes.split_at_mut(self.used);
            let (given, _) = left.split_at_mut(piece.len());
            piece.copy_from_slice(given);
            given.zeroize();
            self.used += piece.len();
        }
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.seeded.is_some() { "Entropy(seeded)" } else { "Entropy(os)" })
    }
}

/// A value that cannot be printed and is overwritten when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Wraps the value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for the one place that needs it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alert_ids_parse_only_with_their_check_digit() {
        let ok = "dk.politi:2026-481920375";
        assert_eq!(ok.parse::<AlertId>().map(|id| id.to_string()), Ok(ok.to_owned()));
        for bad in [
            "dk.politi:2026-481920374",
            "dk.politi:2026-841920375",
            "dk.politi:26-481920375",
            "dk.politi:2026-48192037",
            "dk.politi:2026-48192037５",
            "DK.politi:2026-481920375",
            "dk:2026-481920375",
            "",
        ] {
            assert_eq!(bad.parse::<AlertId>(), Err(IdError::Alert), "{bad}");
        }
    }

    #[test]
    fn random_ids_parse_back() {
        let entropy = Entropy::seeded(7);
        let authority: AuthorityId = "fr.police-judiciaire".parse().unwrap();
        for _ in 0..1000 {
            let id = AlertId::random(&authority, 2026, &entropy);
            assert_eq!(id.to_string().parse::<AlertId>(), Ok(id));
        }
    }

    #[test]
    fn months_end_at_their_last_second() {
        for (time, end) in [
            ("2026-11-24T10:20:07Z", "2026-11-30T23:59:59Z"),
            ("2028-02-01T00:00:00Z", "2028-02-29T23:59:59Z"),
            ("2026-12-31T23:59:59Z", "2026-12-31T23:59:59Z"),
        ] {
            let time: Timestamp = time.parse().unwrap();
            assert_eq!(time.end_of_month().to_string(), end);
        }
    }

    #[test]
    fn secrets_do_not_print() {
        assert_eq!(format!("{:?}", Secret::new(vec![1u8, 2])), "Secret(…)");
    }
}
