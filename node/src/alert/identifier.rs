//! Identifiers. Each type has one normal form; a number that has none is refused, and never shown.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::AlertError;
use super::fault::{Fault, FaultKind};
use crate::id::is_hidden;

/// Longest identifier, in bytes, before and after normalising.
const NUMBER_BYTES_MAX: usize = 200;

/// What a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words of the field say what they are")]
pub enum IdentifierKind {
    Passport,
    NationalId,
    ResidencePermit,
    DrivingLicence,
    TravelDocument,
    Plate,
    Vin,
    Phone,
    Email,
    Account,
    Url,
    Iban,
    Imei,
    CryptoAddress,
}

impl IdentifierKind {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::Passport,
        Self::NationalId,
        Self::ResidencePermit,
        Self::DrivingLicence,
        Self::TravelDocument,
        Self::Plate,
        Self::Vin,
        Self::Phone,
        Self::Email,
        Self::Account,
        Self::Url,
        Self::Iban,
        Self::Imei,
        Self::CryptoAddress,
    ];

    /// The word for it, on the wire and in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passport => "passport",
            Self::NationalId => "national_id",
            Self::ResidencePermit => "residence_permit",
            Self::DrivingLicence => "driving_licence",
            Self::TravelDocument => "travel_document",
            Self::Plate => "plate",
            Self::Vin => "vin",
            Self::Phone => "phone",
            Self::Email => "email",
            Self::Account => "account",
            Self::Url => "url",
            Self::Iban => "iban",
            Self::Imei => "imei",
            Self::CryptoAddress => "crypto_address",
        }
    }

    /// Every kind, as it is written.
    pub const WORDS: &'static [&'static str] = &[
        "passport",
        "national_id",
        "residence_permit",
        "driving_licence",
        "travel_document",
        "plate",
        "vin",
        "phone",
        "email",
        "account",
        "url",
        "iban",
        "imei",
        "crypto_address",
    ];

    /// The form of its numbers.
    pub fn expected(self) -> &'static str {
        match self {
            Self::Vin => "a vin has 17 letters and digits, without I, O and Q",
            Self::Phone => "a phone begins with + and its country code (E.164)",
            Self::Email => "an email is written name@domain, in ASCII",
            Self::Account => "an account is written platform:handle",
            Self::Url => "a url begins with http:// or https:// and a host",
            Self::Iban => "an iban has 15 to 34 letters and digits, and its check digits must fit",
            Self::Imei => "an imei has 15 digits, and its check digit must fit",
            Self::CryptoAddress => "a crypto address has 20 to 128 letters and digits",
            _ => "a document or plate has 3 to 30 letters A-Z and digits",
        }
    }

    /// A number of this kind.
    pub fn example(self) -> &'static str {
        match self {
            Self::Plate => "AB12345",
            Self::Vin => "WVWZZZ1JZ3W386752",
            Self::Phone => "+45 32 12 34 56",
            Self::Email => "a.person@example.org",
            Self::Account => "example.net:some_one",
            Self::Url => "https://example.org/page",
            Self::Iban => "DE89 3704 0044 0532 0130 00",
            Self::Imei => "490154203237518",
            Self::CryptoAddress => "0xabcdef0123456789abcdef0123456789abcdef01",
            _ => "P1234567",
        }
    }

    /// Numbers of this kind are unique only within the country that gave them.
    pub fn needs_country(self) -> bool {
        self.is_document() || self == Self::Plate
    }

    /// Identity and travel documents.
    pub fn is_document(self) -> bool {
        matches!(
            self,
            Self::Passport
                | Self::NationalId
                | Self::ResidencePermit
                | Self::DrivingLicence
                | Self::TravelDocument
        )
    }

    /// Financial identifiers, which are never recorded of a victim.
    pub fn is_financial(self) -> bool {
        matches!(self, Self::Iban | Self::CryptoAddress)
    }

    /// Means of contact.
    pub fn is_contact(self) -> bool {
        matches!(self, Self::Phone | Self::Email | Self::Account)
    }
}

impl FromStr for IdentifierKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let words: Vec<_> = Self::ALL.iter().map(|kind| kind.as_str()).collect();
            format!("one of {}", words.join(", "))
        })
    }
}

impl fmt::Display for IdentifierKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An identifier in its normal form. It cannot be printed.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Identifier {
    kind: IdentifierKind,
    country: Option<String>,
    number: String,
}

impl JsonSchema for Identifier {
    fn schema_name() -> Cow<'static, str> {
        "Identifier".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Written::json_schema(generator)
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(rename = "type")]
    #[schemars(with = "String")]
    kind: IdentifierKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    country: Option<String>,
    number: String,
}

/// `reading` has normalised whatever came from outside; records in the store stay readable,
/// whatever a later version thinks of their form.
impl From<Written> for Identifier {
    fn from(written: Written) -> Self {
        let Written { kind, country, number } = written;
        Self { kind, country, number }
    }
}

/// Why an identifier has no normal form; says what is expected, never what was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// A fault of the country, with the one that may have been meant.
    Country(String, Option<String>),
    /// A fault of the number.
    Number(&'static str),
}

impl From<Identifier> for Written {
    fn from(identifier: Identifier) -> Self {
        let Identifier { kind, country, number } = identifier;
        Self { kind, country, number }
    }
}

impl Identifier {
    /// Normalises a written number.
    ///
    /// # Errors
    /// When the type is unknown, its country is missing, or the number has no normal form.
    pub fn parse(kind: &str, country: &str, number: &str) -> Result<Self, AlertError> {
        let kind = kind.parse().map_err(|words: String| fault("type", words, String::new()))?;
        Self::new(kind, country, number)
    }

    /// Like [`Identifier::parse`], for a known kind.
    ///
    /// # Errors
    /// When its country is missing, or the number has no normal form.
    pub fn new(kind: IdentifierKind, country: &str, number: &str) -> Result<Self, AlertError> {
        Self::of(kind, country, number).map_err(|unfit| match unfit {
            Unfit::Country(expected, near) => fault("country", expected, near.unwrap_or_default()),
            Unfit::Number(expected) => {
                fault("identifier", expected.to_owned(), kind.example().to_owned())
            }
        })
    }

    pub(super) fn of(kind: IdentifierKind, country: &str, number: &str) -> Result<Self, Unfit> {
        if number.len() > NUMBER_BYTES_MAX {
            return Err(Unfit::Number("an identifier has at most 200 bytes"));
        }
        if number.chars().any(is_hidden) {
            return Err(Unfit::Number(HIDDEN));
        }
        let country = match (kind.needs_country(), country.trim()) {
            (false, _) => None,
            (true, "") => {
                let why = "the country that issued it is missing".to_owned();
                return Err(Unfit::Country(why, None));
            }
            (true, country) => {
                let country = super::text::country(country);
                Some(country.map_err(|(expected, near)| Unfit::Country(expected, near))?)
            }
        };
        let number = normal_form(kind, number.trim()).ok_or(Unfit::Number(kind.expected()))?;
        Ok(Self { kind, country, number })
    }

    /// What it is.
    pub fn kind(&self) -> IdentifierKind {
        self.kind
    }

    /// Who issued it, where that matters: ISO 3166-1 alpha-2.
    pub fn country(&self) -> Option<&str> {
        self.country.as_deref()
    }

    /// The number in its normal form.
    pub fn number(&self) -> &str {
        &self.number
    }
}

const HIDDEN: &str =
    "an identifier holds no invisible, control or direction-changing characters: write it anew";

fn fault(path: &str, expected: String, example: String) -> AlertError {
    let (path, kind) = (path.to_owned(), FaultKind::Value);
    AlertError::Content(Fault { path, kind, expected, example }.into())
}

fn normal_form(kind: IdentifierKind, number: &str) -> Option<String> {
    use IdentifierKind as K;
    match kind {
        K::Passport
        | K::NationalId
        | K::ResidencePermit
        | K::DrivingLicence
        | K::TravelDocument
        | K::Plate => document(number),
        K::Vin => vin(number),
        K::Phone => phone(number),
        K::Email => email(number),
        K::Account => account(number),
        K::Url => url(number),
        K::Iban => iban(number),
        K::Imei => imei(number),
        K::CryptoAddress => crypto_address(number),
    }
}

/// Upper-case letters and digits, without the separators people write.
fn compact(number: &str) -> String {
    let kept = number.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '/'));
    kept.collect::<String>().to_ascii_uppercase()
}

fn document(number: &str) -> Option<String> {
    let number = compact(number);
    let sound = (3..=30).contains(&number.len())
        && number.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    sound.then_some(number)
}

fn vin(number: &str) -> Option<String> {
    let number = compact(number);
    let allowed = |c: char| c.is_ascii_digit() || c.is_ascii_uppercase() && !"IOQ".contains(c);
    let sound = number.len() == 17 && number.chars().all(allowed);
    sound.then_some(number)
}

fn phone(number: &str) -> Option<String> {
    let number: String =
        number.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')')).collect();
    let number = number.strip_prefix("00").map_or(number.clone(), |rest| format!("+{rest}"));
    let digits = number.strip_prefix('+').unwrap_or_default();
    let sound = (7..=15).contains(&digits.len())
        && !digits.starts_with('0')
        && digits.bytes().all(|b| b.is_ascii_digit());
    sound.then_some(number)
}

fn email(number: &str) -> Option<String> {
    let number = number.to_ascii_lowercase();
    let printable = number.bytes().all(|b| b.is_ascii_graphic());
    let sound = number.rsplit_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && !local.contains('@') && domain.contains('.') && is_host(domain)
    });
    (printable && sound).then_some(number)
}

fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        })
}

/// `platform:handle`.
fn account(number: &str) -> Option<String> {
    let (platform, handle) = number.split_once(':')?;
    let platform = platform.trim().to_ascii_lowercase();
    let handle = handle.trim().trim_start_matches('@').to_lowercase();
    let handle = super::text::checked(&handle, NUMBER_BYTES_MAX).ok()?;
    let sound = is_host(&platform) && !handle.contains(char::is_whitespace);
    sound.then(|| format!("{platform}:{handle}"))
}

/// A host in non-ASCII letters is converted to its ASCII form, and so is the rest.
fn url(number: &str) -> Option<String> {
    let ascii = match number.is_ascii() {
        true => number.to_owned(),
        false => url::Url::parse(number).ok()?.into(),
    };
    let uri: http::Uri = ascii.parse().ok()?;
    let scheme = uri.scheme_str().map(str::to_ascii_lowercase);
    let scheme = scheme.filter(|scheme| scheme == "http" || scheme == "https")?;
    let host = uri.host().map(str::to_ascii_lowercase).filter(|host| is_host(host))?;
    let port = uri.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Some(format!("{scheme}://{host}{port}{path}"))
}

/// Two letters, two check digits, the account; ISO 13616, check by MOD 97-10.
fn iban(number: &str) -> Option<String> {
    let number = compact(number);
    let sound = (15..=34).contains(&number.len())
        && number.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        && number.bytes().take(2).all(|b| b.is_ascii_uppercase());
    let moved = number.chars().skip(4).chain(number.chars().take(4));
    let rest = moved.filter_map(|c| c.to_digit(36)).fold(0, |rest, value| {
        (if value > 9 { rest * 100 + value } else { rest * 10 + value }) % 97
    });
    (sound && rest == 1).then_some(number)
}

/// Fifteen digits, the last by Luhn.
fn imei(number: &str) -> Option<String> {
    let number = compact(number);
    let digits: Vec<u32> = number.chars().filter_map(|c| c.to_digit(10)).collect();
    let luhn = digits.iter().rev().enumerate().map(|(place, digit)| match (place % 2, digit * 2) {
        (0, _) => *digit,
        (_, double) => double / 10 + double % 10,
    });
    let sound = number.len() == 15 && digits.len() == 15 && luhn.sum::<u32>() % 10 == 0;
    sound.then_some(number)
}

/// Case matters in some of them, so it is kept; only bech32 and hexadecimal ones are lower-cased.
fn crypto_address(number: &str) -> Option<String> {
    let sound = (20..=128).contains(&number.len())
        && number.bytes().all(|b| b.is_ascii_alphanumeric() || b == b':');
    let lower = number.to_ascii_lowercase();
    let folded = lower.starts_with("bc1") || lower.starts_with("0x");
    let number = if folded { lower } else { number.to_owned() };
    sound.then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: &str, country: &str, number: &str, normal: Option<&str>) {
        let parsed = Identifier::parse(kind, country, number).ok();
        assert_eq!(parsed.as_ref().map(Identifier::number), normal, "{kind} {number}");
    }

    #[test]
    fn each_kind_has_one_normal_form() {
        check("passport", "DK", " ab 123-456 ", Some("AB123456"));
        check("passport", "", "AB123456", None);
        check("passport", "Denmark", "AB123456", None);
        check("passport", "DK", "AБ123456", None);
        check("passport", "DK", "ab\u{131}23456", None);
        check("plate", "FR", "ab-123-cd", Some("AB123CD"));
        check("vin", "", "wvwzzz1jz3w386752", Some("WVWZZZ1JZ3W386752"));
        check("vin", "", "WVWZZZ1JZ3W38675O", None);
        check("phone", "", "0045 32 12 34 56", Some("+4532123456"));
        check("phone", "", "32 12 34 56", None);
        check("email", "", "A.Person@Example.ORG", Some("a.person@example.org"));
        check("email", "", "a@b@c.de", None);
        check("account", "", "Example.net:@Some_One", Some("example.net:some_one"));
        check("account", "", "someone", None);
        check("url", "", "HTTPS://Example.ORG/A?b#c", Some("https://example.org/A?b"));
        check("url", "", "ftp://example.org", None);
        check("iban", "", "de89 3704 0044 0532 0130 00", Some("DE89370400440532013000"));
        check("iban", "", "DE88370400440532013000", None);
        check("imei", "", "490154203237518", Some("490154203237518"));
        check("imei", "", "490154203237517", None);
        check(
            "crypto_address",
            "",
            "0xABCDEF0123456789abcdef0123456789ABCDEF01",
            Some("0xabcdef0123456789abcdef0123456789abcdef01"),
        );
        check("crypto_address", "", "short", None);
        check("shoe_size", "", "44", None);
    }
}
