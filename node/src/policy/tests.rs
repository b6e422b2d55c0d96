#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use proptest::prelude::*;

use super::*;
use crate::alert::{Category, Exploitation, Handling, SubjectCategory, Urgency};

const NOW: i64 = 1_795_000_000;

fn facts(category: &str, subjects: &[&str]) -> Facts {
    Facts {
        category: Some(category.parse().unwrap()),
        exploitation: vec![Exploitation::Labour],
        urgency: Some(Urgency::Normal),
        handling: vec![Handling::H0],
        subject_categories: subjects.iter().map(|s| s.parse().unwrap()).collect(),
    }
}

fn decide(policy: &str, peer: &str, facts: &Facts) -> Option<Vec<&'static str>> {
    let policy = Policy::parse(policy).unwrap();
    match policy.decide(&peer.parse().unwrap(), facts, Timestamp::from_seconds(NOW)).sharing {
        Sharing::None => None,
        Sharing::View(claims) => Some(claims.minus(ClaimSet::core()).names()),
    }
}

const ORDERED: &str = r#"
[[rule]]
name = "no victims to Germany"
peers = ["de.*"]
when = { subject_category = ["victim_presumed", "missing"] }
level = "none"

[[rule]]
name = "suspects with year of birth"
peers = ["de.*", "fr.police-judiciaire"]
when = { subject_category = ["suspect", "convicted"] }
level = "view"
claims = ["subjects.birth_year"]

[[rule]]
name = "everything to France"
peers = ["fr.*"]
level = "view"
claims = ["*"]
until = 2027-01-01T00:00:00Z
"#;

#[test]
fn what_a_rule_names_and_nobody_is_is_told() {
    let known: Vec<AuthorityId> = vec!["fr.police-judicaire".parse().unwrap()];
    let policy = Policy::parse(ORDERED).unwrap();
    let said = policy.unmatched(&known);
    assert_eq!(
        said,
        [
            "rule 1 (no victims to Germany) names de.*",
            "rule 2 (suspects with year of birth) names de.*",
            "rule 2 (suspects with year of birth) names fr.police-judiciaire",
        ]
    );
}

#[test]
fn the_first_rule_that_matches_decides() {
    let suspect = facts("discreet_check", &["suspect"]);
    let missing = facts("missing_protect", &["missing"]);
    let mixed = facts("missing_protect", &["suspect", "missing"]);
    let year = Some(vec!["subjects.birth_year"]);
    assert_eq!(decide(ORDERED, "de.bka", &suspect), year);
    assert_eq!(decide(ORDERED, "fr.police-judiciaire", &suspect), year);
    assert_eq!(decide(ORDERED, "de.bka", &missing), None);
    assert_eq!(decide(ORDERED, "de.bka", &mixed), None, "one missing person is enough to withhold");
    assert_eq!(decide(ORDERED, "se.polisen", &suspect), None, "no rule, nothing");
    let all = decide(ORDERED, "fr.police-judiciaire", &mixed).unwrap();
    assert!(all.contains(&"subjects.names"));
    assert!(!all.contains(&"case_ref") && !all.contains(&"locations.text"), "never by wildcard");
}

#[test]
fn a_rule_ends_at_its_time() {
    let policy = Policy::parse(ORDERED).unwrap();
    let end: Timestamp = "2027-01-01T00:00:00Z".parse().unwrap();
    let missing = facts("missing_protect", &["missing"]);
    let peer = "fr.police-judiciaire".parse().unwrap();
    assert!(policy.decide(&peer, &missing, end.plus(-1)).rule.is_some());
    assert_eq!(policy.decide(&peer, &missing, end).sharing, Sharing::None);
    assert_eq!(policy.next_change(end.plus(-1)), Some(end));
    assert_eq!(policy.next_change(end), None);
}

#[test]
fn each_rule_before_the_deciding_one_says_why_it_did_not_match() {
    let policy = Policy::parse(ORDERED).unwrap();
    let suspect = facts("discreet_check", &["suspect"]);
    let considered =
        policy.considered(&"de.bka".parse().unwrap(), &suspect, Timestamp::from_seconds(NOW));
    assert_eq!(
        considered,
        ["rule 1 (no victims to Germany): no subject_category of the alert is in its list"]
    );
}

#[test]
fn what_is_not_understood_is_refused_with_its_line() {
    let rule = |rest: &str| format!("[[rule]]\nname = 'a'\npeers = ['*']\n{rest}");
    for (source, part) in [
        (rule("level = 'index'"), "line 4: level index comes with blind search"),
        (rule("level = 'all'"), "a level is none or view"),
        (rule("level = 'view'\nclaims = ['subjects.name']"), "the nearest is subjects.names"),
        (
            rule("level = 'view'\nwhen = { category = ['murder'] }"),
            "line 5: there is no such word: it",
        ),
        (rule("level = 'view'\nwhen = { subject_category = ['witnes'] }"), "did you mean witness?"),
        (rule("level = 'view'\nwhen = { category = [] }"), "an empty list"),
        (rule("level = 'view'\nwhen = { colour = ['red'] }"), "unknown field"),
        (rule("level = 'none'\nclaims = ['*']"), "leave claims out"),
        (rule("level = 'view'\nuntil = 2027-01-01"), "until is a UTC time"),
        (rule("level = 'view'\nrest = 1"), "unknown field"),
        ("[[rule]]\nname = 'a'\npeers = []\nlevel = 'none'".to_owned(), "peers is empty"),
        ("[[rule]]\nname = 'a'\npeers = ['d.*']\nlevel = 'none'".to_owned(), "line 3: a peer is"),
        (format!("{0}level = 'none'\n{0}level = 'none'", rule("")), "another rule has this name"),
        ("rule = 1".to_owned(), "line 1"),
        ("#".repeat(POLICY_BYTES_MAX + 1), "64 KiB"),
    ] {
        let error = Policy::parse(&source).expect_err(&source).to_string();
        assert!(error.contains(part), "{error}\n{source}");
    }
}

#[test]
fn changes_are_named_rule_by_rule() {
    let old = Policy::parse(ORDERED).unwrap();
    let narrower = ORDERED.replace("[\"subjects.birth_year\"]", "[\"act\"]");
    let new = Policy::parse(&narrower).unwrap();
    assert_eq!(
        new.changes(&old),
        ["changed: suspects with year of birth: +act -subjects.birth_year"]
    );
    assert_eq!(Policy::empty().changes(&old).len(), 3);
    let rule = |rest: &str| Policy::parse(&format!("[[rule]]\nname = \"a\"\n{rest}")).unwrap();
    let before = rule("peers = [\"fr.*\"]\nlevel = \"view\"\nwhen = { urgency = [\"urgent\"] }");
    let after = rule(
        "peers = [\"fr.*\", \"de.bka\"]\n\
         level = \"none\"\n\
         when = { subject_category = [\"convicted\", \"witness\"] }\n\
         until = 2027-01-31T00:00:00Z",
    );
    assert_eq!(
        after.changes(&before),
        ["changed: a: peers from fr.* to fr.*, de.bka; level from view to none; \
          until from without end to 2027-01-31T00:00:00Z; urgency from urgent to any; \
          subject_category from any to convicted, witness"]
    );
    assert!(Policy::empty().widens(&old).is_empty());
    assert!(old.widens(&old).is_empty());
    assert_eq!(old.widens(&Policy::empty()).len(), 2);
}

fn some_rule() -> impl Strategy<Value = String> {
    let pick = |words: &'static [&'static str]| {
        prop::option::of(prop::sample::subsequence(words, 1..=words.len()))
    };
    (
        prop::sample::subsequence(vec!["*", "fr.*", "fr.police-judiciaire", "de.bka"], 1..3),
        pick(&["discreet_check", "missing_protect", "intelligence_notice"]),
        pick(&["suspect", "missing", "convicted"]),
        pick(&["H0", "H1"]),
        prop::sample::subsequence(vec!["act", "means", "subjects.*"], 0..=3),
        any::<bool>(),
        prop::option::of(0..3i64),
    )
        .prop_map(|(peers, category, subject, handling, claims, none, until)| {
            let when: Vec<String> =
                [("category", category), ("subject_category", subject), ("handling", handling)]
                    .into_iter()
                    .filter_map(|(name, list)| list.map(|list| format!("{name} = {list:?}")))
                    .collect();
            let mut rule = format!("peers = {peers:?}\nwhen = {{ {} }}\n", when.join(", "));
            if none {
                rule += "level = 'none'\n";
            } else {
                rule += &format!("level = 'view'\nclaims = {claims:?}\n");
            }
            if let Some(after) = until {
                let end = Timestamp::from_seconds(NOW + after * 100);
                rule += &format!("until = {end}\n");
            }
            rule
        })
}

fn some_policy() -> impl Strategy<Value = Policy> {
    prop::collection::vec(some_rule(), 0..5).prop_map(numbered)
}

fn numbered(rules: Vec<String>) -> Policy {
    let rules = rules.iter().enumerate();
    let text: String =
        rules.map(|(number, rule)| format!("[[rule]]\nname = 'r{number}'\n{rule}")).collect();
    Policy::parse(&text).unwrap()
}

/// Every combination of facts that the rules of these tests can tell apart.
fn all_facts() -> Vec<Facts> {
    let subsets = |words: &[&'static str]| -> Vec<Vec<&'static str>> {
        (0..1u32 << words.len())
            .map(|set| {
                let in_set = |(bit, word)| (set >> bit & 1 == 1).then_some(word);
                words.iter().copied().enumerate().filter_map(in_set).collect()
            })
            .collect()
    };
    let mut all = Vec::new();
    for category in [Category::DiscreetCheck, Category::MissingProtect, Category::ObjectCheck] {
        for subjects in subsets(&["suspect", "missing", "convicted", "witness"]) {
            for handling in subsets(&["H0", "H1", "H2"]) {
                let to_subject = |word: &&str| word.parse::<SubjectCategory>().unwrap();
                let to_handling = |word: &&str| word.parse::<Handling>().unwrap();
                all.push(Facts {
                    category: Some(category),
                    exploitation: vec![Exploitation::Labour],
                    urgency: Some(Urgency::Normal),
                    handling: handling.iter().map(to_handling).collect(),
                    subject_categories: subjects.iter().map(to_subject).collect(),
                });
            }
        }
    }
    all
}

/// The first combination for which `new` gives what `old` does not.
fn wider_for(new: &Policy, old: &Policy) -> Option<String> {
    for facts in all_facts() {
        for peer in ["fr.police-judiciaire", "fr.gendarmerie", "de.bka", "se.polisen"] {
            for after in [0, 50, 150, 250] {
                let (peer, now) = (peer.parse().unwrap(), Timestamp::from_seconds(NOW + after));
                let gives = |policy: &Policy| match policy.decide(&peer, &facts, now).sharing {
                    Sharing::None => None,
                    Sharing::View(claims) => Some(claims),
                };
                let narrower = match (gives(new), gives(old)) {
                    (None, _) => true,
                    (Some(_), None) => false,
                    (Some(new), Some(old)) => new.is_subset(old),
                };
                if !narrower {
                    return Some(format!("{peer} {facts:?} {after}"));
                }
            }
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// What is not called wider never gives more: one person alone can't disclose more by any
    /// change.
    #[test]
    fn only_what_can_not_disclose_more_is_narrower(new in some_policy(), old in some_policy()) {
        if new.widens(&old).is_empty() {
            prop_assert_eq!(wider_for(&new, &old), None);
        }
    }

    /// The same for policies that are alike: one rule fewer, or one claim fewer.
    #[test]
    fn a_rule_taken_out_is_judged_soundly(
        rules in prop::collection::vec(some_rule(), 1..5),
        at in 0usize..5,
    ) {
        let old = numbered(rules.clone());
        let mut fewer = rules.clone();
        fewer.remove(at % rules.len());
        let new = numbered(fewer);
        if new.widens(&old).is_empty() {
            prop_assert_eq!(wider_for(&new, &old), None);
        }
    }
}
