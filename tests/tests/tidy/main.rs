//! Rules of the house, as ordinary tests: who may know whom, how long things are, what may not be
//! written.

mod planted;
mod rooms;
mod rules;
mod source;
mod words;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rooms::Rooms;
use source::Source;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && name != ".git" {
            files(&path, ending, found);
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
}

fn texts(below: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    files(&root().join(below), ".rs", &mut found);
    let name = |path: &Path| path.strip_prefix(root()).expect("below").display().to_string();
    found.iter().map(|path| (name(path), fs::read_to_string(path).expect("text"))).collect()
}

fn sources(below: &str) -> Vec<Source> {
    let read = |(name, text): (String, String)| Source::read(&name, &text).expect("Rust");
    texts(below).into_iter().map(read).collect()
}

/// Everything that is written in Rust here.
fn all_sources() -> Vec<Source> {
    ["node", "admin-cli", "proto", "tests"].into_iter().flat_map(sources).collect()
}

/// Fails with all that was found.
fn nothing(found: &[String]) {
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn modules_know_each_other_in_one_direction_and_other_peoples_crates_where_they_belong() {
    let sources = sources("node/src");
    let rooms = Rooms::of(&sources);
    let mut found = rules::upward(&rooms, rules::ORDER, rules::STRANGERS);
    found.extend(rules::foreign(&rooms));
    let known = rules::KNOWN.iter().copied().filter(|known| !known.ends_with(" lines"));
    nothing(&rules::news(&found, &known.collect::<Vec<_>>()));
}

#[test]
fn no_files_know_each_other_in_a_circle() {
    let sources = sources("node/src");
    let rooms = Rooms::of(&sources);
    nothing(&rules::round(&rooms, rules::KNOWN_STEPS));
    for (number, step) in rules::KNOWN_STEPS.iter().enumerate() {
        let others: Vec<_> =
            [&rules::KNOWN_STEPS[..number], &rules::KNOWN_STEPS[number + 1..]].concat();
        assert!(!rules::round(&rooms, &others).is_empty(), "{step:?} makes no circle any more");
    }
}

#[test]
fn lines_are_as_wide_as_half_a_screen() {
    nothing(&rules::wide(&all_sources()));
}

#[test]
fn functions_are_as_long_as_a_screen() {
    let known = rules::KNOWN.iter().copied().filter(|known| known.ends_with(" lines"));
    nothing(&rules::news(&rules::long(&all_sources()), &known.collect::<Vec<_>>()));
}

/// The library declares each module, the order gives it a place, and the map explains it.
#[test]
fn the_order_has_every_module_once() {
    let library = fs::read_to_string(root().join("node/src/lib.rs")).expect("the library");
    let declared = library.lines().filter_map(|line| {
        let line = line.strip_prefix("pub ").unwrap_or(line);
        line.strip_prefix("mod ")?.strip_suffix(';')
    });
    let declared: BTreeSet<&str> = declared.collect();
    let ordered: Vec<&str> =
        rules::ORDER.iter().copied().filter(|module| !module.contains("::")).collect();
    assert_eq!(declared, ordered.iter().copied().collect());
    assert_eq!(declared.len(), ordered.len(), "a module stands twice in the order");
    let sources = sources("node/src");
    let exists = |part: &str| sources.iter().any(|source| source.module.join("::") == part);
    for part in rules::ORDER.iter().chain(rules::STRANGERS.iter().flat_map(|(a, b)| [a, b])) {
        assert!(exists(part), "{part} is no module");
    }
}
