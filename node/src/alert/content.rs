//! The claims of an alert, typed: in a draft everything that its author gave, in a view what was
//! disclosed. Nothing here can be printed with `Debug`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::identifier::Identifier;
use super::vocabulary::{
    Act, BasedOn, Category, Consent, Control, Exploitation, Handling, LocationKind, Means,
    NameKind, ObjectKind, Sex, SubjectCategory, Urgency, Warning,
};
use crate::id::Timestamp;

/// The claims of an alert; an absent claim was not given, or not disclosed.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Content {
    /// Fixes action, retention and who may be in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// Forms of exploitation; at least one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exploitation: Vec<Exploitation>,
    /// Acts of trafficking.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub act: Vec<Act>,
    /// Means of trafficking.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub means: Vec<Means>,
    /// Means of control.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub control: Vec<Control>,
    /// Determines deadlines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub urgency: Option<Urgency>,
    /// Why it is urgent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub urgency_reason: Option<String>,
    /// How it may be used; at least one code.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub handling: Vec<Handling>,
    /// The restriction that `H3` stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handling_text: Option<String>,
    /// Reliability of source (A B C X) and information (1 to 4), e.g. `X4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<String>,
    /// The law it rests on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub legal_basis: Option<String>,
    /// The issuer's case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case_ref: Option<String>,
    /// When this version was issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub issued_at: Option<Timestamp>,
    /// When its issuer must look at it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub review_at: Option<Timestamp>,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub expires_at: Option<Timestamp>,
    /// People.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<Subject>,
    /// Things.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<Object>,
    /// Places.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub locations: Vec<Location>,
}

/// A person.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Subject {
    /// Decides which data may exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<SubjectCategory>,
    /// Whether this is fact or assessment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub based_on: Option<BasedOn>,
    /// Names, in the original script and in Latin letters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<Name>,
    /// `YYYY-MM-DD`, `YYYY-MM` or `YYYY`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub birth_date: Option<String>,
    /// Made from the birth date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub birth_year: Option<u16>,
    /// Made from the birth date: `0-11`, `12-15`, `16-17`, `18-24`, `25-34`, `35-49`, `50-64` or
    /// `65+` when issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_band: Option<String>,
    /// Place and country.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub birth_place: Option<String>,
    /// As travel documents have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sex: Option<Sex>,
    /// ISO 3166-1 alpha-2.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nationalities: Vec<String>,
    /// Appearance.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub descriptions: Vec<String>,
    /// Distinguishing marks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<String>,
    /// Documents, means of contact, accounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub identifiers: Vec<Identifier>,
    /// Manner of acting, of a suspect or convicted person only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behaviour: Option<String>,
    /// Means and movements of money, of a suspect or convicted person only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finances: Option<String>,
    /// Earlier convictions, of a suspect or convicted person only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub convictions: Vec<String>,
    /// Part in the offence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// How it was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modus_operandi: Option<String>,
    /// Warnings.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// Why data of somebody under 18 is strictly necessary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub necessity_note: Option<String>,
    /// Why a victim's means of contact are in here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consent: Option<Consent>,
}

/// One name of a person.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Name {
    /// The kind of name.
    #[serde(default = "primary")]
    pub kind: NameKind,
    /// Family name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub family: String,
    /// Given name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub given: String,
}

fn primary() -> NameKind {
    NameKind::Primary
}

/// A thing.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Object {
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ObjectKind>,
    /// Whether this is fact or assessment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub based_on: Option<BasedOn>,
    /// Its numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub identifiers: Vec<Identifier>,
    /// What it looks like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A place.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Location {
    /// What happened there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<LocationKind>,
    /// Whether this is fact or assessment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub based_on: Option<BasedOn>,
    /// ISO 3166-1 alpha-2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// Region, e.g. `DK01`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nuts2: Option<String>,
    /// Smaller region, e.g. `DK011`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nuts3: Option<String>,
    /// The place in words; withheld unless a rule names it. Never a shelter or a protected person's
    /// address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl Content {
    /// When it ends, exactly.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }
}
