//! How every command behaves, without a node: help with examples, exit codes, messages on stderr.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::{Command, Output};

fn entente(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_entente"))
        .args(arguments)
        .env_remove("ENTENTE_PROFILE")
        .output()
        .unwrap()
}

fn check(arguments: &[&str], code: i32, stdout: &str, stderr: &str) {
    let output = entente(arguments);
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{out}\n{err}");
    assert!(out.contains(stdout), "{arguments:?}: {stdout:?} not in\n{out}");
    assert!(err.contains(stderr), "{arguments:?}: {stderr:?} not in\n{err}");
}

fn search(identifier: &str) -> Vec<&str> {
    let words = ["search", "--case", "1", "--offence", "labour", "--sought", "object"];
    [&words[..], &["--identifier", identifier]].concat()
}

#[test]
fn completions_end_quietly_when_nobody_reads_on() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_entente"))
        .args(["completions", "bash"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_failed_init_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::create_dir_all(at("certs/dk.politi")).unwrap();
    for (certs, says) in [("certs", "roots.pem"), ("nowhere", "is not there")] {
        let (home, certs) = (at("dk"), at(certs));
        let words =
            ["node", "init", "--authority", "dk.politi", "--home", &home, "--certs", &certs];
        check(&words, 1, "", says);
        assert!(!folder.path().join("dk").exists());
    }
}

#[test]
fn a_demo_that_is_told_to_end_leaves_nothing_behind() {
    for signal in ["-TERM", "-INT"] {
        let folder = tempfile::tempdir().unwrap();
        let made = || std::fs::read_dir(folder.path()).unwrap().count();
        let mut demo = Command::new(env!("CARGO_BIN_EXE_entente"))
            .arg("demo")
            .env("TMPDIR", folder.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        while made() == 0 {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        std::thread::sleep(std::time::Duration::from_secs(1));
        Command::new("kill").args([signal, &demo.id().to_string()]).status().unwrap();
        assert_eq!(demo.wait().unwrap().code(), Some(1), "{signal}");
        assert_eq!(made(), 0, "{signal}");
    }
}

#[test]
fn wrong_usage_ends_with_64_and_a_refusal_with_1() {
    for (arguments, code, stdout, stderr) in [
        (vec!["--version"], 0, "entente 0.1.0", ""),
        (vec!["--help"], 0, "demo", ""),
        (vec!["nonsense"], 64, "", "unrecognized subcommand"),
        (vec!["alert"], 64, "", "Usage"),
        (vec!["status"], 64, "", "entente: hint: `entente-node init` made some"),
        (vec!["status", "--profile", "/nowhere/x.toml"], 1, "", "entente: error: the profile"),
        (vec!["status", "--profile", "/nowhere/x.toml", "--format", "json"], 1, "\"ok\":false", ""),
        (vec!["alert", "template", "murder"], 64, "", "one of child_prevent_travel"),
        (vec!["alert", "template", "missing_protect"], 0, "\"category\": \"missing_protect\"", ""),
        (vec!["policy", "check", "/nowhere.toml"], 1, "", "/nowhere.toml"),
        (vec!["completions", "bash"], 0, "_entente", ""),
        (vec!["audit", "list", "--operation", "disclos"], 64, "", "the operations are collect"),
        (search("plate:AB12345"), 64, "", "lacks the country that issued it"),
        (search("shoe:44"), 64, "", "types: passport"),
        (vec!["sample", "--count", "3", "--seed", "2"], 0, "\"category\"", ""),
    ] {
        check(&arguments, code, stdout, stderr);
    }
}

/// Every command and group of commands that people use, by its words.
fn commands(words: &[String], found: &mut Vec<Vec<String>>) {
    let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
    arguments.push("--help");
    let help = String::from_utf8(entente(&arguments).stdout).unwrap();
    found.push(words.to_vec());
    let Some((_, listed)) = help.split_once("Commands:\n") else { return };
    let listed = listed.split("\n\n").next().unwrap_or_default();
    for name in listed.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()) {
        if !name.is_empty() && name != "help" {
            commands(&[words, &[name.to_owned()]].concat(), found);
        }
    }
}

#[test]
fn every_command_has_examples_in_its_help() {
    let mut found = Vec::new();
    commands(&[], &mut found);
    assert!(found.len() > 40, "{found:?}");
    for words in found {
        let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
        arguments.push("--help");
        let help = String::from_utf8(entente(&arguments).stdout).unwrap();
        let example = format!("  entente {}", words.join(" "));
        assert!(help.contains(&example), "{words:?} shows no example {example:?}\n{help}");
    }
}

#[test]
fn samples_and_templates_need_no_node_and_are_the_same_each_time() {
    let once = entente(&["sample", "--count", "20", "--seed", "5"]).stdout;
    assert_eq!(once, entente(&["sample", "--count", "20", "--seed", "5"]).stdout);
    assert_eq!(once.iter().filter(|byte| **byte == b'\n').count(), 20);
}

#[test]
fn an_identity_opens_with_its_passphrase_only() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(at("right"), "correct horse battery\n").unwrap();
    std::fs::write(at("wrong"), "incorrect horse\n").unwrap();
    std::fs::write(at("short"), "short\n").unwrap();
    let create = |pass: &str, out: &str, code| {
        let (pass, out) = (at(pass), at(out));
        let words = [
            "identity",
            "create",
            "--authority",
            "dk.politi",
            "--out",
            &out,
            "--passphrase-file",
            &pass,
        ];
        check(&words, code, "", "");
    };
    create("short", "no.identity", 1);
    create("right", "dk.identity", 0);
    create("right", "dk.identity", 1);
    let show = |pass: &str, code, stdout| {
        let (key, pass) = (at("dk.identity"), at(pass));
        check(&["identity", "fingerprint", &key, "--passphrase-file", &pass], code, stdout, "");
    };
    show("right", 0, "dk.politi");
    show("wrong", 1, "");
    let text = std::fs::read_to_string(at("dk.identity")).unwrap();
    assert!(text.contains("ENCRYPTED PRIVATE KEY"));
}
