//! Names of claims, as policies and the ledger use them.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::content::Content;

/// The catalogue of schema 1. A claim's place in it is its bit forever: new names go to the end.
const CATALOGUE: [&str; 71] = [
    "category",
    "exploitation",
    "act",
    "means",
    "control",
    "urgency",
    "urgency_reason",
    "handling",
    "handling_text",
    "evaluation",
    "legal_basis",
    "case_ref",
    "issued_at",
    "review_at",
    "expires_at",
    "subjects.category",
    "subjects.names",
    "subjects.birth_date",
    "subjects.birth_year",
    "subjects.age_band",
    "subjects.birth_place",
    "subjects.sex",
    "subjects.nationalities",
    "subjects.descriptions",
    "subjects.marks",
    "subjects.role",
    "subjects.modus_operandi",
    "subjects.warnings",
    "subjects.necessity_note",
    "subjects.consent",
    "objects.kind",
    "objects.description",
    "locations.kind",
    "locations.country",
    "locations.nuts2",
    "locations.nuts3",
    "locations.text",
    "subjects.identifiers.passport",
    "subjects.identifiers.national_id",
    "subjects.identifiers.residence_permit",
    "subjects.identifiers.driving_licence",
    "subjects.identifiers.travel_document",
    "subjects.identifiers.plate",
    "subjects.identifiers.vin",
    "subjects.identifiers.phone",
    "subjects.identifiers.email",
    "subjects.identifiers.account",
    "subjects.identifiers.url",
    "subjects.identifiers.iban",
    "subjects.identifiers.imei",
    "subjects.identifiers.crypto_address",
    "objects.identifiers.passport",
    "objects.identifiers.national_id",
    "objects.identifiers.residence_permit",
    "objects.identifiers.driving_licence",
    "objects.identifiers.travel_document",
    "objects.identifiers.plate",
    "objects.identifiers.vin",
    "objects.identifiers.phone",
    "objects.identifiers.email",
    "objects.identifiers.account",
    "objects.identifiers.url",
    "objects.identifiers.iban",
    "objects.identifiers.imei",
    "objects.identifiers.crypto_address",
    "subjects.based_on",
    "objects.based_on",
    "locations.based_on",
    "subjects.behaviour",
    "subjects.finances",
    "subjects.convictions",
];

/// Claims that every view carries, if the alert has them.
const CORE_NAMES: [&str; 11] = [
    "category",
    "handling",
    "handling_text",
    "evaluation",
    "expires_at",
    "subjects.category",
    "objects.kind",
    "locations.kind",
    "subjects.based_on",
    "objects.based_on",
    "locations.based_on",
];

/// Claims that no wildcard includes: a policy must name them.
const NAMED_ONLY: [&str; 2] = ["case_ref", "locations.text"];

/// A set of claim names.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClaimSet(u128);

impl ClaimSet {
    /// No claim.
    pub const EMPTY: Self = Self(0);

    /// The claims that every view carries.
    pub fn core() -> Self {
        CORE_NAMES.iter().fold(Self::EMPTY, |set, name| set.union(Self::one(name)))
    }

    /// The claim of this name; empty when there is none.
    pub(super) fn one(name: &str) -> Self {
        Self::at(&[name])
    }

    /// The claim whose name is these parts joined with dots; empty when there is none.
    pub(super) fn at(path: &[&str]) -> Self {
        let Some((last, parents)) = path.split_last() else { return Self::EMPTY };
        let below = |name: &'static str| {
            let after = |rest: &'static str, parent| rest.strip_prefix(parent)?.strip_prefix('.');
            parents.iter().try_fold(name, |rest, parent| after(rest, *parent))
        };
        let bit = CATALOGUE.iter().position(|name| below(name) == Some(*last));
        bit.map_or(Self::EMPTY, |bit| Self(1 << bit))
    }

    /// Parses a name or a wildcard: `*`, or a beginning such as `subjects.*`. A wildcard does not
    /// include claims that must be named.
    ///
    /// # Errors
    /// The nearest known name, when there is no such claim.
    pub fn parse(pattern: &str) -> Result<Self, &'static str> {
        let set = match pattern.strip_suffix('*') {
            None => Self::one(pattern),
            Some(start) => CATALOGUE
                .iter()
                .filter(|name| name.starts_with(start) && !NAMED_ONLY.contains(name))
                .fold(Self::EMPTY, |set, name| set.union(Self::one(name))),
        };
        if set == Self::EMPTY { Err(nearest(pattern)) } else { Ok(set) }
    }

    /// The claims that `content` has.
    pub(super) fn of(content: &Content) -> Self {
        Self::of_json(&serde_json::to_value(content).unwrap_or_default())
    }

    /// The claims of content that was converted to JSON.
    pub(super) fn of_json(content: &Value) -> Self {
        let mut set = Self::EMPTY;
        for (name, value) in content.as_object().into_iter().flatten() {
            match name.as_str() {
                "subjects" | "objects" | "locations" => {
                    let elements = value.as_array().into_iter().flatten();
                    let members = elements.filter_map(|element| element.as_object()).flatten();
                    for (member, value) in members {
                        set = set.union(Self::of_member(name, member, value));
                    }
                }
                name => set = set.union(Self::one(name)),
            }
        }
        set
    }

    fn of_member(parent: &str, member: &str, value: &Value) -> Self {
        if member != "identifiers" {
            return Self::at(&[parent, member]);
        }
        let elements = value.as_array().into_iter().flatten();
        let kinds = elements.filter_map(|element| element.get("type")?.as_str());
        kinds.fold(Self::EMPTY, |set, kind| set.union(Self::at(&[parent, member, kind])))
    }

    /// Every claim below `parent`, e.g. `subjects`.
    pub(super) fn below(parent: &str) -> Self {
        let below = CATALOGUE
            .iter()
            .filter(|name| name.strip_prefix(parent).is_some_and(|rest| rest.starts_with('.')));
        below.fold(Self::EMPTY, |set, name| set.union(Self::one(name)))
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The claims that are in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The claims that are only in `self`.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all of `self` is in `other`.
    pub const fn is_subset(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Whether it is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names, in the order of the catalogue.
    pub fn names(self) -> Vec<&'static str> {
        let in_set =
            |(bit, name): (usize, &&'static str)| (self.0 >> bit & 1 == 1).then_some(*name);
        CATALOGUE.iter().enumerate().filter_map(in_set).collect()
    }
}

impl fmt::Debug for ClaimSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// The most similar known name.
fn nearest(written: &str) -> &'static str {
    let distance = |name: &&&str| strsim::levenshtein(name, written);
    CATALOGUE.iter().min_by_key(distance).copied().unwrap_or_default()
}
