//! Searching: the match keys of alerts, and queries made of the same keys. Identifiers have one
//! normal form per type; a name matches when its words do, in any order, written in any script that
//! transliterates to the same letters, together with the full birth date.

use std::collections::HashSet;

use icu_normalizer::ComposingNormalizerBorrowed;
use zeroize::Zeroizing;

use crate::alert::{AlertError, Content, Identifier, IdentifierKind, Subject, View};
use crate::id::{Digest, Secret};
use crate::reason::Reason;

/// Most match keys of an alert: each costs the store a write.
pub const MATCH_KEYS_MAX: usize = 24;

/// Most keys of one query: an officer asks about one person or thing.
pub const QUERY_KEYS_MAX: usize = 16;

/// The name of the field for matches by name.
pub const NAME_AND_BIRTH_DATE: &str = "name+birth_date";

/// A value that can be searched for, in its normal form. It cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct MatchKey {
    field: &'static str,
    text: Secret<String>,
}

impl MatchKey {
    fn identifier(identifier: &Identifier) -> Self {
        let country = identifier.country().unwrap_or_default();
        let text = Secret::new(format!("{country}\0{}", identifier.number()));
        Self { field: identifier.kind().as_str(), text }
    }

    /// `None` when no letter is left, or the date is not complete.
    fn name(family: &str, given: &str, birth_date: &str) -> Option<Self> {
        let words = name_words(&format!("{family} {given}"));
        let full_date = birth_date.len() == 10;
        let text = Secret::new(format!("{}\0{birth_date}", words.as_str()));
        (full_date && !words.is_empty()).then_some(Self { field: NAME_AND_BIRTH_DATE, text })
    }

    /// The field it is made of: a type of identifier, or [`NAME_AND_BIRTH_DATE`].
    pub fn kind(&self) -> &'static str {
        self.field
    }

    /// Unambiguous bytes for the keyed hash of the index.
    pub fn bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([self.field.as_bytes(), b"\0", self.text.expose().as_bytes()].concat())
    }
}

/// The words of a name, in Latin letters without marks, sorted.
fn name_words(name: &str) -> Zeroizing<String> {
    let compatible = ComposingNormalizerBorrowed::new_nfkc().normalize(name);
    let latin = Zeroizing::new(any_ascii::any_ascii(&compatible.to_lowercase()).to_lowercase());
    let mut words: Vec<&str> =
        latin.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.sort_unstable();
    Zeroizing::new(words.join(" "))
}

/// The keys of an alert, own or received: identifiers first, then each name with the birth date; no
/// key twice. An issuer refuses an alert with more than [`MATCH_KEYS_MAX`]; of a received one the
/// rest is left out.
pub fn match_keys(view: &View) -> Vec<MatchKey> {
    content_keys(&view.content)
}

/// Like [`match_keys`], for content that has not been issued yet.
pub fn content_keys(content: &Content) -> Vec<MatchKey> {
    let mut keys = Vec::new();
    let of_subjects = content.subjects.iter().flat_map(|subject| &subject.identifiers);
    let of_objects = content.objects.iter().flat_map(|object| &object.identifiers);
    keys.extend(of_subjects.chain(of_objects).map(MatchKey::identifier));
    for subject in &content.subjects {
        let date = subject.birth_date.as_deref().unwrap_or_default();
        let named = subject.names.iter();
        keys.extend(named.filter_map(|name| MatchKey::name(&name.family, &name.given, date)));
    }
    let mut seen = HashSet::new();
    keys.retain(|key| seen.insert(Digest::of(&key.bytes())));
    keys
}

/// The people and things in an alert that no search can find, each with what would help.
pub fn unsearchable(content: &Content) -> Vec<String> {
    let lost = |subject: &&(usize, &Subject)| subject_keys(subject.1).next().is_none();
    let subjects = content.subjects.iter().enumerate().collect::<Vec<_>>();
    let subjects = subjects.iter().filter(lost).map(|(number, _)| {
        format!(
            "no search finds subjects[{number}]: give an identifier, or a name with the full birth \
             date"
        )
    });
    let objects = content.objects.iter().enumerate();
    let objects = objects
        .filter(|(_, object)| object.identifiers.is_empty())
        .map(|(number, _)| format!("no search finds objects[{number}]: give an identifier"));
    subjects.chain(objects).collect()
}

fn subject_keys(subject: &Subject) -> impl Iterator<Item = MatchKey> {
    let date = subject.birth_date.as_deref().unwrap_or_default();
    let named = subject.names.iter();
    let named = named.filter_map(move |name| MatchKey::name(&name.family, &name.given, date));
    subject.identifiers.iter().map(MatchKey::identifier).chain(named)
}

/// What is searched for.
#[derive(Clone)]
pub struct Query {
    keys: Vec<MatchKey>,
}

impl Query {
    /// Reads identifiers as (type, country, number), and names with `YYYY-MM-DD`; what is not given
    /// is empty.
    ///
    /// # Errors
    /// When a part has no normal form, or nothing is strong enough: a search takes an identifier,
    /// or a name with the full birth date (2024/982 Art. 33, 43).
    pub fn parse(
        identifiers: &[(String, String, String)],
        family: &str,
        given: &str,
        birth_date: &str,
    ) -> Result<Self, MatchError> {
        let mut keys = Vec::new();
        for (kind, country, number) in identifiers {
            keys.push(MatchKey::identifier(&Identifier::parse(kind, country, number)?));
        }
        let named = !family.trim().is_empty() || !given.trim().is_empty();
        match (named, birth_date.trim()) {
            (true, "") => return Err(MatchError::TooWeak),
            (false, "") => {}
            (false, _) => return Err(MatchError::TooWeak),
            (true, date) => {
                let is_date = date.len() == 10 && date.parse::<jiff::civil::Date>().is_ok();
                let key = MatchKey::name(family, given, date).filter(|_| is_date);
                keys.push(key.ok_or(MatchError::Name)?);
            }
        }
        if keys.is_empty() {
            return Err(MatchError::TooWeak);
        }
        if keys.len() > QUERY_KEYS_MAX {
            return Err(MatchError::TooMany);
        }
        Ok(Self { keys })
    }

    /// The keys to look up.
    pub fn keys(&self) -> &[MatchKey] {
        &self.keys
    }
}

/// How good a match is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quality {
    /// Similar only.
    Possible,
    /// The same name and birth date, or something that changes hands: a plate, a phone, an account.
    Strong,
    /// The same document, vehicle, device or account number.
    Exact,
}

impl Quality {
    /// The word for it, on the wire and in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Possible => "possible",
            Self::Strong => "strong",
            Self::Exact => "exact",
        }
    }

    /// The quality of a match in this field.
    pub fn of(field: &str) -> Self {
        use IdentifierKind as K;
        let kind = field.parse::<IdentifierKind>().ok();
        match kind {
            Some(K::Plate | K::Phone | K::Email | K::Account | K::Url) => Self::Strong,
            Some(_) => Self::Exact,
            None if field == NAME_AND_BIRTH_DATE => Self::Strong,
            None => Self::Possible,
        }
    }
}

/// Why a query was refused; never with its values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatchError {
    /// Neither an identifier nor a name with a birth date.
    #[error(
        "a search takes at least one identifier, or a name with the full birth date YYYY-MM-DD"
    )]
    TooWeak,
    /// No letters, or no date.
    #[error("a name needs letters, and a birth date is written YYYY-MM-DD")]
    Name,
    /// More than [`QUERY_KEYS_MAX`] values.
    #[error("one search asks about one person or thing: at most 16 values")]
    TooMany,
    /// An identifier has no normal form.
    #[error(transparent)]
    Identifier(#[from] AlertError),
}

impl MatchError {
    /// Stable and machine-readable.
    pub fn reason(&self) -> Reason {
        match self {
            Self::TooWeak => Reason::SearchTooWeak,
            Self::Name => Reason::SearchNameMalformed,
            Self::TooMany => Reason::SearchTooManyValues,
            Self::Identifier(error) => error.reason(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_matches_in_any_order_script_and_case() {
        let key = |family, given| MatchKey::name(family, given, "1990-01-31").unwrap();
        for (family, given) in [
            ("Jørgensen", "Anna-Marie"),
            ("JORGENSEN", "anna marie"),
            ("Anna", "Marie Jørgensen"),
            ("Ｊørgensen", "Anna  Marie"),
            ("Jo\u{308}rgensen", "Anna Marie"),
        ] {
            assert!(key(family, given) == key("Jorgensen", "Anna Marie"), "{family}");
        }
        assert!(key("Иванова", "Анна") == key("Ivanova", "Anna"));
        assert!(key("Jorgensen", "Anna") != key("Jorgensen", "Anna Marie"));
    }

    #[test]
    fn a_search_that_is_too_weak_is_refused() {
        let passport = vec![("passport".to_owned(), "dk".to_owned(), "P 123 4567".to_owned())];
        for (identifiers, family, date, strong) in [
            (vec![], "", "", false),
            (vec![], "Hansen", "", false),
            (vec![], "Hansen", "1990", false),
            (vec![], "", "1990-01-31", false),
            (vec![], "…", "1990-01-31", false),
            (vec![], "Hansen", "1990-02-31", false),
            (vec![], "Hansen", "1990-01-31", true),
            (passport.clone(), "", "", true),
            (passport, "Hansen", "", false),
        ] {
            let parsed = Query::parse(&identifiers, family, "", date);
            assert_eq!(parsed.is_ok(), strong, "{family:?} {date:?}");
        }
    }

    #[test]
    fn qualities_follow_from_the_field() {
        for (field, quality) in [
            ("passport", Quality::Exact),
            ("plate", Quality::Strong),
            (NAME_AND_BIRTH_DATE, Quality::Strong),
            ("nothing known", Quality::Possible),
        ] {
            assert_eq!(Quality::of(field), quality, "{field}");
        }
    }
}
