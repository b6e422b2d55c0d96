//! A node is restored from an old backup, and two people and the auditor go the way that
//! docs/operating.md tells.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod kept;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use kept::{Kept, keep};
use serde_json::Value;

/// The restored node, which ends with it.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

fn start(kept: &Kept) -> Node {
    let home = kept.folder.join("dk.politi");
    let node = Command::new(env!("CARGO_BIN_EXE_entente"))
        .args(["node", "run", "--home"])
        .arg(home)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until(kept, "coordinator", &["whoami"], "roles");
    Node(node)
}

/// Repeats a command until it says this.
fn until(kept: &Kept, user: &str, words: &[&str], expected: &str) -> String {
    let profile = kept.folder.join("dk.politi").join(format!("profiles/{user}.toml"));
    for _ in 0..300 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_entente"));
        let output = command.args(words).arg("--profile").arg(&profile).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if said.contains(expected) {
            return said;
        }
        sleep(Duration::from_millis(200));
    }
    panic!("{words:?} never said {expected}");
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    assert!(Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
}

#[test]
fn two_people_and_the_auditor_go_the_way_after_a_restore() {
    let folder = tempfile::tempdir().unwrap();
    let kept = keep(folder.path());
    let run = |user: &str, code, words: &[&str]| kept.run("dk.politi", user, code, words);
    let import = |seed: &str| {
        let sample = run("officer", 0, &["sample", "--count", "5", "--seed", seed]);
        fs::write(kept.folder.join("sample.jsonl"), sample).unwrap();
        run("officer", 0, &["alert", "import", "sample.jsonl"]);
    };
    let (store, backup) = (kept.folder.join("dk.politi/store"), kept.folder.join("backup-of-dk"));
    run("auditor", 0, &["audit", "checkpoint", "--out", "old.jws"]);
    let addresses = fs::read_to_string(kept.folder.join("dk.politi/run/addresses.json")).unwrap();
    let pid = serde_json::from_str::<Value>(&addresses).unwrap()["pid"].to_string();
    assert!(Command::new("kill").arg(&pid).status().unwrap().success());
    while Path::new("/proc")
        .join(&pid)
        .join("fd")
        .read_dir()
        .is_ok_and(|mut fd| fd.next().is_some())
    {
        sleep(Duration::from_millis(50));
    }
    copy(&store, &backup);
    let node = start(&kept);
    import("71");
    until(&kept, "coordinator", &["status"], "both ways");
    run("auditor", 0, &["audit", "checkpoint", "--out", "lost.jws"]);
    import("72");
    sleep(Duration::from_secs(2));
    drop(node);
    copy(&backup, &store);
    let _node = start(&kept);
    until(&kept, "coordinator", &["status"], "was restored from an old state");
    assert!(run("officer", 1, &["alert", "list"]).contains("this node lost state"));
    let verify = ["audit", "verify", "--checkpoint", "old.jws", "--checkpoint", "lost.jws"];
    assert!(run("auditor", 1, &verify).contains("the log was changed or cut"));
    assert!(run("administrator", 0, &["epoch", "recover"]).contains("statements"));
    let shown = run("coordinator", 0, &["epoch", "show"]);
    assert!(shown.contains("fr.police-judiciaire") && shown.contains("officer"), "{shown}");
    let json = run("coordinator", 0, &["epoch", "show", "--format", "json"]);
    let review: Value = serde_json::from_str(&json).unwrap();
    let (name, again) = (review["review"].as_str().unwrap(), review["again"].to_string());
    let why = "restored from the backup of Monday";
    let wrong = ["epoch", "start", "--reason", why, "--review", "0000000000000000"];
    assert!(run("administrator", 1, &wrong).contains("look again"));
    let named = ["--review", name, "--again", &again];
    let propose = [["epoch", "start", "--reason", why].as_slice(), &named].concat();
    assert!(run("administrator", 0, &propose).contains("waits for a coordinator"));
    let json = run("coordinator", 0, &["epoch", "show", "--format", "json"]);
    let review: Value = serde_json::from_str(&json).unwrap();
    let number = review["proposals"][0]["number"].to_string();
    let approve = [["epoch", "start", "--approve", &number].as_slice(), &named].concat();
    assert!(run("coordinator", 0, &approve).contains("started"));
    let verified = run("auditor", 0, &verify);
    for expected in ["restored on", "of the old log are gone", "approved by", why, "1 kept ones"] {
        assert!(verified.contains(expected), "{expected}: {verified}");
    }
    run("officer", 0, &["alert", "list"]);
}
