//! The right to a call ends when it ends: what is open then is closed within a second, with a
//! reason.

use std::time::Duration;

use anyhow::Context;
use entente_node::admin;
use entente_node::exchange::PROTOCOLS;
use entente_node::home::Layout;
use entente_node::roles::Role;
use entente_node::sample::Samples;
use entente_node::store::Own;
use entente_node::trust::PeerState;
use entente_node::wire::exchange::FromSender;
use entente_proto::desk::desk_client::DeskClient;
use entente_proto::desk::import_result::Outcome;
use entente_proto::desk::{Change, ImportLine, ImportResult, WatchAlertsRequest};
use entente_proto::exchange::FromReceiver;
use entente_proto::exchange::exchange_client::ExchangeClient;
use entente_tests::federation::{Federation, TestNode, person, until};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::raw::{Unreading, reason};

/// Until when a call that may not go on has ended; a busy machine gets a little more.
const ENDS_WITHIN: Duration = Duration::from_millis(1500);

/// An import that is open, and has made one alert.
struct Import {
    lines: mpsc::Sender<ImportLine>,
    results: Streaming<ImportResult>,
    samples: Samples,
    sent: u64,
}

impl Import {
    async fn open(dk: &TestNode) -> anyhow::Result<Self> {
        let (lines, stream) = mpsc::channel(16);
        let mut desk = DeskClient::new(dk.desk("officer").await?);
        let results = desk.import_alerts(ReceiverStream::new(stream)).await?.into_inner();
        let mut import = Self { lines, results, samples: Samples::new(1), sent: 0 };
        import.send().await?;
        let made = || Ok((dk.node().store.count::<Own>() == 1).then_some(()));
        until("the first line", made).await?;
        Ok(import)
    }

    async fn send(&mut self) -> anyhow::Result<()> {
        self.sent += 1;
        let draft = self.samples.next().context("a sample")?.to_string();
        let line = ImportLine { line: self.sent, draft, ..Default::default() };
        Ok(self.lines.send(line).await?)
    }
}

async fn watch(dk: &TestNode) -> anyhow::Result<Streaming<Change>> {
    let mut desk = DeskClient::new(dk.desk("officer").await?);
    let mut changes = desk.watch_alerts(WatchAlertsRequest::default()).await?.into_inner();
    assert_eq!(changes.message().await?.context("ready")?.kind, "ready");
    Ok(changes)
}

/// A stream of `fr` to `dk` that has begun.
async fn deliver(
    dk: &TestNode,
    fr: &TestNode,
) -> anyhow::Result<(mpsc::Sender<entente_proto::exchange::FromSender>, Streaming<FromReceiver>)> {
    let (lines, sent) = mpsc::channel(4);
    lines.send(FromSender::Hello(entente_node::exchange::Standing::default()).into()).await?;
    let mut exchange = ExchangeClient::new(dk.as_peer(fr).await?);
    let mut answers = exchange.deliver(ReceiverStream::new(sent)).await?.into_inner();
    answers.message().await?.context("a resume")?;
    Ok((lines, answers))
}

/// Why a stream ended, and that it did in time.
async fn ended<T>(stream: &mut Streaming<T>) -> anyhow::Result<(Vec<T>, Status)> {
    let mut before = Vec::new();
    let reading = async {
        loop {
            match stream.message().await {
                Ok(Some(message)) => before.push(message),
                Ok(None) => break Status::ok("it ended as if all were said"),
                Err(status) => break status,
            }
        }
    };
    let status = tokio::time::timeout(ENDS_WITHIN, reading).await;
    Ok((before, status.context("it is still open")?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_users_open_calls_end_within_a_second() -> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi"]).await?;
    let dk = &federation.nodes[0];
    let mut import = Import::open(dk).await?;
    let mut changes = watch(dk).await?;
    admin::remove_user(dk.node(), "officer", &person(Role::Administrator)).await?;
    let _ = import.send().await;
    let (results, status) = ended(&mut import.results).await?;
    assert_eq!(reason(&status), "unknown_user", "{status:?}");
    let made = results.iter().filter(|result| matches!(result.outcome, Some(Outcome::Created(_))));
    assert_eq!(made.count(), 1, "what was made is acknowledged");
    let (_, status) = ended(&mut changes).await?;
    assert_eq!(reason(&status), "unknown_user");
    let _ = import.send().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(dk.node().store.count::<Own>(), 1, "nothing was made after it");
    drop((import, changes));
    federation.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_taken_away_ends_the_calls_that_need_it() -> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi"]).await?;
    let dk = &federation.nodes[0];
    let mut changes = watch(dk).await?;
    let mut users = std::collections::HashMap::clone(&dk.node().users.load());
    let officer = users.get_mut("officer").context("the first officer")?;
    officer.roles = vec![entente_node::roles::Role::Auditor];
    dk.node().users.store(std::sync::Arc::new(users));
    dk.node().refreshed.send_replace(());
    let (_, status) = ended(&mut changes).await?;
    assert_eq!(reason(&status), "wrong_role");
    drop(changes);
    federation.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_peers_stream_ends_within_a_second() -> anyhow::Result<()> {
    let mut federation = Federation::start(&["dk.politi", "fr.police-judiciaire"]).await?;
    federation.nodes[1].stop().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let (_lines, mut answers) = deliver(dk, fr).await?;
    let by = person(Role::Administrator);
    admin::change_peer(dk.node(), &fr.authority, PeerState::Suspended, "a doubt", &by).await?;
    let (_, status) = ended(&mut answers).await?;
    assert_eq!(reason(&status), "not_active");
    drop(answers);
    federation.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_certificate_ends_the_calls_that_came_with_it() -> anyhow::Result<()> {
    let mut federation = Federation::start(&["dk.politi", "fr.police-judiciaire"]).await?;
    federation.nodes[1].stop().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let mut import = Import::open(dk).await?;
    let mut changes = watch(dk).await?;
    let (_lines, mut answers) = deliver(dk, fr).await?;
    let officer = dk.desk("officer").await?;
    dk.clock.pass(400 * 86_400);
    let (_, imported) = ended(&mut import.results).await?;
    let (_, watched) = ended(&mut changes).await?;
    let (_, delivered) = ended(&mut answers).await?;
    for status in [imported, watched, delivered] {
        assert_eq!(reason(&status), "certificate_ended", "{status:?}");
    }
    // The connection itself ends too, with the next call at the latest.
    let again = DeskClient::new(officer).watch_alerts(WatchAlertsRequest::default()).await;
    assert!(again.is_err());
    drop((import, changes, answers));
    federation.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_age_of_a_connection_ends_its_streams() -> anyhow::Result<()> {
    let mut federation = Federation::start(&["dk.politi", "fr.police-judiciaire"]).await?;
    federation.nodes[1].stop().await?;
    let dk = &mut federation.nodes[0];
    dk.configure("connection_age_s = 3600", "connection_age_s = 10").await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let began = Instant::now();
    let mut import = Import::open(dk).await?;
    let mut changes = watch(dk).await?;
    let (_lines, mut answers) = deliver(dk, fr).await?;
    let later = tokio::time::timeout(Duration::from_secs(9), changes.message()).await;
    assert!(later.is_err() || matches!(later, Ok(Ok(Some(_)))), "it ended before its time");
    tokio::time::sleep_until(began + Duration::from_secs(10)).await;
    let (results, imported) = ended(&mut import.results).await?;
    assert_eq!(results.len(), 1, "what was made is acknowledged");
    let (_, watched) = ended(&mut changes).await?;
    let (_, delivered) = ended(&mut answers).await?;
    for status in [imported, watched, delivered] {
        assert_eq!(reason(&status), "stream_too_old", "{status:?}");
    }
    watch(dk).await.context("a new connection is served")?;
    drop((import, changes, answers));
    federation.stop().await
}

/// A caller that reads nothing is told nothing: its connection is cut.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_that_a_call_ended_is_cut_off() -> anyhow::Result<()> {
    let mut federation = Federation::start(&["dk.politi", "fr.police-judiciaire"]).await?;
    federation.nodes[1].stop().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let users = Layout::new(&dk.home).users();
    let auditor = [users.join("auditor.pem"), users.join("auditor.key")];
    let layout = Layout::new(&fr.home);
    let peer = [layout.certificate(), layout.certificate_key()];
    let (desk, exchange) = (dk.running().desk, dk.running().exchange);
    let listing = Unreading::connect(&dk.home, &dk.authority, &auditor, desk).await?;
    let list = listing.ask("/entente.admin.v1.Audit/ListEntries", &[], true).await?;
    let delivering = Unreading::connect(&dk.home, &dk.authority, &peer, exchange).await?;
    let hello = [0x0a, 2, 8, PROTOCOLS.min as u8];
    let path = "/entente.exchange.v1.Exchange/Deliver";
    let delivery = delivering.ask(path, &hello, false).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (listing, delivering) = (listing.open, delivering.open);
    assert!(!listing.is_finished() && !delivering.is_finished(), "they are open");
    let by = person(Role::Administrator);
    admin::remove_user(dk.node(), "auditor", &by).await?;
    tokio::time::timeout(ENDS_WITHIN, listing).await.context("the auditor's is open")??;
    admin::change_peer(dk.node(), &fr.authority, PeerState::Suspended, "a doubt", &by).await?;
    tokio::time::timeout(ENDS_WITHIN, delivering).await.context("the peer's is open")??;
    drop((list, delivery));
    federation.stop().await
}
