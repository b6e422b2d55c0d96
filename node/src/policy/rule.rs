//! One rule: whom it is for, when it matches, what it gives.

use std::fmt;

use serde::Deserialize;

use super::PolicyError;
use crate::alert::{Category, ClaimSet, Exploitation, Facts, Handling, SubjectCategory, Urgency};
use crate::id::{AuthorityId, Timestamp};

/// Longest name of a rule, in bytes: decisions and the log contain it.
const NAME_BYTES_MAX: usize = 80;

/// The file: nothing but rules.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default, rename = "rule")]
    pub(super) rules: Vec<Rule>,
}

/// A rule as written.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name, for people; unique.
    pub name: String,
    pub(super) peers: Vec<PeerPattern>,
    #[serde(default)]
    pub(super) when: When,
    /// What it gives.
    pub level: Level,
    #[serde(default)]
    claims: Vec<ClaimPattern>,
    #[serde(default)]
    until: Option<Until>,
}

/// What a rule gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Level {
    /// Nothing.
    None,
    /// The alert, with the claims of the rule.
    View,
}

/// An authority, every authority of a country, or everybody.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum PeerPattern {
    Everybody,
    Country(String),
    One(AuthorityId),
}

/// The conditions on an alert; an absent list is no condition.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct When {
    pub(super) category: Option<Vec<Category>>,
    pub(super) urgency: Option<Vec<Urgency>>,
    pub(super) exploitation: Option<Vec<Exploitation>>,
    pub(super) handling: Option<Vec<Handling>>,
    pub(super) subject_category: Option<Vec<SubjectCategory>>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
struct ClaimPattern(ClaimSet);

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "toml::value::Datetime")]
struct Until(Timestamp);

impl Rule {
    /// The claims that it names; those that every view carries are added.
    pub fn claims(&self) -> ClaimSet {
        self.claims.iter().fold(ClaimSet::EMPTY, |all, one| all.union(one.0))
    }

    /// The rule matches before this time only.
    pub fn until(&self) -> Option<Timestamp> {
        self.until.map(|until| until.0)
    }

    /// The patterns that match none of the `known` peers.
    pub(super) fn unmatched(&self, known: &[AuthorityId]) -> Vec<&PeerPattern> {
        let narrow = self.peers.iter().filter(|pattern| **pattern != PeerPattern::Everybody);
        narrow.filter(|pattern| !known.iter().any(|peer| pattern.matches(peer))).collect()
    }

    /// Why it does not match; `None` when it does.
    pub(super) fn misses(
        &self,
        peer: &AuthorityId,
        facts: &Facts,
        now: Timestamp,
    ) -> Option<String> {
        if !self.peers.iter().any(|pattern| pattern.matches(peer)) {
            return Some("for other peers".to_owned());
        }
        if self.until().is_some_and(|end| now >= end) {
            return Some("its time is over".to_owned());
        }
        let one = |name, list: Option<bool>| (list == Some(false)).then_some(name);
        let when = &self.when;
        let missed = one("category", listed(&when.category, facts.category.as_slice(), self.level))
            .or(one("urgency", listed(&when.urgency, facts.urgency.as_slice(), self.level)))
            .or(one("exploitation", listed(&when.exploitation, &facts.exploitation, self.level)))
            .or(one("handling", listed(&when.handling, &facts.handling, self.level)))
            .or(one(
                "subject_category",
                listed(&when.subject_category, &facts.subject_categories, self.level),
            ))?;
        Some(match self.level {
            Level::None => format!("no {missed} of the alert is in its list"),
            Level::View => format!("not every {missed} of the alert is in its list"),
        })
    }
}

/// Whether the alert's values fit the list: one is enough to withhold, sharing needs all.
fn listed<T: PartialEq>(list: &Option<Vec<T>>, values: &[T], level: Level) -> Option<bool> {
    let list = list.as_ref()?;
    let mut values_in = values.iter().map(|value| list.contains(value));
    Some(match level {
        Level::None => values_in.any(|within| within),
        Level::View => !values.is_empty() && values_in.all(|within| within),
    })
}

impl PeerPattern {
    fn matches(&self, peer: &AuthorityId) -> bool {
        match self {
            Self::Everybody => true,
            Self::Country(country) => peer.country() == country,
            Self::One(one) => one == peer,
        }
    }

    /// Whether this pattern matches every peer that `other` matches.
    pub(super) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Everybody, _) => true,
            (Self::Country(country), Self::Country(other)) => country == other,
            (Self::Country(country), Self::One(one)) => one.country() == country,
            (Self::One(one), Self::One(other)) => one == other,
            (Self::Country(_), Self::Everybody) | (Self::One(_), _) => false,
        }
    }
}

/// Checks each rule, and all of them together.
pub(super) fn check(rules: &[Rule]) -> Result<(), PolicyError> {
    for (number, rule) in (1..).zip(rules) {
        let before = rules.get(..number - 1).unwrap_or_default();
        if let Some(why) = flaw(rule, before) {
            return Err(PolicyError::Rule { number, name: rule.name.clone(), why });
        }
    }
    Ok(())
}

fn flaw(rule: &Rule, before: &[Rule]) -> Option<&'static str> {
    let named = (1..=NAME_BYTES_MAX).contains(&rule.name.len());
    if !named || rule.name.chars().any(char::is_control) {
        return Some("a name has 1 to 80 bytes and no control characters");
    }
    if before.iter().any(|other| other.name == rule.name) {
        return Some("another rule has this name");
    }
    if rule.peers.is_empty() {
        return Some("peers is empty: name at least one, or '*' for everybody");
    }
    if has_empty_list(&rule.when) {
        return Some("an empty list in when matches nothing: leave it out, or fill it");
    }
    if rule.level == Level::None && !rule.claims.is_empty() {
        return Some("a rule with level none gives no claims: leave claims out");
    }
    None
}

fn has_empty_list(when: &When) -> bool {
    fn empty<T>(list: &Option<Vec<T>>) -> bool {
        list.as_ref().is_some_and(Vec::is_empty)
    }
    empty(&when.category)
        || empty(&when.urgency)
        || empty(&when.exploitation)
        || empty(&when.handling)
        || empty(&when.subject_category)
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::View => "view",
        })
    }
}

impl fmt::Display for PeerPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everybody => f.write_str("*"),
            Self::Country(country) => write!(f, "{country}.*"),
            Self::One(one) => write!(f, "{one}"),
        }
    }
}

impl TryFrom<String> for Level {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.as_str() {
            "none" => Ok(Self::None),
            "view" => Ok(Self::View),
            "index" => Err(
                "level index comes with blind search, which this version does not have: use none \
                 or view",
            ),
            _ => Err("a level is none or view"),
        }
    }
}

impl TryFrom<String> for PeerPattern {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let refused = "a peer is written fr.police-judiciaire, fr.* for a country, or *";
        if text == "*" {
            return Ok(Self::Everybody);
        }
        match text.strip_suffix(".*") {
            Some(country)
                if country.len() == 2 && country.bytes().all(|b| b.is_ascii_lowercase()) =>
            {
                Ok(Self::Country(country.to_owned()))
            }
            Some(_) => Err(refused),
            None => text.parse().map(Self::One).map_err(|_| refused),
        }
    }
}

impl TryFrom<String> for ClaimPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let unknown = |nearest| format!("there is no claim {text:?}; the nearest is {nearest}");
        ClaimSet::parse(&text).map(Self).map_err(unknown)
    }
}

impl TryFrom<toml::value::Datetime> for Until {
    type Error = &'static str;

    fn try_from(time: toml::value::Datetime) -> Result<Self, Self::Error> {
        let refused = |_| "until is a UTC time such as 2027-01-31T00:00:00Z, without quotes";
        time.to_string().parse().map(Self).map_err(refused)
    }
}
