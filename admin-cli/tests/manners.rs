//! How every command behaves, without a node: help with examples, exit codes, messages on stderr.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::{Command, Output};

fn entente(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_entente"))
        .args(arguments)
        .env_remove("ENTENTE_PROFILE")
        .env("XDG_CONFIG_HOME", "/nowhere")
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

/// A file that was named by mistake may be the key of a whole store.
#[test]
fn a_profile_that_is_none_is_refused_without_a_word_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.key").display().to_string();
    let sound = ["authority", "endpoint", "certificate", "key", "roots"];
    let sound: Vec<String> =
        sound.iter().map(|name| format!("{name} = \"c4naryc4nary\"")).collect();
    for (text, says) in [
        ("c4naryc4nary".to_owned(), "line 1 is not TOML"),
        ("\n[c4nary".to_owned(), "line 2 is not TOML"),
        ("c4nary = 1".to_owned(), "it lacks authority"),
        ("authority = { c4nary = 1 }".to_owned(), "authority must be a text"),
        (sound.join("\n"), "authority must be a name"),
        (sound.join("\n").replacen("c4naryc4nary", "dk.politi", 1) + "\nc4nary = 1", "more than"),
    ] {
        std::fs::write(&path, text).unwrap();
        for format in ["text", "json"] {
            let output = entente(&["status", "--profile", &path, "--format", format]);
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8(said).unwrap();
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains(says) && !said.contains("c4nary"), "{says:?}: {said}");
        }
    }
}

#[test]
fn certificates_are_made_below_their_folder_and_with_the_key_of_their_ca_only() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (certs, out) = (at("certs"), at("out"));
    check(&["certs", "example", "--out", &certs, "dk.politi", "fr.police-judiciaire"], 0, "", "");
    let (ca, authority) = (at("certs/dk.politi/user-ca"), "dk.politi");
    let user = |name: &str, code, says: &str| {
        let words = ["certs", "user", "--ca", &ca, "--authority", authority, "--out", &out, name];
        check(&words, code, "", says);
    };
    for name in ["../x", "a/b", "", "Jensen"] {
        user(name, 64, "1 to 64 of");
    }
    assert!(!folder.path().join("x.pem").exists());
    user("jensen", 0, "");
    user("jensen", 1, "out/jensen.pem is there already, and is not written over");
    let node = |pem: &str, key: &str, code, says: &str| {
        let (pem, key, out) = (at(pem), at(key), at("next"));
        let pair = ["certs", "node", "--ca-certificate", &pem, "--ca-key", &key];
        check(&[&pair[..], &["--authority", authority, "--out", &out]].concat(), code, "", says);
    };
    let (here, there) = ("certs/dk.politi/user-ca", "certs/fr.police-judiciaire/user-ca");
    node(&format!("{here}.pem"), &format!("{there}.key"), 1, "is not its key");
    let leaf = "certs/dk.politi/node";
    node(&format!("{leaf}.pem"), &format!("{leaf}.key"), 1, "must be a CA");
    assert!(!folder.path().join("next").exists(), "nothing is made");
    std::fs::write(at("passphrase"), "correct horse battery").unwrap();
    let (sealed, passphrase) = (at("sealed.key"), at("passphrase"));
    let words = ["identity", "create", "--authority", authority, "--out", &sealed];
    check(&[&words[..], &["--passphrase-file", &passphrase]].concat(), 0, "", "");
    node(&format!("{here}.pem"), "sealed.key", 1, "under a passphrase");
    node(&format!("{here}.pem"), &format!("{here}.key"), 0, "");
}

/// What is said of a running process below /proc.
fn told(pid: u32, file: &str, line: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    text.lines().find(|found| found.starts_with(line)).unwrap_or_default().to_owned()
}

#[test]
fn a_process_writes_for_its_owner_only_and_leaves_no_dump() {
    use std::os::unix::fs::MetadataExt;
    let mut child = Command::new("sh")
        .args(["-c", "umask 022; ulimit -c 4096; exec \"$0\" policy check -"])
        .arg(env!("CARGO_BIN_EXE_entente"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let pid = child.id();
    for _ in 0..1000 {
        if told(pid, "status", "Umask:") == "Umask:\t0077" {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    std::thread::sleep(std::time::Duration::from_millis(100));
    let (umask, core) = (told(pid, "status", "Umask:"), told(pid, "limits", "Max core file"));
    // What can't be dumped belongs to root below /proc, whoever runs it.
    let owner = std::fs::metadata(format!("/proc/{pid}/maps")).unwrap().uid();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(umask, "Umask:\t0077");
    let limits: Vec<&str> = core.split_whitespace().collect();
    assert_eq!(limits.get(4..6), Some(&["0", "0"][..]), "{core}");
    assert_eq!(owner, 0);
}

#[test]
fn a_failed_init_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::create_dir_all(at("certs/dk.politi")).unwrap();
    for (certs, says) in [("certs", "roots.pem"), ("nowhere", "is not there")] {
        let (home, certs) = (at("dk"), at(certs));
        let words = [
            "node",
            "init",
            "--trial",
            "--authority",
            "dk.politi",
            "--home",
            &home,
            "--certs",
            &certs,
        ];
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
        (vec!["--version"], 0, "entente 0.1.0 (", ""),
        (vec!["--help"], 0, "demo", ""),
        (vec!["nonsense"], 64, "", "unrecognized subcommand"),
        (vec!["alert"], 64, "", "Usage"),
        (vec!["status"], 64, "", "entente: hint: `entente-node init` made some"),
        (vec!["status", "--profile", "/nowhere/x.toml"], 1, "", "entente: error: the profile"),
        (
            vec!["status", "--profile", "/nowhere/x.toml", "--format", "json"],
            1,
            "{\"error\":{\"reason\":",
            "",
        ),
        (vec!["alert", "template", "murder"], 64, "", "[possible values: child_prevent_travel"),
        (vec!["alert", "template", "missing_protect"], 0, "\"category\": \"missing_protect\"", ""),
        (vec!["policy", "check", "/nowhere.toml"], 1, "", "/nowhere.toml"),
        (vec!["completions", "bash"], 0, "_entente", ""),
        (
            vec!["audit", "list", "--operation", "disclos"],
            64,
            "",
            "a similar value exists: 'disclose'",
        ),
        (search("plate:AB12345"), 64, "", "lacks the country that issued it"),
        (search("shoe:44"), 64, "", "types: passport"),
        (search("pasport:DK:1"), 64, "", "did you mean passport?"),
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
fn a_flag_with_fixed_words_lists_them_completes_them_and_suggests_the_nearest() {
    let completions = String::from_utf8(entente(&["completions", "bash"]).stdout).unwrap();
    let with = |flag, word| vec!["search", "--case", "1", flag, word];
    for (words, wrong, right) in [
        (vec!["alert", "template", "missing_protekt"], "missing_protekt", "missing_protect"),
        (vec!["alert", "list", "--category", "object_chek"], "object_chek", "object_check"),
        (vec!["alert", "list", "--state", "withdrawm"], "withdrawm", "withdrawn"),
        (with("--aim", "identfy"), "identfy", "identify"),
        (with("--offence", "labor"), "labor", "labour"),
        (with("--sought", "mising"), "mising", "missing"),
        (vec!["audit", "list", "--operation", "disclos"], "disclos", "disclose"),
        (vec!["user", "add", "x", "--certificate", "x", "--role", "oficer"], "oficer", "officer"),
    ] {
        let tip = format!("a similar value exists: '{right}'");
        check(&words, 64, "", &tip);
        check(&words, 64, "", &format!("invalid value '{wrong}'"));
        let named = words.iter().take_while(|word| !word.starts_with('-') && **word != wrong);
        let mut help: Vec<&str> = named.copied().collect();
        help.retain(|word| *word != "x");
        help.push("--help");
        check(&help, 0, "[possible values: ", "");
        check(&help, 0, right, "");
        assert!(completions.contains(right), "{right} is not completed");
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

#[test]
fn an_old_flag_is_answered_with_its_new_name() {
    for (words, says) in [
        (vec!["alert", "create", "x", "--confirm", "y"], "--confirm is now --override-reason"),
        (vec!["alert", "import", "x", "--confirm=y"], "--confirm is now --override-reason"),
        (vec!["alert", "import", "x", "--again"], "--again is now --recreate"),
        (
            vec!["alert", "update", "x", "y", "--version", "1"],
            "--version is now --expected-version",
        ),
        (vec!["certs", "node", "--root-pem", "x"], "--root-pem is now --ca-certificate"),
    ] {
        check(&words, 64, "", &format!("entente: error: {says}"));
        let json = [&words[..], &["--format", "json"]].concat();
        check(&json, 64, &format!("\"reason\":\"usage\",\"message\":\"{says}\""), "");
    }
    // Elsewhere the same word never was a flag.
    check(&["alert", "list", "--confirm", "y"], 64, "", "unexpected argument '--confirm'");
}

#[test]
fn a_wrong_kind_of_file_is_named_as_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let put = |name: &str, text: &[u8]| std::fs::write(at(name), text).unwrap();
    put("entente.toml", b"authority = \"dk.politi\"\n[exchange]\n");
    put("draft.json", &entente(&["alert", "template", "missing_protect"]).stdout);
    put("notes.txt", b"c4nary");
    let (toml, draft, notes) = (at("entente.toml"), at("draft.json"), at("notes.txt"));
    let config = "entente.toml is the configuration of a node, not a signed descriptor";
    check(&["peer", "import", &toml], 1, "", config);
    check(&["peer", "import", &toml], 1, "", "entente: hint: `entente peer export --out FILE`");
    check(&["peer", "import", &notes], 1, "", "notes.txt is not a signed descriptor");
    let verify = |file, descriptor| ["alert", "verify", file, "--descriptor", descriptor];
    check(&verify(&draft, &toml), 1, "", "is the draft of an alert, not a signed alert");
    check(&["policy", "check", &draft], 1, "", "is the draft of an alert, not a sharing policy");
    let sign = ["identity", "sign", "--key", &notes, "--out", &notes, &draft];
    check(&sign, 1, "", "is the draft of an alert, not the draft of a descriptor");
}

#[test]
fn a_span_without_time_is_refused() {
    let list = |since, until| ["alert", "list", "--since", since, "--until", until];
    check(&list("2026-03-02", "2026-03-01"), 64, "", "--since must be before --until");
    check(&list("1d", "2d"), 64, "", "--since must be before --until");
    check(&list("2026-03-01", "2026-03-01"), 64, "", "name a profile");
}

#[test]
fn a_home_without_its_certificate_says_how_to_make_one() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("dk").display().to_string();
    let init = ["node", "init", "--trial", "--authority", "dk.politi", "--home", &home];
    check(&init, 0, "made the home of dk.politi", "");
    std::fs::remove_file(folder.path().join("dk/tls/node.pem")).unwrap();
    let missing = "dk/tls/node.pem is missing: make the node's certificate";
    check(&["node", "run", "--home", &home], 1, "", missing);
    check(&["node", "check", "--home", &home], 1, missing, "");
}
