//! What a fault of the program says on standard error: its place, and nothing of what it was about.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::process::Command;

/// Set in the process that is to break off.
const BREAK_OFF: &str = "ENTENTE_TEST_BREAK_OFF";

#[test]
fn a_fault_says_where_it_was_and_not_what_it_was_about() {
    if std::env::var_os(BREAK_OFF).is_some() {
        entente_node::command::confine().unwrap();
        let broken = std::thread::spawn(|| panic!("Canary Street 1")).join();
        assert!(broken.is_err());
        return;
    }
    let this = "a_fault_says_where_it_was_and_not_what_it_was_about";
    let mut program = Command::new(std::env::current_exe().unwrap());
    let ended =
        program.args(["--exact", this, "--nocapture"]).env(BREAK_OFF, "1").output().unwrap();
    let said = String::from_utf8([ended.stdout, ended.stderr].concat()).unwrap();
    assert!(ended.status.success(), "{said}");
    assert!(said.contains("tests/faults.rs:"), "{said}");
    assert!(!said.contains("Canary"), "{said}");
}
