//! The reference pages say what the code says: every word of the policy language, and every reason
//! why a node is red.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use entente_node::alert::{Category, ClaimSet, Exploitation, Handling, SubjectCategory, Urgency};
use entente_node::policy::Policy;

fn text(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    fs::read_to_string(root.join(path)).expect("text")
}

fn source(module: &str) -> String {
    text(&format!("node/src/{module}"))
}

/// What stands between two marks, again and again.
fn between<'a>(text: &'a str, open: &'a str, close: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(open).skip(1).filter_map(move |rest| Some(rest.split_once(close)?.0))
}

/// What stands in quotes or in code type.
fn quoted(text: &str, mark: char) -> impl Iterator<Item = &str> {
    text.split(mark).skip(1).step_by(2)
}

/// The words in code type in the first cells of a page's tables.
fn first_cells(page: &str) -> BTreeSet<&str> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" |"));
    rows.flat_map(|(cell, _)| quoted(cell, '`')).collect()
}

/// The keys that a policy with an unknown one is told to use.
fn keys(policy: &str) -> Vec<String> {
    let told = Policy::parse(policy).expect_err("an unknown key").to_string();
    let (_, known) = told.split_once("expected one of").expect("the keys are named");
    quoted(known, '`').map(str::to_owned).collect()
}

/// Literals of one word in the code of a module, without its tests.
fn words(module: &str) -> BTreeSet<String> {
    let source = source(module);
    let code = source.split("#[cfg(test)]").next().expect("code").to_owned();
    let word = |literal: &&str| {
        !literal.is_empty() && literal.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
    };
    quoted(&code, '"').filter(word).map(str::to_owned).collect()
}

#[test]
fn the_policy_page_names_every_key_level_and_word() {
    let page = text("docs/policy.md");
    let rows = first_cells(&page);
    let rule = keys("[[rule]]\nunknown = 1\n");
    let when = keys("[[rule]]\nwhen = { unknown = 1 }\n");
    assert!(rule.len() == 6 && when.len() == 5, "{rule:?} {when:?}");
    for key in rule.iter().chain(&when) {
        assert!(rows.contains(key.as_str()), "{key} is in no table");
    }
    for level in ["none", "view", "index"] {
        assert!(rows.contains(level), "{level} is in no table");
        let one = format!("[[rule]]\nname = \"x\"\npeers = [\"*\"]\nlevel = \"{level}\"\n");
        assert_eq!(Policy::parse(&one).is_ok(), level != "index", "{level}");
    }
    let vocabularies = [
        Category::WORDS,
        Urgency::WORDS,
        Exploitation::WORDS,
        Handling::WORDS,
        SubjectCategory::WORDS,
    ];
    for word in vocabularies.into_iter().flatten() {
        assert!(page.contains(&format!("`{word}`")), "{word}");
    }
}

#[test]
fn the_policy_page_names_every_claim_and_no_other() {
    let page = text("docs/policy.md");
    let claims = page.split("### Claims").nth(1).expect("claims");
    let (core, rest) = claims.split_once("All others").expect("those of every view first");
    let (table, _) = rest.split_once("A **wildcard**").expect("wildcards after the table");
    let set =
        |text: &str, mark| -> BTreeSet<String> { quoted(text, mark).map(str::to_owned).collect() };
    let source = source("alert/claims.rs");
    let catalogue = between(&source, "const CATALOGUE", "];").next().expect("the catalogue");
    let all = set(catalogue, '"');
    let in_core: BTreeSet<_> = ClaimSet::core().names().into_iter().map(str::to_owned).collect();
    assert_eq!(set(core, '`'), in_core);
    assert_eq!(set(table, '`'), all.difference(&in_core).cloned().collect());
    let wild = ClaimSet::parse("*").expect("the wildcard").names();
    for name in all.iter().filter(|name| !wild.contains(&name.as_str())) {
        assert!(table.contains(&format!("**`{name}`**")), "{name} is not marked as by name only");
    }
}

#[test]
fn every_example_of_the_policy_page_is_a_policy() {
    let page = text("docs/policy.md");
    let examples: Vec<_> = between(&page, "```toml\n", "```").collect();
    assert!(examples.len() >= 2);
    for example in examples {
        let policy = Policy::parse(example).expect(example);
        assert!(!policy.rules().is_empty());
    }
}

#[test]
fn the_operating_page_explains_every_reason_and_no_other() {
    let page = text("docs/operating.md");
    let (states, rest) = page.split_once("## Reasons").expect("reasons");
    let (reasons, _) = rest.split_once("## Peers").expect("peers");
    let explained: BTreeSet<_> =
        first_cells(states).union(&first_cells(reasons)).copied().collect();
    let mut said = words("readiness.rs");
    said.extend(words("trust/ends.rs"));
    assert!(said.len() >= 18, "{said:?}");
    assert_eq!(explained, said.iter().map(String::as_str).collect());
}

#[test]
fn the_operating_page_explains_every_part_of_check() {
    let page = text("docs/operating.md");
    let parts = page.split("## What `check` looks at").nth(1).expect("check");
    let explained = first_cells(parts.split("\n## ").next().expect("a table"));
    let source = source("home/check.rs");
    let doc = between(&source, "pub struct Finding {", "pub part").next().expect("the parts");
    let named: BTreeSet<_> = quoted(doc, '`').collect();
    assert_eq!(explained, named);
    for part in words("home/check.rs") {
        assert!(explained.contains(part.as_str()), "{part} is not explained");
    }
}

/// All code of the node and of the command line, each text in one line.
fn code() -> String {
    fn read(folder: &Path, all: &mut String) {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                read(&path, all);
            } else {
                all.push_str(&fs::read_to_string(&path).unwrap_or_default());
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut all = String::new();
    for folder in ["node/src", "admin-cli/src"] {
        read(&root.join(folder), &mut all);
    }
    let mut lines = all.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |joined, line| joined + line.trim_start())
}

#[test]
fn what_the_operating_page_has_status_say_of_a_peer_is_said() {
    let page = text("docs/operating.md");
    let peers = page.split("## Peers").nth(1).expect("peers");
    let table = peers.split("\n## ").next().expect("a table");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| *")?.split_once("* "));
    let phrases: Vec<_> = rows.flat_map(|(said, _)| said.trim_matches('*').split('…')).collect();
    assert!(phrases.len() >= 8, "{phrases:?}");
    let code = code();
    for phrase in phrases.iter().map(|phrase| phrase.trim()) {
        assert!(code.contains(phrase), "nothing says {phrase:?}");
    }
}
