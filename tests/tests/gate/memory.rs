//! What callers can have the node hold: a real process, its resident memory, and a good caller
//! meanwhile.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use entente_node::home::Layout;
use entente_node::id::{AuthorityId, Clock, Entropy};
use entente_node::jose::SigningKey;
use entente_node::pki::{self, Authority};
use entente_node::sample::Samples;
use entente_node::trust::{Draft, SignedDescriptor};
use entente_proto::admin::admin_client::AdminClient;
use entente_proto::admin::{AddUserRequest, UserRequest};
use entente_proto::desk::desk_client::DeskClient;
use entente_proto::desk::{CreateAlertRequest, WhoamiRequest};
use entente_tests::federation::search_by_passport;
use entente_tests::processes::Process;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::transport::Channel;

use crate::raw::{HalfSent, Unread, Unreading, mint, send};

const PROGRAM: &str = env!("CARGO_BIN_EXE_simulate");

/// As `server::door` has it.
const CONNECTIONS_PER_CALLER_MAX: usize = 32;

const MIB: usize = 1024 * 1024;

/// What the memory may grow by, in bytes.
const GROWTH_MAX: u64 = 64 * MIB as u64;

/// How long an attack is kept up, and the memory watched.
const HELD: Duration = Duration::from_secs(4);

/// A method, how many bytes its message announces, and how many of them come.
type Sent = (&'static str, usize, usize);

const AT_DESK: (usize, &[Sent]) = (
    64,
    &[
        ("/entente.desk.v1.Desk/CreateAlert", 256 * 1024, 255 * 1024),
        ("/entente.desk.v1.Desk/ImportAlerts", 256 * 1024, 255 * 1024),
        ("/entente.desk.v1.Desk/Search", 16 * 1024, 15 * 1024),
        ("/entente.admin.v1.Admin/ApplyPolicy", 256 * 1024, 255 * 1024),
        ("/grpc.health.v1.Health/Check", 1024 * MIB, 8 * MIB),
        ("/grpc.health.v1.Health/Check", 1023, 1022),
        ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", 1024 * MIB, 8 * MIB),
        ("/entente.desk.v1.Desk/None", 1024 * MIB, 8 * MIB),
    ],
);

const AT_EXCHANGE: (usize, &[Sent]) = (
    32,
    &[
        ("/entente.exchange.v1.Exchange/Deliver", MIB, MIB - 1),
        ("/entente.exchange.v1.Exchange/Deliver", MIB, MIB - 1),
        ("/entente.exchange.v1.Exchange/Deliver", 2 * MIB, 2 * MIB - 1),
        ("/entente.exchange.v1.Exchange/Describe", 1024 * MIB, 8 * MIB),
        ("/entente.exchange.v1.Exchange/Recover", 1023, 1022),
        ("/grpc.health.v1.Health/Check", 1024 * MIB, 8 * MIB),
    ],
);

/// A node as a process, with its first users, two that have no right any more or not yet, and a
/// peer.
struct Target {
    node: Process,
    unregistered: [PathBuf; 2],
    removed: [PathBuf; 2],
    peer: [PathBuf; 2],
    _folder: tempfile::TempDir,
}

impl Target {
    async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut node = Process::prepare(folder.path(), "dk.politi", PROGRAM)?;
        let unregistered = mint(&node.home, &node.authority, "unregistered")?;
        let removed = mint(&node.home, &node.authority, "removed")?;
        node.start().await?;
        let certificate = std::fs::read_to_string(&removed[0])?;
        let roles = vec!["officer".to_owned()];
        let name = || "removed".to_owned();
        let mut one = AdminClient::new(node.desk("administrator").await?);
        let mut two = AdminClient::new(node.desk("coordinator").await?);
        one.add_user(AddUserRequest { name: name(), roles, certificate }).await?;
        two.approve_user(UserRequest { name: name() }).await?;
        one.remove_user(UserRequest { name: name() }).await?;
        let peer = invent(&node).await?;
        Ok(Self { node, unregistered, removed, peer, _folder: folder })
    }
}

/// Certificate and key of an active peer that has no node.
async fn invent(node: &Process) -> anyhow::Result<[PathBuf; 2]> {
    let (authority, now): (AuthorityId, _) = ("se.polisen".parse()?, Clock::system().now());
    let ca = Authority::new("se.polisen node CA", now)?;
    pki::write_issued(&node.home, "peer", &ca.node(&authority, &[], now)?)?;
    let draft = std::fs::read_to_string(Layout::new(&node.home).draft())?;
    let draft = Draft {
        authority,
        tls_roots: vec![ca.certificate_pem().to_owned()],
        endpoints: vec!["localhost:1".to_owned()],
        ..serde_json::from_str(&draft)?
    };
    let identity = SigningKey::generate(&Entropy::os());
    node.admit(&SignedDescriptor::sign(draft, now, &identity)?).await?;
    Ok([node.home.join("peer.pem"), node.home.join("peer.key")])
}

/// What came of an attack.
struct Effect {
    /// By how much the memory grew at most, in bytes.
    growth: u64,
    /// How long a good caller waited at most.
    waited: Duration,
    /// Calls that were taken: not refused by their headers, or not answered at all.
    open: usize,
}

/// Holds all connections that one caller may have with all their streams half-sent.
async fn attack(
    node: &Process,
    [pem, key]: &[PathBuf; 2],
    exchange: bool,
) -> anyhow::Result<Effect> {
    let (streams, sent) = if exchange { AT_EXCHANGE } else { AT_DESK };
    let door = if exchange { node.exchange } else { node.desk };
    let before = node.resident_bytes()?;
    let mut connections: Vec<Channel> = Vec::new();
    for _ in 0..CONNECTIONS_PER_CALLER_MAX {
        connections.push(node.connect(pem, key, door).await?);
    }
    let mut held = Vec::new();
    for stream in 0..streams {
        for (number, connection) in connections.iter().enumerate() {
            let (path, announced, sent) = sent[(stream + number) % sent.len()];
            let body = HalfSent::new(u32::try_from(announced)?, sent);
            held.push(send(connection, path, body));
        }
    }
    let (mut most, mut waited) = (before, Duration::ZERO);
    let officer = node.desk("coordinator").await?;
    let until = Instant::now() + HELD;
    while Instant::now() < until {
        let asked = Instant::now();
        DeskClient::new(officer.clone()).whoami(WhoamiRequest {}).await?;
        waited = waited.max(asked.elapsed());
        most = most.max(node.resident_bytes()?);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut open = 0;
    for call in held {
        call.abort();
        let begun = |answer: Unread| !answer.headers().contains_key("grpc-status");
        open += usize::from(call.await.ok().flatten().is_none_or(begun));
    }
    Ok(Effect { growth: most - before, waited, open })
}

/// Entries of the log that [`unread`] asks for on each stream: 1 MiB and more.
const ENTRIES: usize = 4000;

/// Asks for the whole log on every stream of every connection, and takes no byte of it; returns by
/// how much the memory grew at most, in bytes.
async fn unread(node: &Process, auditor: &[PathBuf; 2]) -> anyhow::Result<u64> {
    let officer = node.desk("officer").await?;
    let mut searching = JoinSet::new();
    for _ in 0..16 {
        let mut desk = DeskClient::new(officer.clone());
        searching.spawn(async move {
            for _ in 0..ENTRIES / 16 {
                desk.search(search_by_passport()).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(searched) = searching.join_next().await {
        searched??;
    }
    let before = node.resident_bytes()?;
    let mut asking = JoinSet::new();
    for _ in 0..CONNECTIONS_PER_CALLER_MAX {
        let connection =
            Arc::new(Unreading::connect(&node.home, &node.authority, auditor, node.desk).await?);
        for _ in 0..AT_DESK.0 {
            let connection = Arc::clone(&connection);
            asking.spawn(async move {
                let list = "/entente.admin.v1.Audit/ListEntries";
                let answer = connection.ask(list, &[], true).await;
                tokio::time::sleep(HELD).await;
                answer.is_ok_and(|(answer, _)| !answer.headers().contains_key("grpc-status"))
            });
        }
    }
    let mut most = before;
    let until = Instant::now() + HELD;
    while Instant::now() < until {
        most = most.max(node.resident_bytes()?);
        DeskClient::new(officer.clone()).whoami(WhoamiRequest {}).await?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut begun = 0;
    while let Some(answered) = asking.join_next().await {
        begun += usize::from(answered?);
    }
    assert!(begun > 0, "no answer began");
    Ok(most - before)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_caller_can_exhaust_the_memory() -> anyhow::Result<()> {
    let target = Target::start().await?;
    let node = &target.node;
    let users = Layout::new(&node.home).users();
    let officer = [users.join("officer.pem"), users.join("officer.key")];
    let before = node.resident_bytes()?;
    for (who, card, exchange, holds) in [
        ("unregistered", &target.unregistered, false, false),
        ("removed", &target.removed, false, false),
        ("officer", &officer, false, true),
        ("peer", &target.peer, true, true),
    ] {
        let Effect { growth, waited, open } = attack(node, card, exchange).await?;
        println!("{who}: {} KiB more, {open} calls open, others wait {waited:?}", growth / 1024);
        assert_eq!(open > 0, holds, "{who}: {open} calls are open");
        assert!(growth < GROWTH_MAX, "{who}: {} KiB more", growth / 1024);
        assert!(waited < Duration::from_secs(1), "{who}: a good caller waited {waited:?}");
    }
    let growth = unread(node, &[users.join("auditor.pem"), users.join("auditor.key")]).await?;
    println!("an auditor that does not read: {} KiB more", growth / 1024);
    assert!(growth < GROWTH_MAX, "an auditor that does not read: {} KiB more", growth / 1024);
    let growth = node.resident_bytes()?.saturating_sub(before);
    assert!(growth < GROWTH_MAX, "{} KiB more in all", growth / 1024);
    // And everybody is served as before.
    let draft = Samples::new(1).next().expect("a sample").to_string();
    let asked = CreateAlertRequest { draft, ..Default::default() };
    DeskClient::new(node.desk("officer").await?).create_alert(asked).await?;
    Ok(())
}
