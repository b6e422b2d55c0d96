//! Nodes without doors: real stores in temporary folders, real keys, a clock that tests set.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::admin;
use crate::alert::View;
use crate::config::Config;
use crate::desk;
use crate::holding::read_copy;
use crate::id::{AlertId, Clock, Entropy, Secret, Timestamp};
use crate::jose::SigningKey;
use crate::matching::Query;
use crate::node::{Node, Parts, SharedNode};
use crate::pki;
use crate::roles::{Actor, Role};
use crate::store::{
    Copies, Ledger, LedgerEntry, Read, Store, StoreOptions, StreamOut, StreamsOut, Subject,
    Tombstone, Tombstones,
};
use crate::trust::{DatedKey, Draft, SignedDescriptor};

pub(super) struct TestNode {
    pub(super) node: SharedNode,
    folder: TempDir,
    backups: usize,
    seed: u64,
    clock: Clock,
    identity: SigningKey,
}

impl TestNode {
    pub(super) fn new(name: &str, seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::fixed("2026-11-24T10:00:00Z".parse().unwrap());
        let identity = key(seed + 1000);
        let node = open(name, &folder.path().join("store"), seed, &clock);
        Self { node, folder, backups: 0, seed, clock, identity }
    }

    /// Its descriptor with this serial number.
    pub(super) fn descriptor_of(&self, serial: u64) -> SignedDescriptor {
        let node = &self.node;
        let dated = |key: &SigningKey| DatedKey {
            key: key.public(),
            not_before: 0,
            not_after: i64::from(u32::MAX),
        };
        let now = Timestamp::from_seconds(node.clock.now().seconds());
        let root = pki::Authority::new("test root", now).unwrap();
        let draft = Draft {
            authority: node.authority.clone(),
            serial,
            statement_keys: vec![dated(&node.statement_key)],
            log_keys: vec![dated(&node.log_key)],
            tls_roots: vec![root.certificate_pem().to_owned()],
            endpoints: vec!["localhost:1".to_owned()],
            schemas: (1, 1),
            contact: "test desk".to_owned(),
        };
        SignedDescriptor::sign(draft, now, &self.identity).unwrap()
    }

    pub(super) async fn apply(&self, policy: &str) {
        self.apply_in_store(policy).await;
        self.node.refresh().unwrap();
    }

    /// As if a dispatcher had not heard of the policy yet.
    pub(super) async fn apply_without_refresh(&self, policy: &str) {
        let before = self.node.policy.load_full();
        self.apply_in_store(policy).await;
        self.node.policy.store(before);
    }

    async fn apply_in_store(&self, policy: &str) {
        let (one, two) = (person("administrator"), person("coordinator"));
        let applied = admin::apply(&self.node, policy, false, &one).await.unwrap();
        if let Some(number) = applied.proposal {
            admin::approve(&self.node, number, &two).await.unwrap();
        }
    }

    pub(super) async fn create(&self, number: u64) -> AlertId {
        let created =
            desk::create(&self.node, &draft(number), "another one", &person("officer")).await;
        created.unwrap().id
    }

    /// A new version that ends `seconds` from now.
    pub(super) async fn shorten(&self, id: &AlertId, seconds: i64) {
        let end = self.node.clock.now().plus(seconds).to_string();
        let mut shorter: serde_json::Value = serde_json::from_str(&draft(1)).unwrap();
        shorter["expires_at"] = end.into();
        let by = person("officer");
        desk::update(&self.node, id, 0, &shorter.to_string(), "", &by).await.unwrap();
    }

    /// What is parked with a peer: alerts and why.
    pub(super) fn parked(&self, peer: &Self) -> Vec<(AlertId, String)> {
        let parked = admin::parked(&self.node, &peer.node.authority).unwrap();
        let ours = parked.into_iter().filter(|(theirs, _, _)| !theirs);
        let alert = |subject: Subject| subject.alert().cloned();
        ours.filter_map(|(_, of, parked)| Some((alert(of)?, parked.reason))).collect()
    }

    pub(super) async fn update(&self, id: &AlertId, number: u64) {
        let by = person("officer");
        desk::update(&self.node, id, 0, &draft(number), "", &by).await.unwrap();
    }

    pub(super) async fn withdraw(&self, id: &AlertId) {
        desk::withdraw(&self.node, id, "found", &person("officer")).await.unwrap();
    }

    pub(super) async fn search_passport(&self, number: &str) -> desk::Found {
        let passport = ("passport".to_owned(), "DK".to_owned(), number.to_owned());
        let query = Query::parse(&[passport], "", "", "").unwrap();
        let why = desk::Justification {
            case_ref: "case".to_owned(),
            offence: "labour".parse().unwrap(),
            subject: None,
            aim: desk::Aim::Identify,
        };
        desk::search(&self.node, &query, &why, &person("officer")).await.unwrap()
    }

    /// What its officers see in a list.
    pub(super) async fn list(&self) -> desk::Page {
        let by = person("officer");
        let wanted = desk::Wanted::all(desk::State::Live);
        desk::list(&self.node, wanted, None, 100, &by).await.unwrap()
    }

    /// Moves its clock.
    pub(super) fn pass(&self, seconds: i64) {
        self.clock.pass(seconds);
    }

    pub(super) fn copy(&self, id: &AlertId) -> Option<View> {
        self.node
            .store
            .read_blocking(|now| {
                let Some(copy) = now.get::<Copies>(id)? else { return Ok(None) };
                read_copy(now, id, &copy).map(Some)
            })
            .unwrap()
    }

    /// Overwrites what is sealed on the disk.
    pub(super) fn spoil_tokens(&self) {
        let path = self.folder.path().join("store/cells");
        let length = fs::metadata(&path).unwrap().len();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&vec![0; length.try_into().unwrap()], 0).unwrap();
    }

    pub(super) fn tombstone(&self, id: &AlertId) -> Option<Tombstone> {
        self.node.store.get::<Tombstones>(id).unwrap()
    }

    pub(super) fn ledger(&self, peer: &Self, id: &AlertId) -> LedgerEntry {
        let key = (peer.node.authority.clone(), id.clone().into());
        self.node.store.get::<Ledger>(&key).unwrap().unwrap_or_default()
    }

    pub(super) fn stream(&self, peer: &Self) -> StreamOut {
        self.node.store.get::<StreamsOut>(&peer.node.authority).unwrap().unwrap()
    }

    pub(super) fn backup(&mut self) -> PathBuf {
        self.backups += 1;
        let to = self.folder.path().join(format!("backup{}", self.backups));
        let store = self.folder.path().join("store");
        self.reopened(|| copy_folder(&store, &to));
        to
    }

    pub(super) fn restore(&mut self, backup: &Path) {
        let store = self.folder.path().join("store");
        self.reopened(|| {
            fs::remove_dir_all(&store).unwrap();
            copy_folder(backup, &store);
        });
    }

    fn reopened(&mut self, closed: impl FnOnce()) {
        let name = self.node.authority.to_string();
        let aside = TestNode::new("xx.aside", 99);
        let node = std::mem::replace(&mut self.node, aside.node);
        node.store.close();
        drop(node);
        closed();
        let store = self.folder.path().join("store");
        self.node = open(&name, &store, self.seed, &self.clock);
    }
}

fn key(seed: u64) -> SigningKey {
    SigningKey::from_seed(Secret::new(Entropy::seeded(seed).bytes()))
}

fn open(name: &str, store: &Path, seed: u64, clock: &Clock) -> SharedNode {
    let config = format!("authority = '{name}'\n[exchange]\nadvertise = 'localhost:1'\n");
    let config = Config::parse(&config).unwrap();
    let options = StoreOptions { cache_bytes: 1 << 20, disk_free_bytes_min: 0 };
    let (owner, secret) = (&config.authority, Secret::new(Entropy::seeded(seed).bytes()));
    let store = Store::open(store, owner, &secret, &options, clock.clone(), Entropy::os());
    let parts = Parts {
        home: PathBuf::new(),
        store: store.unwrap(),
        clock: clock.clone(),
        entropy: Entropy::os(),
        statement_key: key(seed + 2000),
        log_key: key(seed + 3000),
        descriptor: None,
        config,
    };
    Node::new(parts).unwrap()
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Each imports the other and approves it.
pub(super) async fn join(a: &TestNode, b: &TestNode) {
    for (here, there) in [(a, b), (b, a)] {
        trust(here, there, 1).await;
    }
}

/// `here` imports the descriptor of `there` with this serial number, and approves it.
pub(super) async fn trust(here: &TestNode, there: &TestNode, serial: u64) {
    let descriptor = there.descriptor_of(serial);
    let (one, two) = (person("administrator"), person("coordinator"));
    admin::import_peer(&here.node, descriptor.jws(), &one).await.unwrap();
    let (peer, fingerprint) = (&there.node.authority, descriptor.fingerprint());
    admin::approve_peer(&here.node, peer, &fingerprint, &two).await.unwrap();
}

pub(super) fn person(name: &str) -> Actor {
    let role = Role::parse(name).unwrap();
    Actor { name: name.to_owned(), roles: vec![role] }
}

pub(super) fn draft(number: u64) -> String {
    serde_json::json!({
        "category": "missing_protect",
        "exploitation": ["labour"],
        "handling": ["H0"],
        "legal_basis": "act 1",
        "case_ref": format!("case {number}"),
        "subjects": [{
            "category": "missing",
            "names": [{ "family": format!("Family{number}"), "given": "Given" }],
            "birth_date": "1990-01-31",
            "identifiers": [
                { "type": "passport", "country": "DK", "number": format!("P{number:07}") },
            ],
        }],
        "locations": [{ "kind": "transit", "nuts3": "DK011" }],
    })
    .to_string()
}
