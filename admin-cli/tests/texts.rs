//! Nothing is silently wrong: what is not UTF-8 is refused with its place, and a result that could
//! not be written is a failure.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output, Stdio};

fn entente<S: AsRef<OsStr>>(words: &[S], stdin: &[u8], stdout: impl Into<Stdio>) -> Output {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("stdin"), stdin).unwrap();
    Command::new(env!("CARGO_BIN_EXE_entente"))
        .args(words)
        .env_remove("ENTENTE_PROFILE")
        .stdin(File::open(folder.path().join("stdin")).unwrap())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap()
}

fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

/// Ş in the code page of Turkey, in the second line.
const CP1254: &[u8] = b"# a\nx = \"\xDEahin\"\n";

#[test]
fn a_file_that_is_not_utf8_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::create_dir(at("home")).unwrap();
    for name in ["bad", "bad.toml", "home/entente.toml"] {
        fs::write(at(name), CP1254).unwrap();
    }
    let (bad, profile) = (at("bad"), at("bad.toml"));
    let (home, out) = (at("home"), at("out"));
    let cases: [&[&str]; 9] = [
        &["policy", "check", &bad],
        &["policy", "check", "-"],
        &["alert", "verify", &bad, "--descriptor", &bad],
        &["identity", "fingerprint", &bad],
        &[
            "identity",
            "create",
            "--authority",
            "dk.politi",
            "--out",
            &out,
            "--passphrase-file",
            &bad,
        ],
        &["identity", "sign", "--key", &bad, "--out", &out, &bad],
        &["status", "--profile", &profile],
        &["node", "draft", "--home", &home],
        &["node", "run", "--home", &home],
    ];
    for words in cases {
        let output = entente(words, CP1254, Stdio::piped());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{words:?}\n{said}");
        assert!(said.contains("line 2, byte 6 is not UTF-8"), "{words:?}\n{said}");
        assert!(!fs::exists(&out).unwrap());
    }
    let output = entente(&["node", "check", "--home", &home], b"", Stdio::piped());
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("line 2, byte 6 is not UTF-8"));
    for utf16 in [b"\xFF\xFEx\0=\0".as_slice(), b"\xFE\xFF\0x\0=", b"x\0=\0"] {
        let output = entente(&["policy", "check", "-"], utf16, Stdio::piped());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("this is UTF-16, not UTF-8"), "{said}");
    }
    let marked = b"\xEF\xBB\xBF[[rule]]\nname = \"a\"\npeers = [\"*\"]\nlevel = \"none\"\n";
    let output = entente(&["policy", "check", "-"], marked, Stdio::piped());
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_value_on_the_command_line_that_is_not_utf8_is_wrong_usage() {
    let words = ["search", "--case", "1", "--offence", "labour", "--sought", "missing", "--family"];
    let mut words: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
    words.push(OsStr::from_bytes(b"\xDEahin"));
    let output = entente(&words, b"", Stdio::piped());
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("UTF-8"));
}

/// Runs a command that succeeds with its result on a full disk: it must not.
fn lost<S: AsRef<OsStr> + std::fmt::Debug>(words: &[S]) {
    let output = entente(words, b"", full());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{words:?}\n{said}");
    assert!(said.contains("standard output can't be written: No space left"), "{words:?}\n{said}");
}

/// The words of every command and group, from the help.
fn commands(words: &[String], found: &mut Vec<Vec<String>>) {
    let asked = [words, &["--help".to_owned()]].concat();
    let help = String::from_utf8(entente(&asked, b"", Stdio::piped()).stdout).unwrap();
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
fn help_that_cannot_be_written_is_a_failure_of_every_command() {
    let mut found = Vec::new();
    commands(&[], &mut found);
    commands(&["node".to_owned()], &mut found);
    assert!(found.len() > 44, "{found:?}");
    for words in found {
        lost(&[&words[..], &["--help".to_owned()]].concat());
    }
    lost(&["--version"]);
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (pass, identity, certs, home) = (at("pass"), at("identity"), at("certs"), at("home"));
    fs::write(&pass, "correct horse battery\n").unwrap();
    fs::write(at("policy"), "").unwrap();
    lost(&["completions", "zsh"]);
    lost(&["alert", "template", "missing_protect"]);
    lost(&["sample", "--count", "2"]);
    lost(&["policy", "check", &at("policy")]);
    lost(&["certs", "example", "--out", &certs, "dk.politi"]);
    let create = ["identity", "create", "--authority", "dk.politi", "--out", &identity];
    lost(&[&create[..], &["--passphrase-file", &pass]].concat());
    lost(&["identity", "fingerprint", &identity, "--passphrase-file", &pass]);
    lost(&["node", "init", "--authority", "dk.politi", "--home", &home, "--contact", "desk"]);
    lost(&["node", "draft", "--home", &home]);
    lost(&["node", "check", "--home", &home]);
    for format in ["text", "json"] {
        let (draft, out) = (format!("{home}/descriptor.draft.json"), at("descriptor"));
        let sign = ["identity", "sign", "--key", &identity, "--passphrase-file", &pass];
        lost(&[&sign[..], &["--out", &out, &draft, "--format", format]].concat());
        lost(&["identity", "fingerprint", &out, "--format", format]);
    }
}
