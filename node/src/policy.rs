//! Sharing rules. They are ordered, and the first that matches decides; if none matches, nothing is
//! shared. Deciding is pure.
//!
//! A rule that withholds (`level = "none"`) matches as soon as one value of the alert is in its
//! list. A rule that shares matches only if every value of the alert is in its list: a rule for
//! suspects never shares an alert with a victim in it.
//!
//! ```
//! use entente_node::alert::Facts;
//! use entente_node::id::{AuthorityId, Timestamp};
//! use entente_node::policy::{Policy, Sharing};
//!
//! let policy = Policy::parse(
//!     r#"
//!     [[rule]]
//!     name = "witnesses stay at home"
//!     peers = ["*"]
//!     when = { subject_category = ["witness"] }
//!     level = "none"
//!
//!     [[rule]]
//!     name = "France sees persons"
//!     peers = ["fr.*"]
//!     level = "view"
//!     claims = ["subjects.*"]
//!     "#,
//! )?;
//! let alert = |people: &[&str]| -> Result<Facts, String> {
//!     Ok(Facts {
//!         category: Some("intelligence_notice".parse()?),
//!         exploitation: vec!["labour".parse()?],
//!         urgency: None,
//!         handling: vec!["H0".parse()?],
//!         subject_categories: people.iter().map(|word| word.parse()).collect::<Result<_, _>>()?,
//!     })
//! };
//! let france: AuthorityId = "fr.police-judiciaire".parse()?;
//! let germany: AuthorityId = "de.bka".parse()?;
//! let now: Timestamp = "2026-11-25T10:00:00Z".parse()?;
//!
//! let decision = policy.decide(&france, &alert(&["suspect"])?, now);
//! assert_eq!(decision.rule, Some((2, "France sees persons".to_owned())));
//! assert!(matches!(decision.sharing, Sharing::View(_)));
//!
//! // One witness is enough to keep the whole alert back.
//! let decision = policy.decide(&france, &alert(&["suspect", "witness"])?, now);
//! assert_eq!(decision.sharing, Sharing::None);
//!
//! // No rule names Germany, so it gets nothing.
//! let decision = policy.decide(&germany, &alert(&["suspect"])?, now);
//! assert_eq!((decision.sharing, decision.rule), (Sharing::None, None));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod compare;
mod rule;

pub use rule::{Level, Rule};

use crate::alert::{ClaimSet, Facts};
use crate::id::{AuthorityId, Timestamp};
use crate::reason::Reason;
use crate::toml_line::located;

/// Most bytes of a policy: it is stored as one record.
pub const POLICY_BYTES_MAX: usize = 64 * 1024;

/// Most rules: each is tried for each alert and peer.
pub const RULES_MAX: usize = 500;

/// A policy with the text it was parsed from.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    source: String,
    rules: Vec<Rule>,
}

/// What a peer gets of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Nothing: it does not learn that the alert exists.
    None,
    /// The alert with these claims, those of every view included.
    View(ClaimSet),
}

/// A decision and what made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What the peer gets.
    pub sharing: Sharing,
    /// Number of the deciding rule, from 1, and its name; `None` when no rule matched.
    pub rule: Option<(usize, String)>,
}

/// Why a policy was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Longer than [`POLICY_BYTES_MAX`], or more rules than [`RULES_MAX`].
    #[error("a policy has at most 64 KiB and 500 rules")]
    TooLong,
    /// Not TOML, or a word that is not known here.
    #[error("line {line}: {message}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A rule contradicts itself or repeats a name.
    #[error("rule {number} ({name}): {why}")]
    Rule {
        /// Counted from 1.
        number: usize,
        /// As written.
        name: String,
        /// What to do.
        why: &'static str,
    },
}

impl PolicyError {
    /// Stable and machine-readable.
    pub fn reason(&self) -> Reason {
        match self {
            Self::TooLong => Reason::PolicyTooLong,
            Self::Line { .. } => Reason::PolicyMalformed,
            Self::Rule { .. } => Reason::PolicyRuleRefused,
        }
    }
}

impl Policy {
    /// The policy of a new node: no rules, so nothing is shared.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Parses and checks the whole text.
    ///
    /// # Errors
    /// The first thing that is not understood, with its line.
    pub fn parse(source: &str) -> Result<Self, PolicyError> {
        if source.len() > POLICY_BYTES_MAX {
            return Err(PolicyError::TooLong);
        }
        let file: rule::File = toml::from_str(source).map_err(|error| {
            let (line, message) = located(source, &error);
            PolicyError::Line { line, message }
        })?;
        if file.rules.len() > RULES_MAX {
            return Err(PolicyError::TooLong);
        }
        rule::check(&file.rules)?;
        Ok(Self { source: source.to_owned(), rules: file.rules })
    }

    /// The text as written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The rules in their order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What `peer` gets of an alert with these facts.
    pub fn decide(&self, peer: &AuthorityId, facts: &Facts, now: Timestamp) -> Decision {
        let mut numbered = self.rules.iter().zip(1..);
        let Some((rule, number)) =
            numbered.find(|(rule, _)| rule.misses(peer, facts, now).is_none())
        else {
            return Decision { sharing: Sharing::None, rule: None };
        };
        let sharing = match rule.level {
            Level::None => Sharing::None,
            Level::View => Sharing::View(ClaimSet::core().union(rule.claims())),
        };
        Decision { sharing, rule: Some((number, rule.name.clone())) }
    }

    /// For each rule before the one that decides, why it did not match.
    pub fn considered(&self, peer: &AuthorityId, facts: &Facts, now: Timestamp) -> Vec<String> {
        let missed = |(rule, number): (&Rule, usize)| {
            rule.misses(peer, facts, now).map(|why| format!("rule {number} ({}): {why}", rule.name))
        };
        self.rules.iter().zip(1..).map_while(missed).collect()
    }

    /// The next time after `now` at which a rule ends, so that everything must be decided again.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        self.rules.iter().filter_map(|rule| rule.until()).filter(|end| *end > now).min()
    }

    /// Why `self` in place of `old` might disclose more, rule by rule; empty only when it can't.
    /// Then no second person is needed.
    pub fn widens(&self, old: &Self) -> Vec<String> {
        compare::widens(&self.rules, &old.rules)
    }

    /// The peers that a rule names and that are none of the `known` ones: after a typing error
    /// nothing would be shared, and nobody would notice.
    pub fn unmatched(&self, known: &[AuthorityId]) -> Vec<String> {
        let named = self.rules.iter().zip(1..).flat_map(|(rule, number)| {
            let name = move |peer| format!("rule {number} ({}) names {peer}", rule.name);
            rule.unmatched(known).into_iter().map(name)
        });
        named.collect()
    }

    /// The differences from `old`, rule by rule, for people.
    pub fn changes(&self, old: &Self) -> Vec<String> {
        compare::changes(&self.rules, &old.rules)
    }
}

#[cfg(test)]
mod tests;
