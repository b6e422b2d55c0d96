//! Every command against real nodes: its JSON has the one form of docs/json.md, and a result that
//! can't be written is a failure.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod kept;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use entente_node::id::Timestamp;
use kept::{Kept, keep};
use serde_json::{Value, json};

/// What a command writes for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// One object.
    Object,
    /// The envelope of lists.
    List,
    /// An object a line, without an end.
    Lines,
    /// A text that is made for another program.
    Text,
    /// An object, or a refusal: it depends on what befell the node.
    ObjectOrRefusal,
}

/// What walks: it makes anew whatever a command uses up.
struct World {
    kept: Kept,
    made: u32,
}

/// The peer that is suspended, removed and taken back.
const PEER: &str = "de.bka";

impl World {
    fn path(&self, name: &str) -> String {
        self.kept.folder.join(name).display().to_string()
    }

    fn fresh(&mut self, name: &str) -> String {
        self.made += 1;
        self.path(&format!("{name}-{}", self.made))
    }

    fn file(&mut self, name: &str, text: &str) -> String {
        let path = self.fresh(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn command(&self, role: &str, words: &[String], format: &str) -> Command {
        let profile = self.kept.folder.join("dk.politi/profiles").join(format!("{role}.toml"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_entente"));
        command.args(words).args(["--format", format]).current_dir(&self.kept.folder);
        command.env("XDG_CONFIG_HOME", self.path("config")).stderr(Stdio::piped());
        command.stdin(Stdio::null()).env("ENTENTE_PROFILE", profile);
        command
    }

    /// Runs what must succeed.
    fn done(&self, role: &str, words: &[&str]) -> Value {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let output = self.command(role, &words, "json").output().unwrap();
        assert!(output.status.success(), "{words:?}\n{output:?}");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// About one suspect with a passport of its own.
    fn draft(&mut self) -> String {
        self.made += 1;
        let number = format!("FB{:06}", self.made);
        let draft = json!({
            "category": "discreet_check", "exploitation": ["labour"], "handling": ["H0"],
            "legal_basis": "act 1", "case_ref": "case 1",
            "subjects": [{
                "category": "suspect",
                "names": [{ "family": "Karpenko", "given": "Ilina" }],
                "identifiers": [{ "type": "passport", "country": "UA", "number": number }],
            }],
        });
        self.file("draft", &draft.to_string())
    }

    fn alert(&mut self) -> String {
        let draft = self.draft();
        self.done("officer", &["alert", "create", &draft])["id"].as_str().unwrap().to_owned()
    }

    fn token(&mut self) -> String {
        let (id, token) = (self.alert(), self.fresh("token"));
        self.done("officer", &["alert", "show", &id, "--token", &token]);
        token
    }

    fn identity(&mut self) -> String {
        let (out, pass) = (self.fresh("identity"), self.path("pass"));
        fs::write(&pass, "correct horse battery\n").unwrap();
        let create = ["identity", "create", "--authority", "dk.politi", "--out", &out];
        self.done("officer", &[&create[..], &["--passphrase-file", &pass]].concat());
        out
    }

    /// A policy that is in force at once, and one that widens it.
    fn policies(&mut self) -> (String, String) {
        let narrow = self.file("policy", "");
        let rule = "[[rule]]\n\
                    name = \"r\"\n\
                    peers = [\"fr.police-judiciaire\"]\n\
                    level = \"view\"\n\
                    claims = [\"*\"]\n";
        (narrow, self.file("policy", rule))
    }

    fn user(&mut self) -> (String, String) {
        self.made += 1;
        let (name, out) = (format!("user-{}", self.made), self.path("people"));
        let ca = self.path("certs/dk.politi/user-ca");
        let words = ["certs", "user", "--ca", &ca, "--authority", "dk.politi", "--out", &out];
        self.done("officer", &[&words[..], &[&name]].concat());
        (name.clone(), format!("{out}/{name}.pem"))
    }

    fn pending_user(&mut self) -> String {
        let (name, certificate) = self.user();
        let words = ["user", "add", &name, "--role", "officer", "--certificate", &certificate];
        self.done("administrator", &words);
        name
    }

    /// Brings the peer into a state.
    fn peer(&self, wanted: &str) {
        let descriptor = self.path("de.bka/descriptor.jws");
        let shown = self.done("coordinator", &["peer", "show", PEER]);
        let (state, fingerprint) = (&shown["state"], shown["fingerprint"].as_str().unwrap());
        let reason = ["--reason", "walk"];
        let change = |role, what| {
            self.done(role, &[&["peer", what, PEER][..], &reason].concat());
        };
        match (state.as_str().unwrap(), wanted) {
            (state, wanted) if state == wanted => return,
            ("suspended", _) => change("coordinator", "resume"),
            ("active", "suspended") => change("administrator", "suspend"),
            ("active" | "pending", _) if wanted != "active" => change("administrator", "remove"),
            ("removed", _) => {
                self.done("administrator", &["peer", "import", &descriptor]);
            }
            _ => {
                self.done("coordinator", &["peer", "approve", PEER, "--fingerprint", fingerprint]);
            }
        }
        self.peer(wanted);
    }

    fn fingerprint(&self) -> String {
        let shown = self.done("coordinator", &["peer", "show", PEER]);
        shown["fingerprint"].as_str().unwrap().to_owned()
    }

    fn profile(&mut self) -> String {
        self.made += 1;
        let (name, file) =
            (format!("p{}", self.made), self.path("dk.politi/profiles/officer.toml"));
        self.done("officer", &["profile", "add", &name, &file]);
        name
    }

    /// As whom a command is run, with which words behind its own, and what comes back.
    fn call(&mut self, name: &str) -> (&'static str, Vec<String>, Form) {
        let none: [&str; 0] = [];
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let (role, more, form): (_, Vec<String>, _) = match name.split(' ').next().unwrap() {
            "alert" | "search" => return self.call_of_officer(name),
            "notice" => return self.call_about_notice(name),
            "peer" => return self.call_on_peer(name),
            "policy" | "user" => return self.call_of_administrator(name),
            "identity" | "certs" | "profile" => return self.call_without_node(name),
            _ => match name {
                "audit list" => ("auditor", words(&["--limit", "3"]), Form::List),
                "audit verify" => {
                    let descriptor = self.path("dk.politi/descriptor.jws");
                    ("auditor", words(&["--descriptor", &descriptor]), Form::Object)
                }
                "audit checkpoint" => ("auditor", words(&none), Form::Object),
                "epoch recover" | "epoch show" => {
                    ("administrator", words(&none), Form::ObjectOrRefusal)
                }
                "epoch start" => (
                    "administrator",
                    words(&["--reason", "walk", "--review", "0"]),
                    Form::ObjectOrRefusal,
                ),
                "clock show" => ("administrator", words(&none), Form::Object),
                "clock confirm" => {
                    let now = entente_node::id::Clock::system().now().to_string();
                    ("administrator", words(&[&now]), Form::ObjectOrRefusal)
                }
                "demo" => ("officer", words(&none), Form::Object),
                "sample" => ("officer", words(&["--count", "2"]), Form::Lines),
                "completions" => ("officer", words(&["zsh"]), Form::Text),
                "reload" => ("administrator", words(&none), Form::Object),
                "status" | "whoami" => ("officer", words(&none), Form::Object),
                other => panic!("`entente {other}` is not walked: give it a call here"),
            },
        };
        (role, more, form)
    }

    fn call_of_officer(&mut self, name: &str) -> (&'static str, Vec<String>, Form) {
        let words: Vec<String> = match name {
            "alert template" => vec!["missing_protect".to_owned()],
            "alert create" | "alert import" | "alert check" => vec![self.draft()],
            "alert update" => vec![self.alert(), self.draft()],
            "alert withdraw" => vec![self.alert(), "--reason".to_owned(), "found".to_owned()],
            "alert show" => vec![self.alert()],
            "alert list" => vec!["--limit".to_owned(), "3".to_owned()],
            "alert watch" | "alert explain" | "alert schema" => vec![],
            "alert verify" => {
                let descriptor = self.path("dk.politi/descriptor.jws");
                vec![self.token(), "--descriptor".to_owned(), descriptor]
            }
            "search" => {
                self.alert();
                let values = format!("# walk\nidentifier=passport:UA:FB{:06}\n", self.made);
                let values = self.file("values", &values);
                let why = ["--case", "case 2", "--offence", "labour", "--sought", "suspect"];
                let mut words: Vec<String> = why.iter().map(|word| (*word).to_owned()).collect();
                words.extend(["--values".to_owned(), values]);
                words
            }
            other => panic!("`entente {other}` is not walked: give it a call here"),
        };
        let form = match name {
            "alert list" | "alert import" | "alert explain" | "search" => Form::List,
            "alert watch" => Form::Lines,
            "alert schema" => Form::Text,
            _ => Form::Object,
        };
        ("officer", words, form)
    }

    fn call_about_notice(&mut self, name: &str) -> (&'static str, Vec<String>, Form) {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let text = "Please call us.";
        match name {
            "notice list" => ("coordinator", words(&["--limit", "3"]), Form::List),
            "notice send" => {
                self.peer("active");
                ("officer", words(&[PEER, text]), Form::Object)
            }
            "notice show" => {
                self.peer("active");
                let sent = self.done("officer", &["notice", "send", PEER, text]);
                ("coordinator", words(&[sent["id"].as_str().unwrap()]), Form::Object)
            }
            // The demo's notice goes from here: its receiver acknowledged it.
            "notice acknowledge" => {
                let sent = self.done("officer", &["notice", "list", "--direction", "sent"]);
                let id = sent["items"][0]["id"].as_str().unwrap().to_owned();
                ("officer", words(&[&id, "night desk"]), Form::ObjectOrRefusal)
            }
            other => panic!("`entente {other}` is not walked: give it a call here"),
        }
    }

    fn call_on_peer(&mut self, name: &str) -> (&'static str, Vec<String>, Form) {
        let peer = || PEER.to_owned();
        let because = || vec![PEER.to_owned(), "--reason".to_owned(), "walk".to_owned()];
        match name {
            "peer export" => ("administrator", vec![], Form::Object),
            "peer list" => ("coordinator", vec![], Form::List),
            "peer import" => {
                self.peer("removed");
                ("administrator", vec![self.path("de.bka/descriptor.jws")], Form::Object)
            }
            "peer approve" => {
                self.peer("pending");
                let words = vec![peer(), "--fingerprint".to_owned(), self.fingerprint()];
                ("coordinator", words, Form::Object)
            }
            "peer suspend" | "peer remove" => {
                self.peer("active");
                ("administrator", because(), Form::Object)
            }
            "peer resume" => {
                self.peer("suspended");
                ("coordinator", because(), Form::Object)
            }
            "peer show" => ("coordinator", vec![peer()], Form::Object),
            "peer test" => {
                self.peer("active");
                ("administrator", vec!["fr.police-judiciaire".to_owned()], Form::Object)
            }
            "peer parked" => ("coordinator", vec![peer()], Form::List),
            "peer retry" => {
                self.peer("active");
                ("administrator", vec![peer()], Form::Object)
            }
            other => panic!("`entente {other}` is not walked: give it a call here"),
        }
    }

    fn call_of_administrator(&mut self, name: &str) -> (&'static str, Vec<String>, Form) {
        match name {
            "policy check" => ("officer", vec![self.policies().1], Form::Object),
            "policy show" => ("auditor", vec![], Form::Object),
            "policy apply" => {
                let (narrow, wide) = self.policies();
                self.done("administrator", &["policy", "apply", &narrow]);
                ("administrator", vec![wide], Form::Object)
            }
            "policy approve" => {
                let (narrow, wide) = self.policies();
                self.done("administrator", &["policy", "apply", &narrow]);
                let waits = self.done("administrator", &["policy", "apply", &wide]);
                ("coordinator", vec![waits["proposal"].to_string()], Form::Object)
            }
            "policy explain" => {
                let words = vec![self.alert(), "fr.police-judiciaire".to_owned()];
                ("administrator", words, Form::Object)
            }
            "user list" => ("auditor", vec![], Form::List),
            "user add" => {
                let (name, certificate) = self.user();
                let words = [&name, "--role", "officer", "--certificate", &certificate];
                ("administrator", words.map(str::to_owned).to_vec(), Form::Object)
            }
            "user approve" => ("coordinator", vec![self.pending_user()], Form::Object),
            "user remove" => ("administrator", vec![self.pending_user()], Form::Object),
            other => panic!("`entente {other}` is not walked: give it a call here"),
        }
    }

    fn call_without_node(&mut self, name: &str) -> (&'static str, Vec<String>, Form) {
        let (pass, out) = (self.path("pass"), self.fresh("out"));
        fs::write(&pass, "correct horse battery\n").unwrap();
        let person = self.fresh("person").rsplit('/').next().unwrap().to_owned();
        let words: Vec<String> = match name {
            "identity create" => {
                ["--authority", "dk.politi", "--out", &out, "--passphrase-file", &pass]
                    .map(str::to_owned)
                    .to_vec()
            }
            "identity fingerprint" => vec![self.path("dk.politi/descriptor.jws")],
            "identity sign" => {
                let (key, draft) = (self.identity(), self.path("dk.politi/descriptor.draft.json"));
                ["--key", &key, "--passphrase-file", &pass, "--out", &out, &draft]
                    .map(str::to_owned)
                    .to_vec()
            }
            "certs example" => ["--out", &out, "dk.politi"].map(str::to_owned).to_vec(),
            "certs request" => {
                ["--authority", "dk.politi", "--out", &out, &person].map(str::to_owned).to_vec()
            }
            "certs user" => {
                let ca = self.path("certs/dk.politi/user-ca");
                ["--ca", &ca, "--authority", "dk.politi", "--out", &out, &person]
                    .map(str::to_owned)
                    .to_vec()
            }
            "certs node" => {
                let home = self.fresh("home");
                let init = ["node", "init", "--authority", "dk.politi", "--contact", "desk"];
                let words = [&init[..], &["--home", &home]].concat();
                let made = Command::new(env!("CARGO_BIN_EXE_entente")).args(&words).output();
                assert!(made.unwrap().status.success());
                let (pem, key) = (format!("{home}/tls/roots.pem"), format!("{home}/tls/ca.key"));
                [
                    "--ca-certificate",
                    &pem,
                    "--ca-key",
                    &key,
                    "--authority",
                    "dk.politi",
                    "--out",
                    &out,
                ]
                .map(str::to_owned)
                .to_vec()
            }
            "profile add" => vec![person, self.path("dk.politi/profiles/officer.toml")],
            "profile list" => {
                self.profile();
                vec![]
            }
            "profile use" | "profile show" => vec![self.profile()],
            other => panic!("`entente {other}` is not walked: give it a call here"),
        };
        let form = if name == "profile list" { Form::List } else { Form::Object };
        ("officer", words, form)
    }
}

/// The words of every command, from the help.
fn leaves(words: &[String], found: &mut Vec<String>) {
    let output = Command::new(env!("CARGO_BIN_EXE_entente")).args(words).arg("--help").output();
    let help = String::from_utf8(output.unwrap().stdout).unwrap();
    let Some((_, listed)) = help.split_once("Commands:\n") else {
        return found.push(words.join(" "));
    };
    let listed = listed.split("\n\n").next().unwrap_or_default();
    for name in listed.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()) {
        if !name.is_empty() && name != "help" {
            leaves(&[words, &[name.to_owned()]].concat(), found);
        }
    }
}

/// Later than any number that is not a time in seconds.
const A_TIME_S: u64 = 1_500_000_000;

/// Numbers that are no times: an epoch's is one of the clock, and is not read as a time.
const NUMBERS: [&str; 4] = ["epoch_out", "epoch_in", "epoch", "serial"];

/// Every time is RFC 3339 and its name ends in `_at`; nothing is called `at`.
fn check_names(name: &str, value: &Value) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                assert!(field != "at", "`entente {name}` has a field `at`");
                match value {
                    Value::Null => {}
                    Value::String(time) if field.ends_with("_at") => {
                        let read = time.parse::<Timestamp>();
                        assert!(read.is_ok(), "`entente {name}`: {field} is {time:?}");
                    }
                    value if field.ends_with("_at") => panic!("`entente {name}`: {field}: {value}"),
                    Value::Number(number) if !NUMBERS.contains(&field.as_str()) => {
                        let number = number.as_u64().unwrap_or_default();
                        assert!(number < A_TIME_S, "`entente {name}`: {field} is {number}");
                    }
                    value => check_names(name, value),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| check_names(name, item)),
        _ => {}
    }
}

fn check_form(name: &str, form: Form, output: &Output) {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let refused = form == Form::ObjectOrRefusal && !output.status.success();
    assert!(output.status.success() || refused, "`entente {name}`\n{text}\n{said}");
    let parse = |text: &str| -> Value {
        serde_json::from_str(text)
            .unwrap_or_else(|error| panic!("`entente {name}`: {error}\n{text}"))
    };
    match form {
        Form::Text => {}
        Form::Lines => text.lines().for_each(|line| check_names(name, &parse(line))),
        _ if refused => {
            let error = parse(&text)["error"].clone();
            assert!(error["reason"].is_string() && error["message"].is_string(), "{name}: {text}");
            assert!(error.get("hint").is_some(), "{name}: {text}");
        }
        Form::Object | Form::ObjectOrRefusal => {
            let value = parse(&text);
            assert!(value.is_object() && value.get("items").is_none(), "`entente {name}`\n{text}");
            check_names(name, &value);
        }
        Form::List => {
            let value = parse(&text);
            let items = value["items"].as_array();
            let items = items.unwrap_or_else(|| panic!("`entente {name}` has no items\n{text}"));
            assert!(value.get("next").is_some(), "`entente {name}` has no next\n{text}");
            assert!(items.iter().all(Value::is_object), "`entente {name}`\n{text}");
            // An entry of the log is its leaf, byte for byte.
            if name != "audit list" {
                check_names(name, &value);
            }
        }
    }
}

fn words_of(name: &str, more: Vec<String>) -> Vec<String> {
    name.split(' ').map(str::to_owned).chain(more).collect()
}

/// The first line of a command that does not end by itself.
fn first_line(world: &World, role: &str, words: &[String]) -> Output {
    let mut child = world.command(role, words, "json").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let status = Command::new("true").status().unwrap();
    Output { status, stdout: line.into_bytes(), stderr: vec![] }
}

#[test]
fn every_command_has_one_form_of_json_and_says_when_a_result_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World { kept: keep(folder.path()), made: 0 };
    let mut found = Vec::new();
    leaves(&[], &mut found);
    assert!(found.len() > 45, "{found:?}");
    one_form(&mut world, &found);
    refusals(&world);
    lost_results(&mut world, &found);
}

fn one_form(world: &mut World, found: &[String]) {
    for name in found {
        let (role, more, form) = world.call(name);
        let words = words_of(name, more);
        let output = match name.as_str() {
            "alert watch" => first_line(world, role, &words),
            _ => world.command(role, &words, "json").output().unwrap(),
        };
        check_form(name, form, &output);
    }
}

/// What is refused, by the program or by the node, has one form, too.
fn refusals(world: &World) {
    for (words, code, reason) in [
        (vec!["alert", "show", "dk.politi:2026-000000000"], 1, "id_malformed"),
        (vec!["peer", "show", "it.polizia"], 1, ""),
        (vec!["alert", "list", "--category", "murder"], 64, "usage"),
        (vec!["search"], 64, "usage"),
        (vec!["nonsense"], 64, "usage"),
        (vec!["policy", "check", "nowhere.toml"], 1, "failed"),
        (vec!["alert", "verify", "nowhere.jwt", "--descriptor", "nowhere.jws"], 1, "failed"),
        (vec!["whoami", "--profile", "nowhere/x.toml"], 1, ""),
    ] {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let output = world.command("officer", &words, "json").output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?}\n{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let value: Value =
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("{words:?}: {text}"));
        let error = &value["error"];
        assert!(error["reason"].as_str().unwrap().contains(reason), "{words:?}: {text}");
        assert!(!error["message"].as_str().unwrap().is_empty(), "{words:?}: {text}");
        assert!(error.get("hint").is_some(), "{words:?}: {text}");
        assert_eq!(value.as_object().unwrap().len(), 1, "{words:?}: {text}");
    }
}

/// On a full disk no command says that all is well.
fn lost_results(world: &mut World, found: &[String]) {
    for (name, format) in found.iter().flat_map(|name| [(name, "text"), (name, "json")]) {
        // As text it says on stderr that it watches, and on stdout what changes.
        if (name.as_str(), format) == ("alert watch", "text") {
            continue;
        }
        let (role, more, form) = world.call(name);
        let words = words_of(name, more);
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = world.command(role, &words, format).stdout(full).spawn();
        let output = output.unwrap().wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "`entente {name}` as {format}\n{said}");
        if form != Form::ObjectOrRefusal {
            let why = "standard output can't be written: No space left";
            assert!(said.contains(why), "`entente {name}` as {format}\n{said}");
        }
    }
}
