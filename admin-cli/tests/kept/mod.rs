//! The nodes that `entente demo --keep` leaves running.
#![allow(dead_code, reason = "each test file takes what it needs")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Three nodes, which end with it.
pub(crate) struct Kept {
    nodes: Vec<String>,
    pub(crate) folder: PathBuf,
}

impl Drop for Kept {
    fn drop(&mut self) {
        Command::new("kill").args(&self.nodes).status().expect("kill");
    }
}

pub(crate) fn keep(within: &Path) -> Kept {
    let demo = Command::new(env!("CARGO_BIN_EXE_entente"))
        .args(["demo", "--keep"])
        .env("TMPDIR", within)
        .env("COLUMNS", "80")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&demo.stdout).into_owned();
    let after = |start: &str| said.lines().find_map(|line| line.trim().strip_prefix(start));
    let nodes = after("end them: kill ").expect(&said).split(' ').map(str::to_owned).collect();
    let kept = Kept { nodes, folder: PathBuf::from(after("then remove ").expect(&said)) };
    assert!(demo.status.success() && kept.nodes.len() == 3, "{said}");
    let shown = said.split(" steps, all of them").next().unwrap();
    let wide = shown.lines().find(|line| line.chars().count() > 80);
    assert_eq!(wide, None, "the demo fits a terminal of 80 columns");
    kept
}

impl Kept {
    /// Runs a command as a user of a node, and returns what it says.
    pub(crate) fn run(&self, node: &str, user: &str, code: i32, words: &[&str]) -> String {
        let profile = self.folder.join(node).join(format!("profiles/{user}.toml"));
        let output: Output = Command::new(env!("CARGO_BIN_EXE_entente"))
            .args(words)
            .arg("--profile")
            .arg(profile)
            .current_dir(&self.folder)
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert_eq!(output.status.code(), Some(code), "{user}: {words:?}\n{said}");
        said
    }
}
