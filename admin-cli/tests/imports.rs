//! Imports and searches through the command line, at a node of their own: every usual form of a
//! file, and what a cut leaves.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// A node that ends with the test.
struct Node {
    folder: PathBuf,
    child: Child,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn entente(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_entente"));
    command.args(words).current_dir(folder).env("ENTENTE_PROFILE", "dk/profiles/officer.toml");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(folder: &Path) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let mut node = entente(folder, &["node", "run", "--home", "dk"]);
    let mut child = node.stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let answers = || {
        std::thread::sleep(Duration::from_millis(100));
        entente(folder, &["whoami"]).output().unwrap().status.success()
    };
    if !(0..600).any(|_| answers()) {
        let _ = child.kill().and_then(|()| child.wait());
        panic!("{}", fs::read_to_string(folder.join("log")).unwrap());
    }
    child
}

impl Node {
    fn start(folder: &Path) -> Self {
        let ports = [0; 3].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let at = ports.each_ref().map(|port| port.local_addr().unwrap().to_string());
        drop(ports);
        let [exchange, desk, telemetry] = at.each_ref().map(String::as_str);
        let init = ["node", "init", "--trial", "--authority", "dk.politi", "--home", "dk"];
        let doors = ["--exchange-listen", exchange, "--desk-listen", desk];
        let more = ["--telemetry-listen", telemetry, "--contact", "desk"];
        fs::write(folder.join("pass"), "correct horse battery\n").unwrap();
        let create = ["identity", "create", "--authority", "dk.politi", "--out", "dk.identity"];
        let pass = ["--passphrase-file", "pass"];
        let sign = ["identity", "sign", "--key", "dk.identity", "--out", "dk/descriptor.jws"];
        for words in [
            [&init[..], &doors, &more].concat(),
            [&create[..], &pass].concat(),
            [&sign[..], &pass, &["dk/descriptor.draft.json"]].concat(),
        ] {
            let output = entente(folder, &words).output().unwrap();
            assert!(output.status.success(), "{words:?}\n{output:?}");
        }
        Self { folder: folder.to_owned(), child: run(folder) }
    }

    fn import(&self, bytes: &[u8], format: &str) -> Output {
        fs::write(self.folder.join("drafts"), bytes).unwrap();
        let words = ["alert", "import", "drafts", "--format", format];
        entente(&self.folder, &words).output().unwrap()
    }

    /// The items and the facts of an import that all went well.
    fn imported(&self, bytes: &[u8]) -> (Vec<Value>, Value) {
        let output = self.import(bytes, "json");
        assert!(output.status.success(), "{output:?}");
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        (said["items"].as_array().unwrap().clone(), said)
    }
}

fn draft(number: u32, family: &str) -> String {
    json!({
        "category": "discreet_check", "exploitation": ["labour"], "handling": ["H0"],
        "legal_basis": "act 1", "case_ref": format!("case {number}"),
        "subjects": [{
            "category": "suspect",
            "names": [{ "family": family, "given": "Ilina" }],
            "identifiers": [
                { "type": "passport", "country": "UA", "number": format!("FB{number:06}") }
            ],
        }],
    })
    .to_string()
}

#[test]
fn an_import_takes_every_usual_form_and_names_line_and_id_of_each_alert() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    let (one, two, three) = (draft(1, "Şahin"), draft(2, "Müller"), draft(3, "Karpenko"));
    let lines = format!("\u{FEFF}{one}\r\n\r\n{two}\r{three}");
    let (items, said) = node.imported(lines.as_bytes());
    let places: Vec<_> = items.iter().map(|item| (&item["draft"], &item["line"])).collect();
    assert_eq!(places, [(&json!(1), &json!(1)), (&json!(2), &json!(3)), (&json!(3), &json!(4))]);
    assert!(items.iter().all(|item| item["outcome"] == "created"), "{said}");
    assert_eq!((&said["created"], &said["refused"]), (&json!(3), &json!(0)), "{said}");
    let array = format!("[{one}, {two},\n{three}]");
    let (again, said) = node.imported(array.as_bytes());
    let ids = |items: &[Value]| items.iter().map(|item| item["id"].clone()).collect::<Vec<_>>();
    assert_eq!((ids(&again), &said["existing"]), (ids(&items), &json!(3)), "{said}");
    assert_eq!(again[2]["line"], json!(2));

    // One line is in the code page of Turkey: it alone is refused, by its place.
    let (before, after) = (draft(4, "Karpenko"), draft(5, "Karpenko"));
    let bytes = [before.as_bytes(), b"\n{\"family\": \"\xDEahin\"}\n", after.as_bytes()].concat();
    let output = node.import(&bytes, "json");
    assert_eq!(output.status.code(), Some(1));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&said["created"], &said["refused"]), (&json!(2), &json!(1)), "{said}");
    let refused = said["items"].as_array().unwrap().iter().find(|item| item["line"] == 2).unwrap();
    assert_eq!(refused["reason"], "not_utf8");
    assert!(refused["message"].as_str().unwrap().contains("line 2, byte 13"), "{refused}");
    assert!(said["error"]["hint"].as_str().unwrap().contains("nothing is created twice"), "{said}");
    let text = node.import(&bytes, "text");
    let told = String::from_utf8(text.stderr).unwrap();
    assert!(told.contains("line 2, byte 13 is not UTF-8"), "{told}");
    let utf16: Vec<u8> = before.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for bytes in [[b"\xFF\xFE", utf16.as_slice()].concat(), utf16] {
        let told = String::from_utf8(node.import(&bytes, "text").stderr).unwrap();
        assert!(told.contains("this is UTF-16, not UTF-8") && told.contains("iconv"), "{told}");
    }

    // The values of a search are read from stdin.
    let search = ["search", "--case", "case 9", "--offence", "labour", "--sought", "suspect"];
    let words = [&search[..], &["--values", "-", "--format", "json"]].concat();
    for values in
        ["identifier = passport:UA:FB000002\n", r#"{"identifiers": ["passport:UA:FB000002"]}"#]
    {
        let mut child = entente(folder.path(), &words).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(values.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(found["items"][0]["id"], items[1]["id"], "{found}");
    }
    for bad in [b"family=\xDEahin\ngiven=x\n".as_slice(), b"identifier=\nfamly=x\n"] {
        let mut child = entente(folder.path(), &words).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(bad).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(!output.status.success() && !output.stderr.is_empty(), "{output:?}");
    }
}

#[test]
fn an_import_and_a_watch_that_are_cut_off_say_so_and_that_repeating_is_safe() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(folder.path());
    let drafts: Vec<String> = (0..200).map(|number| draft(number, "Karpenko") + "\n").collect();
    for format in ["text", "json"] {
        let words = ["alert", "import", "-", "--format", format];
        let mut import = entente(folder.path(), &words).stdin(Stdio::piped()).spawn().unwrap();
        // It stays open: whoever writes the drafts may never hear of the cut.
        let mut input = import.stdin.take().unwrap();
        input.write_all(drafts[..150].concat().as_bytes()).unwrap();
        let watch = entente(folder.path(), &["alert", "watch"]).spawn().unwrap();
        std::thread::sleep(Duration::from_secs(2));
        node.child.kill().unwrap();
        node.child.wait().unwrap();
        let watched = watch.wait_with_output().unwrap();
        assert_eq!(watched.status.code(), Some(75), "{watched:?}");
        let output = import.wait_with_output().unwrap();
        drop(input);
        assert_eq!(output.status.code(), Some(75), "{output:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("the import was cut off after "), "{told}");
        assert!(told.contains("import the same file again: nothing is created twice"), "{told}");
        if format == "json" {
            let said: Value = serde_json::from_slice(&output.stdout).unwrap();
            let known = said["created"].as_u64().unwrap() + said["existing"].as_u64().unwrap();
            assert_eq!(known as usize, said["items"].as_array().unwrap().len(), "{said}");
            assert!(known > 0 && said["error"]["message"].is_string(), "{said}");
        }
        node.child = run(folder.path());
    }
    let (items, said) = node.imported(drafts.concat().as_bytes());
    assert_eq!(items.len(), 200);
    assert!(said["existing"].as_u64().unwrap() > 0, "{said}");
    let listed = entente(folder.path(), &["alert", "list", "--limit", "0", "--format", "json"]);
    let listed: Value = serde_json::from_slice(&{ listed }.output().unwrap().stdout).unwrap();
    assert_eq!(listed["items"].as_array().unwrap().len(), 200, "nothing twice, nothing lost");
}

/// Ctrl-C and `kill`: what was made until then is told, and the same file goes on from there.
#[test]
fn an_import_that_is_interrupted_says_what_was_imported_and_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    let drafts: Vec<String> = (0..60).map(|number| draft(number, "Karpenko") + "\n").collect();
    for (signal, known) in [("INT", 40), ("TERM", 50)] {
        let words = ["alert", "import", "-", "--format", "json"];
        let mut import = entente(folder.path(), &words).stdin(Stdio::piped()).spawn().unwrap();
        // The input stays open: more drafts could come.
        let mut input = import.stdin.take().unwrap();
        input.write_all(drafts[..known].concat().as_bytes()).unwrap();
        let made = || {
            let words = ["alert", "list", "--limit", "0", "--format", "json"];
            let listed = entente(folder.path(), &words).output().unwrap();
            let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
            listed["items"].as_array().unwrap().len()
        };
        while made() < known {
            std::thread::sleep(Duration::from_millis(20));
        }
        // A list shows what is durable a moment before the answers have arrived.
        std::thread::sleep(Duration::from_secs(1));
        let pid = import.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        let output = import.wait_with_output().unwrap();
        drop(input);
        assert!(!output.status.success(), "{output:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("interrupted"), "{told}");
        assert!(told.contains("import the same file again: nothing is created twice"), "{told}");
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let counted = said["created"].as_u64().unwrap() + said["existing"].as_u64().unwrap();
        assert_eq!(counted as usize, said["items"].as_array().unwrap().len(), "{said}");
        assert!(counted > 0 && counted <= known as u64, "{said}");
    }
    let (items, said) = node.imported(drafts.concat().as_bytes());
    assert_eq!((items.len(), &said["existing"], &said["created"]), (60, &json!(50), &json!(10)));
}

/// A node ends each stream after a while, to look at certificates anew: nobody notices.
#[test]
fn an_import_and_a_watch_go_on_when_the_node_ends_an_old_stream() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(folder.path());
    node.child.kill().unwrap();
    node.child.wait().unwrap();
    let config = folder.path().join("dk/entente.toml");
    let text = fs::read_to_string(&config).unwrap();
    let shorter = text.replace("connection_age_s = 3600", "connection_age_s = 10");
    assert_ne!(shorter, text);
    fs::write(config, shorter.replace("# connection_age_s = 10", "connection_age_s = 10")).unwrap();
    node.child = run(folder.path());

    let drafts: Vec<String> = (0..140).map(|number| draft(number, "Karpenko") + "\n").collect();
    let watch = ["alert", "watch", "--format", "json"];
    let mut watch = entente(folder.path(), &watch).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map_while(Result::ok);
    // Without a place it tells what changes after this word.
    assert!(lines.next().unwrap().contains("ready"));
    let import = ["alert", "import", "-", "--format", "json"];
    let mut import = entente(folder.path(), &import).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = import.stdin.take().unwrap();
    input.write_all(drafts[..70].concat().as_bytes()).unwrap();
    std::thread::sleep(Duration::from_secs(13));
    input.write_all(drafts[70..].concat().as_bytes()).unwrap();
    drop(input);
    let output = import.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let made = said["created"].as_u64().unwrap() + said["existing"].as_u64().unwrap();
    assert_eq!((made, &said["refused"]), (140, &json!(0)), "{said}");

    // Once more after the last, so that one too many would be seen, too.
    fs::write(folder.path().join("last"), draft(999, "Last")).unwrap();
    let last = entente(folder.path(), &["alert", "create", "last"]).output().unwrap();
    assert!(last.status.success(), "{last:?}");
    let pid = watch.id().to_string();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(90));
        let _ = Command::new("kill").arg(pid).status();
    });
    // Were one lost, then the watch would be ended instead of waiting for ever.
    let seen: Vec<Value> = lines
        .map(|line| serde_json::from_str::<Value>(&line).unwrap())
        .filter(|change| change["kind"] == "created")
        .take(141)
        .collect();
    watch.kill().unwrap();
    let output = watch.wait_with_output().unwrap();
    assert!(output.stderr.is_empty(), "{:?}", String::from_utf8_lossy(&output.stderr));
    let ids: BTreeSet<&str> = seen.iter().map(|change| change["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 141, "each once");
    let last = String::from_utf8(last.stdout).unwrap();
    assert!(last.contains(seen[140]["id"].as_str().unwrap()), "{last}");
}
