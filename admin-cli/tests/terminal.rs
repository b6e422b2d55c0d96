//! What people see on a terminal: tables as wide as it is, and a pager for what is longer than it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// What a command shows on a terminal of this size, and its exit code.
fn shown(folder: &Path, rows: u16, columns: u16, pager: &str, words: &[&str]) -> (String, i32) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal, size).unwrap();
    let name = ptsname(&terminal, vec![]).unwrap().into_string().unwrap();
    let screen = File::options().read(true).write(true).open(name).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_entente"))
        .args(words)
        .env("XDG_CONFIG_HOME", folder.join("config"))
        .env("PAGER", pager)
        .env_remove("COLUMNS")
        .env_remove("ENTENTE_PROFILE")
        .stdin(Stdio::null())
        .stdout(screen)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut text = Vec::new();
    // The terminal ends with an error once nobody writes to it any more.
    let _ = File::from(terminal).read_to_end(&mut text);
    let code = child.wait().unwrap().code().unwrap();
    (String::from_utf8(text).unwrap().replace("\r\n", "\n"), code)
}

/// A pager that marks what it shows.
const MARKS: &str = "sed 's/^/paged: /'";

#[test]
fn what_is_longer_than_the_terminal_goes_through_the_pager() {
    let folder = tempfile::tempdir().unwrap();
    let template = |rows, pager, more: &[&str]| {
        let words = [&["alert", "template", "missing_protect"], more].concat();
        let (text, code) = shown(folder.path(), rows, 80, pager, &words);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("missing_protect") && text.trim_end().ends_with('}'), "{text}");
        (text.lines().count(), text.lines().filter(|line| line.starts_with("paged: ")).count())
    };
    let (lines, paged) = template(10, MARKS, &[]);
    assert!(lines > 20 && paged == lines, "{lines} {paged}");
    assert_eq!(template(1000, MARKS, &[]), (lines, 0), "it fits");
    assert_eq!(template(10, MARKS, &["--no-pager"]), (lines, 0));
    assert_eq!(template(10, "", &[]), (lines, 0), "an empty PAGER is none");
    assert_eq!(template(10, MARKS, &["--format", "json"]).1, 0, "programs want no pager");
    // A pager that was left ends the command quietly.
    let words = ["alert", "template", "missing_protect"];
    assert_eq!(shown(folder.path(), 10, 80, "head -n 1", &words).1, 0);
}

#[test]
fn a_table_is_as_wide_as_the_terminal_and_splits_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home").display().to_string();
    let init = ["node", "init", "--authority", "dk.politi", "--contact", "desk", "--home", &home];
    assert_eq!(shown(folder.path(), 99, 80, "", &[&init[..], &["--trial"]].concat()).1, 0);
    for name in ["a", "a-longer-name-of-a-profile"] {
        let profile = format!("{home}/profiles/officer.toml");
        let (said, code) = shown(folder.path(), 99, 80, "", &["profile", "add", name, &profile]);
        assert_eq!(code, 0, "{said}");
    }
    let list = |columns, more: &[&str]| {
        let words = [&["profile", "list"], more].concat();
        shown(folder.path(), 99, columns, "", &words).0
    };
    let (narrow, wide) = (list(60, &[]), list(60, &["--wide"]));
    assert!(narrow.lines().all(|line| line.chars().count() <= 60), "{narrow}");
    assert!(wide.lines().any(|line| line.chars().count() > 60), "{wide}");
    assert_eq!(wide.lines().count(), 3, "{wide}");
    assert!(narrow.lines().count() > 3, "{narrow}");
    for word in wide.split_whitespace() {
        assert!(narrow.contains(word), "{word} is split in\n{narrow}");
    }
    let plain = list(60, &["--wide", "--no-headers"]);
    assert_eq!(plain.lines().collect::<Vec<_>>(), wide.lines().skip(1).collect::<Vec<_>>());
}
