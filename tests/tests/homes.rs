//! Homes of earlier versions are upgraded, through kills at any point, list the same alerts, pass a
//! check, and prove the checkpoints of their day.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use entente_node::audit::{Verifier, verify_checkpoint};
use entente_node::desk::{State, Wanted};
use entente_node::home::check;
use entente_node::id::Clock;
use entente_node::node::SharedNode;
use entente_tests::kept::{self, DAY, as_it_was, found, listed, open, unpacked};
use serde_json::Value;

/// Two nodes that know each other, stopped in good order, as they were at this commit.
const HOMES: [&str; 2] = ["home-22c1542.tgz", "home-cdf025e.tgz"];

/// What both nodes of a home held when it was kept is there, and the log of one leads to its
/// checkpoint.
async fn holds_what_it_held(root: &Path, clock: &Clock) -> anyhow::Result<()> {
    for name in ["dk", "fr"] {
        let home = root.join(name);
        sound(&home, clock)?;
        let opened = (home.clone(), clock.clone());
        let node = tokio::task::spawn_blocking(move || open(&opened.0, &opened.1)).await??;
        let held = listed(&node).await?;
        let was = as_it_was(&root.join(format!("{name}.list.json")))?;
        assert_eq!(held, was, "{name}");
        assert!(!held.is_empty());
        if name == "dk" {
            let mine = Wanted { mine: true, ..Wanted::all(State::Live) };
            assert_eq!(found(&node, mine).await?, held, "the officer created them all");
            verify(&node, &std::fs::read_to_string(root.join("cp.jws"))?)?;
        }
        node.store.close();
        drop(node);
        sound(&home, clock)?;
    }
    Ok(())
}

fn sound(home: &Path, clock: &Clock) -> anyhow::Result<()> {
    let findings = check(home, clock);
    let ok = findings.iter().all(|finding| finding.ok());
    ensure!(ok, "{}: {findings:?}", home.display());
    Ok(())
}

/// An upgrade as a process of its own; killed at the word on its progress with this number.
fn upgrade(home: &Path, records_at_once: usize, kill_at: usize) -> anyhow::Result<Vec<String>> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_upgrade"))
        .args(["--at", DAY, "--home"])
        .arg(home)
        .args(["--records-at-once", &records_at_once.to_string()])
        .args(["--stop-at", &kill_at.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let words = BufReader::new(child.stdout.take().context("its words")?).lines();
    let words = words.take(kill_at).collect::<Result<Vec<_>, _>>()?;
    if words.len() == kill_at {
        child.kill()?;
        child.wait()?;
    } else {
        ensure!(child.wait()?.success(), "it ends well");
    }
    Ok(words)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_of_an_earlier_version_is_upgraded_and_holds_what_it_held() -> anyhow::Result<()> {
    let clock = Clock::fixed(DAY.parse()?);
    for file in HOMES {
        let folder = tempfile::tempdir()?;
        unpacked(file, folder.path())?;
        let root = kept::root(folder.path());
        for name in ["dk", "fr"] {
            let home = root.join(name);
            let findings = check(&home, &clock);
            let store = findings.iter().find(|finding| finding.part == "store");
            let found = &store.context("the store")?.found;
            assert!(found.contains("run `entente-node upgrade --home DIR`"), "{found}");
            let error = open(&home, &clock).err().context("it is not upgraded")?.to_string();
            assert!(error.contains("make a backup"), "{error}");
            upgrade(&home, 1024, usize::MAX)?;
        }
        holds_what_it_held(&root, &clock).await?;
    }
    Ok(())
}

/// What lists by case runs over was made from sealed contents.
#[tokio::test(flavor = "multi_thread")]
async fn alerts_of_an_earlier_version_are_found_by_their_case() -> anyhow::Result<()> {
    let clock = Clock::fixed(DAY.parse()?);
    let folder = tempfile::tempdir()?;
    unpacked(HOMES[0], folder.path())?;
    let root = kept::root(folder.path());
    let draft = std::fs::read_to_string(root.join("s.jsonl"))?;
    let draft: Value = serde_json::from_str(draft.lines().next().context("a draft")?)?;
    let case_ref = draft["case_ref"].as_str().context("a case")?.to_owned();
    kept::upgrade(&root.join("dk"), &clock)?;
    let node = tokio::task::spawn_blocking(move || open(&root.join("dk"), &clock)).await??;
    let of_case = Wanted { case_ref, ..Wanted::all(State::Live) };
    assert_eq!(found(&node, of_case).await?.len(), 1);
    Ok(())
}

/// As an administrator runs it, who has no terminal there.
#[test]
fn the_command_says_what_it_does_and_that_there_is_no_way_back() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    unpacked(HOMES[0], folder.path())?;
    let home = kept::root(folder.path()).join("fr");
    let run = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_simulate"));
        command.args(["node", "upgrade", "--home"]).arg(&home).stdin(Stdio::null()).output()
    };
    let done = run()?;
    let (said, told) = (String::from_utf8(done.stdout)?, String::from_utf8(done.stderr)?);
    ensure!(done.status.success(), "{told}");
    let schema = entente_node::store::SCHEMA_VERSION;
    assert!(said.starts_with(&format!("upgraded to schema {schema}.")), "{said}");
    let steps = schema - 1;
    for line in [
        "Have a backup of".to_owned(),
        format!("step 1 of {steps}: "),
        format!("step {steps} of {steps}: "),
    ] {
        assert!(told.contains(&line), "{line:?} is not in {told}");
    }
    let again = run()?;
    assert!(again.status.success() && again.stderr.is_empty());
    let said = String::from_utf8(again.stdout)?;
    assert_eq!(said, format!("nothing to do: the store has schema {schema} already\n"));
    Ok(())
}

/// First before anything is written, then between two steps, then after every second batch.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_is_killed_between_steps_and_within_one_goes_on() -> anyhow::Result<()> {
    let clock = Clock::fixed(DAY.parse()?);
    for file in HOMES {
        let folder = tempfile::tempdir()?;
        unpacked(file, folder.path())?;
        let root = kept::root(folder.path());
        for name in ["dk", "fr"] {
            let home = root.join(name);
            let begun = upgrade(&home, 8, 1)?;
            assert_eq!(upgrade(&home, 8, 1)?, begun, "nothing was written");
            let steps = begun[0].split(' ').nth(1).context("steps")?.parse::<usize>()?;
            let second = upgrade(&home, 8, 2)?;
            assert_eq!(second[1], format!("2 {steps} 0 0"), "the second step begins");
            let mut kills = 0;
            let mut within = 0;
            loop {
                // The step, its pass, and two batches.
                let words = upgrade(&home, 8, 4)?;
                let [_, pass, ..] = words.as_slice() else { break };
                let done = pass.split(' ').nth(2).context("records")?.parse::<u64>()?;
                within += usize::from(done > 0);
                if words.len() < 4 {
                    break;
                }
                kills += 1;
            }
            // The later one had its index already.
            let many = if file == HOMES[0] { 1 } else { 0 };
            assert!(
                kills > many && within >= many,
                "{file} {name}: {kills} kills, {within} within"
            );
            assert_eq!(upgrade(&home, 8, usize::MAX)?, Vec::<String>::new(), "nothing is left");
        }
        holds_what_it_held(&root, &clock).await?;
    }
    Ok(())
}

/// Whatever it is doing at that moment: a write is cut in its midst.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_is_killed_at_any_moment_goes_on() -> anyhow::Result<()> {
    let clock = Clock::fixed(DAY.parse()?);
    let folder = tempfile::tempdir()?;
    unpacked(HOMES[0], folder.path())?;
    let root = kept::root(folder.path());
    for name in ["dk", "fr"] {
        let mut killed = 0;
        for round in 0..12 {
            let mut child = Command::new(env!("CARGO_BIN_EXE_upgrade"))
                .args(["--at", DAY, "--records-at-once", "2", "--home"])
                .arg(root.join(name))
                .stdout(Stdio::null())
                .spawn()?;
            tokio::time::sleep(Duration::from_millis(20 + 17 * round)).await;
            child.kill()?;
            killed += usize::from(!child.wait()?.success());
        }
        assert!(killed > 0, "it was quicker than every kill");
        upgrade(&root.join(name), 2, usize::MAX)?;
    }
    holds_what_it_held(&root, &clock).await
}

/// The log leads to the checkpoint that was taken then, and goes on from it.
fn verify(node: &SharedNode, jws: &str) -> anyhow::Result<()> {
    let checkpoint = verify_checkpoint(jws.trim(), &node.log_key.public())?;
    let mut verifier = Verifier::default();
    for (index, leaf) in node.store.leaves(0, usize::MAX)? {
        verifier.push(index, &leaf)?;
        if index + 1 == checkpoint.size {
            verifier.check(&checkpoint)?;
        }
    }
    ensure!(verifier.tree().size() > checkpoint.size, "the list is in the log too");
    ensure!(*verifier.tree() == node.store.log(), "it ends where the store says");
    Ok(())
}

/// Files and folders below a folder, and the folder itself.
fn below(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    found.push(folder.to_owned());
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            below(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

/// A loss of power right after it loses nothing of a new home. The system's calls tell which files
/// were synced.
#[test]
fn init_syncs_every_file_and_folder_that_it_makes() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (home, calls) = (folder.path().join("above/dk"), folder.path().join("calls"));
    let traced = Command::new("strace")
        .args(["-f", "-y", "-e", "trace=fsync,fdatasync", "-o"])
        .arg(&calls)
        .arg(env!("CARGO_BIN_EXE_simulate"))
        .args(["node", "init", "--authority", "dk.politi", "--contact", "+45 1", "--home"])
        .arg(&home)
        .output();
    let Ok(traced) = traced else {
        eprintln!("skipped: strace is not installed");
        return Ok(());
    };
    if String::from_utf8_lossy(&traced.stderr).contains("ptrace") {
        eprintln!("skipped: this user may not trace");
        return Ok(());
    }
    ensure!(traced.status.success(), "{}", String::from_utf8_lossy(&traced.stderr));
    // `… fsync(3</path>) = 0`
    let calls = std::fs::read_to_string(&calls)?;
    let synced: HashSet<PathBuf> = calls
        .lines()
        .filter_map(|line| line.split_once('<')?.1.split_once(">)"))
        .map(|(path, _)| PathBuf::from(path.replace(".generating", "")))
        .collect();
    let mut made = vec![folder.path().to_owned(), folder.path().join("above")];
    below(&home, &mut made)?;
    let replaced = home.join("descriptor.draft.new");
    let unsynced: Vec<_> = made
        .iter()
        .filter(|path| !synced.contains(*path))
        .filter(|path| !(path.ends_with("descriptor.draft.json") && synced.contains(&replaced)))
        .collect();
    assert!(unsynced.is_empty(), "{unsynced:?}");
    assert!(made.iter().any(|path| path.ends_with("store/db/conf")), "{made:?}");
    Ok(())
}
