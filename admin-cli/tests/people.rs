//! A node that is not for trying out: two people begin, each with a folder of their own; the others
//! bring a request, and their keys never leave their machines. Profiles have names.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A machine: a folder with a configuration of its own, and a node that ends with it.
struct Machine {
    folder: tempfile::TempDir,
    node: Option<Child>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(node) = &mut self.node {
            let _ = node.kill();
            let _ = node.wait();
        }
    }
}

impl Machine {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), node: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_entente"));
        command.args(words).current_dir(self.folder.path()).env_remove("ENTENTE_PROFILE");
        command.env("XDG_CONFIG_HOME", self.path("config")).stdin(Stdio::null());
        command
    }

    /// Runs a command line, without quoting, and returns all that it says.
    fn run(&self, code: i32, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        let output = self.command(&words).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}\n{said}");
        said
    }

    /// Makes a home in `dk`, and starts its node.
    fn node(&mut self, more: &str) {
        let ports = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [exchange, desk, telemetry] = ports.each_ref().map(|port| port.local_addr().unwrap());
        let addresses = format!(
            "--exchange-listen {exchange} --desk-listen {desk} --telemetry-listen {telemetry}"
        );
        self.run(0, &format!("node init --authority dk.politi --home dk {addresses} {more}"));
        drop(ports);
        fs::write(self.path("passphrase"), "correct horse battery").unwrap();
        let secret = "--passphrase-file passphrase";
        self.run(0, &format!("identity create --authority dk.politi --out dk.identity {secret}"));
        let sign =
            "identity sign --key dk.identity --out dk/descriptor.jws dk/descriptor.draft.json";
        self.run(0, &format!("{sign} {secret}"));
        let log = fs::File::create(self.path("log")).unwrap();
        let mut node = self.command(&["node", "run", "--home", "dk"]);
        self.node = Some(node.stderr(log).spawn().unwrap());
    }

    /// Waits until the node answers this profile.
    fn answered(&self, profile: &str) -> String {
        for _ in 0..500 {
            let words = ["whoami", "--profile", profile];
            let output = self.command(&words).output().unwrap();
            if output.status.success() {
                return String::from_utf8(output.stdout).unwrap();
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("{}", fs::read_to_string(self.path("log")).unwrap_or_default());
    }

    /// Files below a folder of it whose name ends so.
    fn files(&self, below: &str, ending: &str) -> Vec<String> {
        let found = Command::new("find")
            .args([below, "-name", &format!("*{ending}")])
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        let found = String::from_utf8(found.stdout).unwrap();
        let mut found: Vec<String> = found.lines().map(str::to_owned).collect();
        found.sort();
        found
    }

    /// Gives a folder away.
    fn give(&self, folder: &str, to: &Self) {
        let given = to.path(Path::new(folder).file_name().unwrap().to_str().unwrap());
        assert!(Command::new("mv").arg(self.path(folder)).arg(given).status().unwrap().success());
    }
}

/// What is refused is said with the flag that helps, and without a word that is not true.
fn refusals_say_what_to_do(officer: &Machine, coordinator: &Machine) {
    let refused = coordinator.run(1, "alert list --no-headers");
    assert!(refused.starts_with("entente: error: this takes the role officer"), "{refused}");
    let refused = coordinator.run(1, "audit list");
    assert!(refused.starts_with("entente: error: this takes the role auditor"), "{refused}");
    let refused = officer.run(1, "alert watch --from 4711-0123456789abcdef");
    assert!(refused.contains("list the alerts anew") && !refused.contains("go on"), "{refused}");
    let draft = r#"{"category":"missing_protect","exploitation":["labour"],"handling":["H0"],
        "legal_basis":"act 1","case_ref":"7","subjects":[{"category":"missing",
        "consent":"protection",
        "identifiers":[{"type":"passport","country":"DK","number":"P1234567"}]}]}"#;
    fs::write(officer.path("draft.json"), draft).unwrap();
    let made = officer.run(0, "alert create draft.json");
    let id = made.split_whitespace().nth(1).unwrap();
    assert!(officer.run(1, "alert create draft.json").contains("repeat with --override-reason"));
    let withdraw = officer.run(1, &format!("alert withdraw {id} --reason \t"));
    assert!(withdraw.contains("a reason with --reason is mandatory"), "{withdraw}");
}

#[test]
fn two_people_begin_and_the_others_keep_their_keys() {
    let (mut server, coordinator, officer) = (Machine::new(), Machine::new(), Machine::new());
    server.node("--contact day-and-night@politi.example");
    let keys = server.files("dk", ".key");
    let expected = [
        "dk/hand-over/administrator/administrator.key",
        "dk/hand-over/coordinator/coordinator.key",
        "dk/keys/log.key",
        "dk/keys/node.key",
        "dk/keys/statement.key",
        "dk/tls/ca.key",
        "dk/tls/node.key",
        "dk/users/ca.key",
    ];
    assert_eq!(keys, expected);
    server.answered("dk/hand-over/administrator/profile.toml");
    let checked = server.run(0, "node check --home dk");
    assert!(checked.contains("warning people") && checked.contains("coordinator.key"), "{checked}");

    server.run(0, "profile add administrator dk/hand-over/administrator/profile.toml");
    fs::remove_dir_all(server.path("dk/hand-over/administrator")).unwrap();
    server.give("dk/hand-over/coordinator", &coordinator);
    coordinator.run(0, "profile add coordinator coordinator/profile.toml");
    fs::remove_dir_all(coordinator.path("coordinator")).unwrap();
    assert!(server.answered("administrator").contains("administrator"));
    assert!(!server.run(0, "node check --home dk").contains("warning people"));
    let users = server.run(0, "user list");
    assert!(!users.contains("officer") && !users.contains("auditor"), "{users}");

    officer.run(0, "certs request --authority dk.politi --out . jensen");
    fs::copy(officer.path("jensen.csr"), server.path("jensen.csr")).unwrap();
    let other = "certs user --home dk --csr jensen.csr --out hansen hansen";
    assert!(server.run(1, other).contains("it is for another user"));
    assert!(!server.path("hansen").exists());
    server.run(0, "certs user --home dk --csr jensen.csr --out jensen jensen");
    assert!(server.files("jensen", ".key").is_empty());
    server.run(0, "user add jensen --role officer --certificate jensen/jensen.pem");
    coordinator.run(0, "user approve jensen");
    let twice = coordinator.run(1, "user approve jensen");
    assert!(twice.contains("active already") && !twice.contains("no user"), "{twice}");
    let none = coordinator.command(&["whoami"]).env("ENTENTE_PROFILE", "").output().unwrap();
    assert!(none.status.success(), "an empty name is none: {none:?}");
    let issuer = coordinator.run(64, "alert list --issuer nobody");
    assert!(issuer.contains("an authority is written like dk.politi"), "{issuer}");
    let nobody = coordinator.run(1, "user approve hansen");
    assert!(nobody.contains("no user of this name") && !nobody.contains("hint"), "{nobody}");
    server.give("jensen", &officer);
    assert!(officer.run(1, "profile add officer jensen/profile.toml").contains("jensen.key"));
    officer.run(0, "profile add officer jensen/profile.toml --key jensen.key");
    assert!(officer.run(0, "whoami").contains("jensen"));
    refusals_say_what_to_do(&officer, &coordinator);
    let key = fs::read_to_string(officer.path("jensen.key")).unwrap();
    for path in server.files(".", "").iter().map(|name| server.path(name)) {
        let held = fs::read(&path).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&held).contains(&key), "{}", path.display());
    }
}

#[test]
fn profiles_have_names_wherever_they_were_made() {
    let mut machine = Machine::new();
    machine.node("--trial");
    machine.answered("dk/profiles/officer.toml");
    assert!(machine.run(64, "whoami").contains("entente profile add"));
    assert!(machine.run(0, "profile list").contains("nothing"));
    for role in ["officer", "auditor"] {
        machine.run(0, &format!("profile add {role} dk/profiles/{role}.toml"));
    }
    machine.run(1, "profile add officer dk/profiles/auditor.toml");
    machine.run(64, "profile add ../officer dk/profiles/officer.toml");
    for file in machine.files("config", ".pem").iter().chain(&machine.files("config", ".toml")) {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(machine.path(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file}");
    }
    let config = machine.path("dk/entente.toml");
    let settings = fs::read_to_string(&config).unwrap();
    fs::write(&config, settings.replace("heartbeat_s = 60", "heartbeat_s = 30")).unwrap();
    let reloaded = machine.run(0, "reload --profile dk/profiles/administrator.toml");
    let says = "changed, but not in force: exchange.heartbeat_s: restart the node";
    assert!(reloaded.contains(says) && reloaded.contains("in force: "), "{reloaded}");
    fs::remove_dir_all(machine.path("dk/profiles")).unwrap();
    assert!(machine.run(0, "whoami --profile auditor").contains("auditor"));
    assert!(machine.run(0, "whoami").contains("officer"), "the first one is the default");
    machine.run(1, "profile use nobody");
    machine.run(0, "profile use auditor");
    assert!(machine.run(0, "whoami").contains("auditor"));
    let words = ["whoami"];
    let named = machine.command(&words).env("ENTENTE_PROFILE", "officer").output().unwrap();
    assert!(String::from_utf8(named.stdout).unwrap().contains("officer"));
    let list = machine.run(0, "profile list");
    assert!(list.contains("auditor (default)") && list.contains("dk.politi"), "{list}");
    let shown = machine.run(0, "profile show officer --format json");
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let told = (shown.get("user"), shown.get("default"));
    assert_eq!(told, (Some(&"officer".into()), Some(&false.into())));
    machine.run(0, "profile add officer config/entente/profiles/auditor.toml --replace");
    assert!(machine.run(0, "whoami --profile officer").contains("auditor"));
}

#[test]
fn a_node_that_peers_could_not_use_is_not_made() {
    let machine = Machine::new();
    let init = "node init --authority dk.politi --home dk";
    for command in ["run", "check"] {
        let none = machine.run(1, &format!("node {command} --home none"));
        assert!(none.contains("`entente-node init` makes one"), "{none}");
    }
    let asked = machine.run(64, init);
    assert!(!asked.contains("  "), "{asked}");
    for (more, flag) in [
        ("", "--contact"),
        ("--contact +45 --exchange-listen 0.0.0.0:8440", "--exchange-advertise"),
        ("--contact +45 --exchange-listen [::]:8440", "--exchange-advertise"),
        ("--trial --exchange-advertise 0.0.0.0:8440", "--exchange-advertise"),
        ("--contact +45 --exchange-advertise [fe80::1]:8440", "--exchange-advertise"),
    ] {
        let line = format!("{init} {more}");
        assert!(machine.run(64, line.trim_end()).contains(flag), "{more}");
        assert!(!machine.path("dk").exists(), "{more}");
    }
    machine.run(0, &format!("{init} --trial"));
    let checked = machine.run(1, "node check --home dk");
    for said in ["warning peers", "the same machine only", "contact is empty", "warning people"] {
        assert!(checked.contains(said), "{said:?} is not in {checked}");
    }
    let elsewhere = "--contact +45 --exchange-listen 0.0.0.0:8440 --desk-listen 0.0.0.0:8441";
    let reached = "--exchange-advertise node.politi.example:8440";
    let made = "node init --authority dk.politi --home elsewhere";
    machine.run(0, &format!("{made} {elsewhere} {reached}"));
    let profile = machine.path("elsewhere/hand-over/administrator/profile.toml");
    assert!(fs::read_to_string(profile).unwrap().contains("\"node.politi.example:8441\""));
    assert!(!machine.run(1, "node check --home elsewhere").contains("warning peers"));
}

/// First line of what is answered over HTTP, and the rest.
fn http(address: &str, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let asked = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(asked.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Looks again and again, half a minute at most.
fn until(what: &str, mut look: impl FnMut() -> bool) {
    for _ in 0..600 {
        if look() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("waited in vain for {what}");
}

#[test]
fn a_certificate_that_ends_is_named_with_its_day_and_what_to_do() {
    use entente_node::id::Clock;
    use entente_node::pki::Authority;
    let mut machine = Machine::new();
    machine.node("--trial");
    machine.answered("dk/profiles/officer.toml");
    let own = |file: &str| machine.path("dk/tls").join(file);
    let text = |file: &str| fs::read_to_string(own(file)).unwrap();
    let ca = Authority::open(&text("roots.pem"), &text("ca.key")).unwrap();
    let put = |seconds: i64| {
        let begun = Clock::system().now().plus(seconds - 396 * 86_400);
        let issued = ca.node(&"dk.politi".parse().unwrap(), &[], begun).unwrap();
        fs::write(own("node.pem"), issued.certificate_pem).unwrap();
        fs::write(own("node.key"), issued.key_pem.expose()).unwrap();
        Clock::system().now().plus(seconds).date().to_string()
    };
    let day = put(29 * 86_400);
    machine.run(0, "reload --profile dk/profiles/administrator.toml");
    let checked = machine.run(0, "node check --home dk");
    for said in ["warning certificates", &day, "entente certs node"] {
        assert!(checked.contains(said), "{said:?} is not in {checked}");
    }
    let status = machine.run(0, "status --profile dk/profiles/officer.toml");
    assert!(status.contains("degraded") && status.contains("certificate_ends"), "{status}");

    let day = put(3);
    machine.run(0, "reload --profile dk/profiles/administrator.toml");
    let addresses = fs::read_to_string(machine.path("dk/run/addresses.json")).unwrap();
    let addresses: serde_json::Value = serde_json::from_str(&addresses).unwrap();
    let health = addresses.get("telemetry").and_then(|address| address.as_str()).unwrap();
    assert!(http(health, "/health/ready").contains(" 200 "));
    until("the certificate to end", || http(health, "/health/ready").contains(" 503 "));
    let ready = http(health, "/health/ready");
    assert!(ready.contains("certificate_ended: the node's own certificate ended on"), "{ready}");
    let refused = machine.run(1, "whoami --profile dk/profiles/officer.toml");
    for said in ["the certificate of dk.politi's node ended on", &day, "ask the administrator"] {
        assert!(refused.contains(said), "{said:?} is not in {refused}");
    }
    until("the log to say so", || {
        let log = fs::read_to_string(machine.path("log")).unwrap();
        let ended = |line: &str| line.contains("ERROR") && line.contains("certificate ended on");
        log.lines().any(ended)
    });
    let checked = machine.run(1, "node check --home dk");
    assert!(checked.contains(&format!("own certificate ended on {day}")), "{checked}");
}
