//! README.md's way to two nodes of one's own, word for word, on other ports.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

const README: &str = include_str!("../../README.md");

/// What a newcomer must read on the way.
const SEEN: [&str; 13] = [
    "the policy is valid",
    "wrote fr.descriptor",
    "waits for a coordinator",
    "# proposal",
    "active",
    "version 1 is in force",
    "TLS 1.3, X25519MLKEM768",
    "50 created, 0 there already, 0 refused",
    "0 created, 50 there already, 0 refused",
    "protect_and_consult",
    "disclose.offered",
    "none changed, none missing",
    "made ./jensen.csr and ./jensen.key",
];

/// The blocks that say `sh run`, one after the other.
fn script() -> String {
    let blocks = README.split("```sh run\n").skip(1);
    blocks.filter_map(|rest| rest.split("```").next()).collect()
}

/// The programs on a path of their own; the daemon is the same code.
fn programs(folder: &Path) {
    let entente = env!("CARGO_BIN_EXE_entente");
    for (name, line) in [("entente", "\"$@\""), ("entente-node", "node \"$@\"")] {
        let path = folder.join(name);
        fs::write(&path, format!("#!/bin/sh\nexec {entente} {line}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Walks in a folder of its own, until a command fails; what was said on the way, and whether all
/// went well.
fn walk(mut script: String) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let programs_folder = folder.path().join("bin");
    fs::create_dir(&programs_folder).unwrap();
    programs(&programs_folder);
    for port in ["9440", "9441", "9442", "9450", "9451", "9452"] {
        assert!(script.contains(port));
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        script = script.replace(port, &free.to_string());
    }
    let script = script.replace(" &\n", " &\necho $! >> pids\n");
    let said = folder.path().join("said");
    let path = format!("{}:{}", programs_folder.display(), std::env::var("PATH").unwrap());
    let status = Command::new("timeout")
        .args(["120", "sh", "-euc", &script])
        .current_dir(folder.path())
        .env("PATH", path)
        .env("XDG_CONFIG_HOME", folder.path().join("config"))
        .stdin(Stdio::null())
        .stdout(fs::File::create(&said).unwrap())
        .stderr(fs::File::options().append(true).open(&said).unwrap())
        .status()
        .unwrap();
    let pids = fs::read_to_string(folder.path().join("pids")).unwrap_or_default();
    Command::new("kill").args(pids.split_whitespace()).status().unwrap();
    (status.success(), fs::read_to_string(said).unwrap())
}

#[test]
fn the_way_to_two_nodes_is_as_the_readme_has_it() {
    let script = script();
    assert!(script.lines().count() > 30, "the blocks were found");
    let (well, said) = walk(script);
    assert!(well, "{said}");
    for seen in SEEN {
        assert!(said.contains(seen), "{seen:?} is not in\n{said}");
    }
}

#[test]
fn a_descriptor_that_was_changed_on_its_way_is_not_approved() {
    let import = "entente peer import fr.descriptor ";
    let forge = "entente identity create --authority fr.police-judiciaire --out forged.identity \
                 --passphrase-file passphrase\n\
                 rm fr.descriptor\n\
                 entente identity sign --key forged.identity --passphrase-file passphrase --out \
                 fr.descriptor fr/descriptor.draft.json\n";
    let script = script();
    assert_eq!(script.matches(import).count(), 1);
    let (well, said) = walk(script.replace(import, &format!("{forge}{import}")));
    assert!(
        !well && said.contains("the fingerprint is not that of the imported descriptor"),
        "{said}"
    );
    assert!(!said.contains("approved by"), "{said}");
}

/// A fingerprint that is taken from the file being approved proves nothing, and what nobody saw
/// must not be approved.
#[test]
fn the_walk_approves_what_was_heard_and_seen() {
    let script = script();
    let place =
        |text: &str| script.find(text).unwrap_or_else(|| panic!("{text:?} is not in the walk"));
    for (imported, own, heard, peer) in [
        ("fr.descriptor", "fr/descriptor.jws", "$heard_from_france", "fr.police-judiciaire"),
        ("dk.descriptor", "dk/descriptor.jws", "$heard_from_denmark", "dk.politi"),
    ] {
        let exported = place(&format!("entente peer export --out {imported} "));
        let import = place(&format!("entente peer import {imported} "));
        let read_out = place(&format!("entente identity fingerprint {own}"));
        let approved = place(&format!("entente peer approve {peer} --fingerprint \"{heard}\" "));
        assert!(exported < import && import < read_out && read_out < approved);
        assert!(!script.contains(&format!("entente identity fingerprint {imported}")));
        assert!(!script.contains(&format!("entente peer import {own}")));
    }
    assert!(place("entente policy show --proposal ") < place("entente policy approve "));
}
