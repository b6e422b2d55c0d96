//! Tells the programs which commit they are built from.

use std::env;
use std::path::Path;
use std::process::Command;

/// Digits of a commit that are shown: enough to be the only one in any repository.
const COMMIT_DIGITS: usize = 12;

fn main() {
    println!("cargo:rerun-if-env-changed=ENTENTE_COMMIT");
    let build = env::var("PROFILE").unwrap_or_default();
    let named = env::var("ENTENTE_COMMIT").ok().filter(|commit| !commit.is_empty());
    // A debug build follows no commit: it would be compiled anew at each one, and name the last one
    // that it saw.
    let commit = match (named, build.as_str()) {
        (Some(named), _) => Some(named),
        (None, "release") => {
            watch();
            Some(commit(Path::new(".")).unwrap_or_else(|| "unknown".to_owned()))
        }
        (None, _) => None,
    };
    let commit = commit.map(|commit| format!("commit {commit}, ")).unwrap_or_default();
    println!("cargo:rustc-env=ENTENTE_BUILD={commit}{build} build");
}

/// The commit that `folder` is checked out at, and whether tracked files differ from it; `None`
/// outside a repository, and inside another's, as when an archive was unpacked there.
pub(crate) fn commit(folder: &Path) -> Option<String> {
    git(folder, &["ls-files", "--error-unmatch", "build.rs"])?;
    let length = format!("--short={COMMIT_DIGITS}");
    let commit = git(folder, &["rev-parse", &length, "HEAD"])?;
    let changes = git(folder, &["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changes.is_empty() { commit } else { format!("{commit} with changes") })
}

/// Whatever changes the answer of [`commit`]: the commit that is checked out, and the sources.
fn watch() {
    for path in ["src", "build.rs", "../Cargo.lock", "../proto", "../admin-cli/src"] {
        println!("cargo:rerun-if-changed={path}");
    }
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(Path::new("."), &["rev-parse", "--git-path", name]) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
}

fn git(folder: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(folder).args(arguments).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| said.trim().to_owned())
}
