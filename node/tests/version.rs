//! Which commit the programs say they are built from.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

#[path = "../build.rs"]
#[allow(dead_code, clippy::print_stdout)]
mod build;

fn git(folder: &Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"];
    let done = Command::new("git").arg("-C").arg(folder).args(identity).args(arguments).output();
    assert!(done.unwrap().status.success(), "{arguments:?}");
}

#[test]
fn a_commit_is_named_only_where_the_sources_are_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("unpacked");
    std::fs::create_dir(&inner).unwrap();
    for folder in [folder.path(), &inner] {
        std::fs::write(folder.join("build.rs"), "").unwrap();
        assert_eq!(build::commit(folder), None, "no repository");
    }
    git(folder.path(), &["init", "--quiet"]);
    git(folder.path(), &["add", "build.rs"]);
    git(folder.path(), &["commit", "--quiet", "--message", "one"]);
    let commit = build::commit(folder.path()).unwrap();
    assert_eq!((commit.len(), commit.chars().all(|c| c.is_ascii_hexdigit())), (12, true));
    assert_eq!(build::commit(&inner), None, "an archive within another's repository");
    std::fs::write(folder.path().join("build.rs"), "// changed").unwrap();
    assert_eq!(build::commit(folder.path()), Some(format!("{commit} with changes")));
}

#[test]
fn the_version_says_how_it_was_built() {
    let version = entente_node::VERSION;
    assert!(version.starts_with("0.1.0 (") && version.ends_with(" build)"), "{version}");
}
