//! Strangers who hold a door's sockets do not keep its callers out.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use entente_proto::desk::WhoamiRequest;
use entente_proto::desk::desk_client::DeskClient;
use entente_tests::federation::{Federation, PATIENCE, TestNode, until};
use entente_tests::processes::{Process, http_get};
use rustls::ClientConnection;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::client::client;

const PROGRAM: &str = env!("CARGO_BIN_EXE_simulate");

async fn silent(from: &str, door: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from.parse().expect("an address"), 0))?;
    socket.connect(door).await
}

/// Sockets from one address that say nothing after their first bytes: so many, and then 20 more a
/// second, until it is dropped.
struct Siege {
    held: Arc<Mutex<Vec<TcpStream>>>,
    going_on: JoinHandle<()>,
}

impl Siege {
    async fn begin(from: &'static str, door: SocketAddr, first: usize) -> anyhow::Result<Self> {
        Self::begin_with(&[], from, door, first).await
    }

    async fn begin_with(
        bytes: &[u8],
        from: &'static str,
        door: SocketAddr,
        first: usize,
    ) -> anyhow::Result<Self> {
        let mut held = Vec::new();
        for _ in 0..first {
            let mut socket = silent(from, door).await?;
            socket.write_all(bytes).await?;
            held.push(socket);
        }
        let held = Arc::new(Mutex::new(held));
        let more = Arc::clone(&held);
        let going_on = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                if let Ok(socket) = silent(from, door).await {
                    more.lock().await.push(socket);
                }
            }
        });
        Ok(Self { held, going_on })
    }
}

impl Drop for Siege {
    fn drop(&mut self) {
        self.going_on.abort();
    }
}

/// How long an officer takes to connect and to call, at the median.
async fn median(dk: &TestNode) -> anyhow::Result<Duration> {
    let mut taken = Vec::new();
    for _ in 0..25 {
        let begun = Instant::now();
        let mut desk = DeskClient::new(dk.desk("officer").await?);
        desk.whoami(WhoamiRequest {}).await?;
        taken.push(begun.elapsed());
    }
    taken.sort();
    Ok(taken[taken.len() / 2])
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_sockets_do_not_slow_down_a_good_caller() -> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi"]).await?;
    let dk = &federation.nodes[0];
    let door = dk.running().desk;
    for from in ["127.0.0.2", "127.0.0.1"] {
        // The machine does other things besides: one quiet round of three is enough.
        let mut measured = Vec::new();
        for _ in 0..3 {
            let alone = median(dk).await?;
            let siege = Siege::begin(from, door, 70).await?;
            let besieged = median(dk).await.with_context(|| format!("besieged from {from}"))?;
            assert!(siege.held.lock().await.len() >= 70);
            measured.push((alone, besieged));
            if besieged < 2 * alone {
                break;
            }
        }
        let holds = measured.iter().any(|(alone, besieged)| *besieged < 2 * *alone);
        assert!(holds, "from {from}, alone and besieged: {measured:?}");
    }
    federation.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_says_nothing_is_let_go() -> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi"]).await?;
    let dk = &federation.nodes[0];
    for door in [dk.running().desk, dk.running().exchange] {
        let begun = Instant::now();
        let mut socket = silent("127.0.0.2", door).await?;
        let closed = tokio::time::timeout(PATIENCE, socket.read(&mut [0; 8])).await?;
        assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
        let after = begun.elapsed();
        let allowed = Duration::from_millis(1900)..Duration::from_secs(8);
        assert!(allowed.contains(&after), "after {after:?}");
    }
    federation.stop().await
}

/// A whole ClientHello.
fn hello() -> anyhow::Result<Vec<u8>> {
    let config = client(None, default_provider())?;
    let mut connection = ClientConnection::new(config, ServerName::try_from("door.invalid")?)?;
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes)?;
    Ok(bytes)
}

/// More than a door has places for those who say nothing, and fewer places than that for callers
/// who are in.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_door_lets_its_callers_in() -> anyhow::Result<()> {
    let mut federation = Federation::start(&["dk.politi"]).await?;
    federation.nodes[0].configure("connections_max = 512", "connections_max = 3").await?;
    let dk = &federation.nodes[0];
    let door = dk.running().desk;
    let hello = hello()?;
    for (from, bytes) in [
        ("127.0.0.2", &[][..]),
        ("127.0.0.1", &[]),
        ("127.0.0.2", &hello[..hello.len() / 2]),
        ("127.0.0.2", &hello),
        ("127.0.0.1", &hello),
    ] {
        let siege = Siege::begin_with(bytes, from, door, 300).await?;
        let mut desk = DeskClient::new(dk.desk("officer").await.context(from)?);
        desk.whoami(WhoamiRequest {}).await.context(from)?;
        // The oldest gave way at once: long before it would have been let go.
        let mut held = siege.held.lock().await;
        let first = held.first_mut().context("held")?;
        tokio::time::timeout(PATIENCE, first.read_to_end(&mut Vec::new())).await?.ok();
    }
    // Callers who are in are bounded all the same.
    let held = [dk.desk("officer").await?, dk.desk("auditor").await?, dk.desk("officer").await?];
    let told = dk.desk("officer").await.err().context("a fourth is let in")?.to_string();
    assert!(told.contains("has as many connections as it takes"), "{told}");
    drop(held);
    federation.stop().await
}

/// Lines about a listener that cannot accept.
fn failures(node: &Process, door: &str) -> anyhow::Result<Vec<String>> {
    let log = fs::read_to_string(node.log())?;
    let of_door = format!("door=\"{door}\"");
    let lines = log.lines().filter(|line| line.contains("no connection can be accepted now"));
    Ok(lines.filter(|line| line.contains(&of_door)).map(str::to_owned).collect())
}

/// A process that may hold few files: a stranger takes what is left of them, at each of its ports.
#[tokio::test(flavor = "multi_thread")]
async fn a_door_without_file_descriptors_says_so_once() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let prepared = Process::prepare(folder.path(), "dk.politi", PROGRAM)?;
    let mut dk = prepared.with_descriptors_up_to(80);
    dk.start().await?;
    for (name, port) in [("desk", dk.desk), ("exchange", dk.exchange)] {
        let siege = Siege::begin("127.0.0.2", port, 120).await?;
        let _at_telemetry = Siege::begin("127.0.0.2", dk.telemetry, 1).await?;
        until("the line", || Ok(failures(&dk, name)?.first().map(drop))).await.context(name)?;
        tokio::time::sleep(Duration::from_secs(3)).await;
        // Who is silent gives way, so that an officer gets in all the same.
        let mut desk = DeskClient::new(dk.desk("officer").await?);
        desk.whoami(WhoamiRequest {}).await?;
        drop(siege);
    }
    for name in ["desk", "exchange", "telemetry"] {
        let said = failures(&dk, name)?;
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("ERROR") && said[0].contains("ulimit -n"), "{said:?}");
    }
    let metrics = until_metrics(&dk).await?;
    let counted = |door: &str| {
        let begins = format!(
            "entente_door_accept_failures_total{{authority=\"dk.politi\",door=\"{door}\"}} "
        );
        let line = metrics.lines().find_map(|line| line.strip_prefix(&begins));
        line.and_then(|count| count.parse::<u64>().ok()).unwrap_or_default()
    };
    assert!(
        ["desk", "exchange", "telemetry"].into_iter().all(|door| counted(door) > 1),
        "{metrics}"
    );
    assert!(dk.terminate().await?);
    Ok(())
}

/// Descriptors come back as strangers are let go.
async fn until_metrics(node: &Process) -> anyhow::Result<String> {
    let asking = async {
        loop {
            match http_get(node.telemetry, "/metrics").await {
                Ok((head, body)) if head.contains("200") => return body,
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    };
    Ok(tokio::time::timeout(PATIENCE, asking).await?)
}
