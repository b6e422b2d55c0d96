//! Normalise and transliterate names, build match keys, compare. Identifiers have one normal form per type.

use crate::alert::View;

/// A value that can be searched for, in normal form. Not printable.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MatchKey {/* kind: &'static str (e.g. "passport", "name+birth_date"), text: Zeroizing<String> */}

impl MatchKey {
    /// Which field it is made of.
    pub fn kind(&self) -> &'static str { todo!() }
    /// Unambiguous bytes for the keyed hash of the index.
    pub fn bytes(&self) -> Vec<u8> { todo!() }
}

/// Most match keys an alert may have (sled: each costs a write).
pub const MATCH_KEYS_MAX: usize = 24;

/// The keys of an alert, own or received: identifiers of subjects and objects, full name (each name and alias) with full birth date.
pub fn match_keys(view: &View) -> Vec<MatchKey> { todo!() }

/// What is searched for.
#[derive(Clone)]
pub struct Query {/* identifiers + name + birth date, parsed */}

impl Query {
    /// Parses; refuses what is too weak: at least one strong identifier, or name and birth date (2024/982 Art. 33, 43).
    /// identifiers: (type, country, number); names may be empty; birth_date `YYYY-MM-DD` or empty.
    pub fn parse(identifiers: &[(String, String, String)], family_name: &str, given_name: &str, birth_date: &str) -> Result<Self, MatchError> { todo!() }
    /// The keys to look up.
    pub fn keys(&self) -> Vec<MatchKey> { todo!() }
}

/// Quality of a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quality { /// weak
    Possible, /// good
    Strong, /// identical after normalisation
    Exact }

/// Why a query was refused; says what to do, without the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MatchError(pub String);
