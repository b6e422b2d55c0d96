//! Whether one policy can disclose more than another. Cautious: what is not plainly narrower counts
//! as wider.

use std::fmt::Display;

use super::rule::{Level, Rule, When};
use crate::alert::ClaimSet;
use crate::id::Timestamp;

pub(super) fn widens(new: &[Rule], old: &[Rule]) -> Vec<String> {
    let mut reasons = Vec::new();
    for (number, rule) in (1..).zip(new) {
        let before = new.get(..number - 1).unwrap_or_default();
        if rule.level == Level::View && !was_given(rule, before, old) {
            reasons.push(format!(
                "rule {number} ({}) may give peers what the policy in force does not",
                rule.name
            ));
        }
    }
    reasons
}

/// Whether `old` gave everything that `rule` gives, wherever `rule` decides: an old rule covers it,
/// and each earlier old rule that could have decided instead gave as much, or still decides first
/// (`before`).
fn was_given(rule: &Rule, before: &[Rule], old: &[Rule]) -> bool {
    for earlier in old {
        let gives_all = gives(rule.claims(), earlier);
        if gives_all && covers(earlier, rule) {
            return true;
        }
        let harmless = gives_all
            || disjoint(earlier, rule)
            || before.iter().any(|still| still.level == earlier.level && covers(still, earlier));
        if !harmless {
            return false;
        }
    }
    false
}

fn gives(claims: ClaimSet, rule: &Rule) -> bool {
    let core = ClaimSet::core();
    rule.level == Level::View && claims.is_subset(core.union(rule.claims()))
}

/// Whether `wide` matches wherever `narrow` does; both are of one level.
fn covers(wide: &Rule, narrow: &Rule) -> bool {
    let peers = narrow.peers.iter().all(|peer| wide.peers.iter().any(|other| other.covers(peer)));
    let end = |rule: &Rule| rule.until().unwrap_or(Timestamp::from_seconds(i64::MAX));
    peers && end(wide) >= end(narrow) && when_covers(&wide.when, &narrow.when)
}

fn when_covers(wide: &When, narrow: &When) -> bool {
    fn list<T: PartialEq>(wide: &Option<Vec<T>>, narrow: &Option<Vec<T>>) -> bool {
        match (wide, narrow) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(wide), Some(narrow)) => narrow.iter().all(|value| wide.contains(value)),
        }
    }
    list(&wide.category, &narrow.category)
        && list(&wide.urgency, &narrow.urgency)
        && list(&wide.exploitation, &narrow.exploitation)
        && list(&wide.handling, &narrow.handling)
        && list(&wide.subject_category, &narrow.subject_category)
}

/// Whether no alert and peer can match both; `view` shares, so all its values are in its lists.
fn disjoint(other: &Rule, view: &Rule) -> bool {
    fn list<T: PartialEq>(a: &Option<Vec<T>>, b: &Option<Vec<T>>) -> bool {
        matches!((a, b), (Some(a), Some(b)) if !a.iter().any(|value| b.contains(value)))
    }
    let (a, b) = (&other.when, &view.when);
    let meet = |peer| {
        view.peers.iter().any(|own: &super::rule::PeerPattern| own.covers(peer) || peer.covers(own))
    };
    !other.peers.iter().any(meet)
        || list(&a.category, &b.category)
        || list(&a.urgency, &b.urgency)
        || list(&a.exploitation, &b.exploitation)
        || list(&a.handling, &b.handling)
        || list(&a.subject_category, &b.subject_category)
}

pub(super) fn changes(new: &[Rule], old: &[Rule]) -> Vec<String> {
    let named = |rules: &'_ [Rule], name: &str| rules.iter().position(|rule| rule.name == name);
    let gone = old.iter().filter(|rule| named(new, &rule.name).is_none());
    let mut changes: Vec<String> = gone.map(|rule| format!("removed: {}", rule.name)).collect();
    for (place, rule) in new.iter().enumerate() {
        match named(old, &rule.name) {
            None => changes.push(format!("added: {} as rule {}", rule.name, place + 1)),
            Some(before) => {
                if old.get(before) != Some(rule) {
                    let what = old.get(before).map(|old| differences(rule, old));
                    changes.push(format!("changed: {}{}", rule.name, what.unwrap_or_default()));
                }
                if before != place {
                    changes.push(format!(
                        "moved: {} from {} to {}",
                        rule.name,
                        before + 1,
                        place + 1
                    ));
                }
            }
        }
    }
    changes
}

/// Every part of a rule that differs, with its old and its new value; nothing when only the wording
/// does.
fn differences(new: &Rule, old: &Rule) -> String {
    let mut parts = vec![claims_changed(new, old)];
    parts.extend(
        described(old)
            .into_iter()
            .zip(described(new))
            .filter(|(old, new)| old != new)
            .map(|((part, old), (_, new))| format!("{part} from {old} to {new}")),
    );
    parts.retain(|part| !part.is_empty());
    if parts.is_empty() { String::new() } else { format!(": {}", parts.join("; ")) }
}

fn claims_changed(new: &Rule, old: &Rule) -> String {
    let signed = |set: ClaimSet, sign: char| -> Vec<String> {
        set.names().iter().map(|name| format!("{sign}{name}")).collect()
    };
    let (new, old) = (new.claims(), old.claims());
    [signed(new.minus(old), '+'), signed(old.minus(new), '-')].concat().join(" ")
}

/// The parts of a rule besides its claims, for people.
fn described(rule: &Rule) -> [(&'static str, String); 8] {
    let when = &rule.when;
    [
        ("peers", words(&rule.peers)),
        ("level", rule.level.to_string()),
        ("until", rule.until().map_or("without end".to_owned(), |until| until.to_string())),
        ("category", asked(&when.category)),
        ("urgency", asked(&when.urgency)),
        ("exploitation", asked(&when.exploitation)),
        ("handling", asked(&when.handling)),
        ("subject_category", asked(&when.subject_category)),
    ]
}

fn asked<T: Display>(list: &Option<Vec<T>>) -> String {
    list.as_deref().map_or("any".to_owned(), words)
}

fn words<T: Display>(list: &[T]) -> String {
    let words: Vec<String> = list.iter().map(ToString::to_string).collect();
    words.join(", ")
}
