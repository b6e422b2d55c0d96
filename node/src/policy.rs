//! Sharing rules: ordered, first match wins, default nothing. `decide` is pure.

use crate::alert::{ClaimSet, Facts};
use crate::id::{AuthorityId, Timestamp};

/// A policy, parsed whole from TOML; keeps its source text.
#[derive(Clone, Debug)]
pub struct Policy { source: String }

/// What a peer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing { /// nothing
    None, /// these claims (core claims included)
    View(ClaimSet) }

/// A decision and what made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision { /// what the peer gets
    pub sharing: Sharing, /// number of the rule from 1, with its name; none matched otherwise
    pub rule: Option<(usize, String)> }

impl Policy {
    /// The policy of a new node: no rules.
    pub fn empty() -> Self { todo!() }
    /// Parses TOML; refuses what is unknown, `level = "index"` with its own word, and names the line.
    pub fn parse(source: &str) -> Result<Self, PolicyError> { todo!() }
    /// As written.
    pub fn source(&self) -> &str { &self.source }
    /// What `peer` gets of an alert with these facts.
    pub fn decide(&self, peer: &AuthorityId, facts: &Facts, now: Timestamp) -> Decision { todo!() }
    /// For `explain`: each rule before the deciding one and why it did not match.
    pub fn considered(&self, peer: &AuthorityId, facts: &Facts, now: Timestamp) -> Vec<String> { todo!() }
    /// The next time after `now` at which a rule ends (`until`), so that decisions must be made again.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> { todo!() }
    /// Why applying `self` in place of `old` might disclose more; empty when it provably does not (conservative). Then no second person is needed.
    pub fn widens(&self, old: &Policy) -> Vec<String> { todo!() }
    /// What differs, rule by rule, for people.
    pub fn changes(&self, old: &Policy) -> Vec<String> { todo!() }
}

/// Why a policy was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyError(pub String);
