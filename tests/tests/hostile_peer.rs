//! A peer with a genuine certificate and genuine keys that does what it may not.

use entente_node::alert::{self, Draft};
use entente_node::audit::Entry;
use entente_node::exchange::{
    Batch, HEAD_TYP, Head, Item, Kind, Nonce, RECEIPT_TYP, Receipt, Standing, Statement,
};
use entente_node::home::Layout;
use entente_node::id::{AlertId, AuthorityId, Clock, Digest, Entropy, StreamSeq};
use entente_node::jose::{self, SigningKey};
use entente_node::pki::read_signing_key;
use entente_node::sample::Samples;
use entente_node::store::{Copies, ParkedIn};
use entente_node::wire::exchange::{FromReceiver, FromSender};
use entente_proto::desk::StatusRequest;
use entente_proto::desk::desk_client::DeskClient;
use entente_proto::exchange as proto;
use entente_proto::exchange::exchange_client::ExchangeClient;
use entente_proto::exchange::exchange_server;
use entente_tests::federation::{Federation, PATIENCE, TestNode};
use entente_tests::processes::Process;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tonic_types::StatusExt;

/// A stream that is spoken by hand.
struct Hostile {
    me: AuthorityId,
    them: AuthorityId,
    key: SigningKey,
    nonce: Nonce,
    seq: StreamSeq,
    chain: Digest,
    outbox: mpsc::Sender<proto::FromSender>,
    inbox: Streaming<proto::FromReceiver>,
}

/// Chain value before the first place of epoch 1.
fn chain_start(from: &AuthorityId, to: &AuthorityId) -> Digest {
    let names = format!("entente-stream/1\0{from}\0{to}\0");
    Digest::of_parts(&[names.as_bytes(), &1u64.to_be_bytes()])
}

fn chain_next(before: &Digest, seq: StreamSeq, digest: &Digest) -> Digest {
    Digest::of_parts(&[&before.0, &seq.to_be_bytes(), &digest.0])
}

impl Hostile {
    async fn open(peer: &TestNode, node: &TestNode) -> anyhow::Result<Self> {
        let (outbox, sent) = mpsc::channel(16);
        outbox.send(FromSender::Hello(Standing::default()).into()).await?;
        let mut client = ExchangeClient::new(node.as_peer(peer).await?);
        let mut inbox = client.deliver(ReceiverStream::new(sent)).await?.into_inner();
        let first = inbox.message().await?.ok_or_else(|| anyhow::anyhow!("no resume"))?;
        let FromReceiver::Resume(resume) = FromReceiver::try_from(first)? else {
            anyhow::bail!("a receipt before any batch")
        };
        let start = chain_start(&peer.authority, &node.authority);
        Ok(Self {
            me: peer.authority.clone(),
            them: node.authority.clone(),
            key: read_signing_key(&Layout::new(&peer.home).statement_key())?,
            nonce: resume.nonce,
            seq: resume.seq,
            chain: resume.chain.unwrap_or(start),
            outbox,
            inbox,
        })
    }

    fn item(&mut self, statement: Statement) -> Item {
        let digest = Digest::of(statement.text.as_bytes());
        self.seq += 1;
        self.chain = chain_next(&self.chain, self.seq, &digest);
        Item { seq: self.seq, digest, statement }
    }

    fn head(&self) -> Head {
        Head {
            iss: self.me.clone(),
            aud: self.them.clone(),
            epoch: 1,
            seq: self.seq,
            chain: self.chain,
            iat: Clock::system().now().seconds(),
            nonce: self.nonce,
            caught_up: true,
            snapshot_complete: true,
            log_size: 1,
            log_root: Digest::of(b"log"),
        }
    }

    /// Sends a batch and gives the receipt, or the reason for which the stream ended.
    async fn send(&mut self, items: Vec<Item>, head: Head) -> Result<Receipt, String> {
        let head = jose::sign(HEAD_TYP, &head, &self.key).expect("signed");
        self.send_signed(items, head).await
    }

    async fn send_signed(&mut self, items: Vec<Item>, head: String) -> Result<Receipt, String> {
        let _ = self
            .outbox
            .send(FromSender::Batch(Batch { items, head, acknowledged: 0 }).into())
            .await;
        self.answer().await
    }

    async fn answer(&mut self) -> Result<Receipt, String> {
        let message = self.inbox.message().await.map_err(|status| reason(&status))?;
        let message = message.ok_or("the stream ended")?;
        match FromReceiver::try_from(message).map_err(|error| error.to_string())? {
            FromReceiver::Receipt(jws, nonce) => {
                self.nonce = nonce;
                jose::peek(RECEIPT_TYP, &jws).map_err(|error| error.to_string())
            }
            FromReceiver::Resume(_) => Err("a second resume".to_owned()),
        }
    }
}

fn reason(status: &Status) -> String {
    let reason = status.get_details_error_info().map(|info| info.reason);
    reason.unwrap_or_else(|| format!("{:?}", status.code()))
}

/// An alert signed by this key.
fn alert(id: &AlertId, key: &SigningKey, seed: u64) -> alert::View {
    let draft = Samples::new(seed).next().expect("a sample").to_string();
    let draft = Draft::parse(&draft, Clock::system().now()).expect("a draft");
    let now = Clock::system().now();
    alert::issue(&draft, id.clone(), 1, None, now, key, &Entropy::os()).expect("issued")
}

async fn pair() -> anyhow::Result<Federation> {
    let mut federation = Federation::start(&["dk.politi", "fr.police-judiciaire"]).await?;
    federation.settle().await?;
    federation.nodes[1].stop().await?;
    Ok(federation)
}

fn fresh_id(authority: &AuthorityId) -> AlertId {
    AlertId::random(authority, 2026, &Entropy::os())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_statement_is_refused_by_itself_and_the_stream_goes_on() -> anyhow::Result<()> {
    let federation = pair().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let mut stream = Hostile::open(fr, dk).await?;
    let own = alert(&fresh_id(&fr.authority), &stream.key, 1);
    let others = alert(&fresh_id(&dk.authority), &stream.key, 2);
    let third = alert(&fresh_id(&"pl.policja".parse()?), &stream.key, 3);
    let tampered = own.token.replacen('~', "~WyJzYWx0IiwidXJnZW5jeSIsInVyZ2VudCJd~", 1);
    let forged = alert(&fresh_id(&fr.authority), &SigningKey::generate(&Entropy::os()), 4);
    let statements = [
        (tampered, Some("orphan_disclosure")),
        (others.token, Some("not_the_issuer")),
        (third.token, Some("not_the_issuer")),
        (forged.token, Some("unknown_key")),
        ("not a token".to_owned(), Some("malformed_token")),
        (own.token.clone(), None),
    ];
    let items: Vec<Item> = statements
        .iter()
        .map(|(text, _)| stream.item(Statement::new(Kind::Alert, text.clone())))
        .collect();
    let head = stream.head();
    let receipt = stream.send(items, head).await.map_err(anyhow::Error::msg)?;
    for (place, (_, expected)) in (1..).zip(&statements) {
        let refused = receipt.refused.iter().find(|refused| refused.seq == place);
        match expected {
            None => assert!(refused.is_none(), "{refused:?}"),
            Some(_) => assert!(refused.is_some(), "place {place} was taken"),
        }
        if let (Some(expected), Some(refused)) = (expected, refused) {
            let known = [*expected, "unknown_key", "not_the_issuer"];
            assert!(known.contains(&refused.reason.as_str()), "{place}: {}", refused.reason);
        }
    }
    assert!(dk.node().store.get::<Copies>(&own.head.id)?.is_some(), "the sound one is kept");
    assert_eq!(dk.node().store.count::<Copies>(), 1);
    // The same id and version once more, with another content: refused, parked, and an alarm.
    let twin = alert(&own.head.id, &stream.key, 9);
    let item = stream.item(Statement::new(Kind::Alert, twin.token));
    let head = stream.head();
    let receipt = stream.send(vec![item], head).await.map_err(anyhow::Error::msg)?;
    assert_eq!(receipt.refused.last().map(|r| r.reason.as_str()), Some("equivocation"));
    let parked =
        dk.node().store.get::<ParkedIn>(&(fr.authority.clone(), own.head.id.clone().into()))?;
    assert!(parked.is_some());
    let leaves = dk.node().store.leaves(0, 10_000)?;
    let alarm =
        |leaf: &[u8]| Entry::parse(leaf).is_ok_and(|entry| entry.kind == "alarm.equivocation");
    assert!(leaves.iter().any(|(_, leaf)| alarm(leaf)), "the auditor sees it");
    drop(stream);
    federation.stop().await
}

/// What breaks the stream itself ends it, and keeps nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_false_stream_ends_with_a_reason_and_keeps_nothing() -> anyhow::Result<()> {
    let federation = pair().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    type Change = fn(&mut Hostile, &mut Vec<Item>, &mut Head);
    let changes: [(&str, Change); 8] = [
        ("the chain differs", |_, _, head| head.chain = Digest::of(b"other")),
        ("a gap in the places", |_, items, head| {
            items[0].seq += 1;
            head.seq += 1;
        }),
        ("for another audience", |_, _, head| head.aud = "de.bka".parse().expect("a name")),
        ("from another issuer", |_, _, head| head.iss = "de.bka".parse().expect("a name")),
        ("too many items", |_, items, _| {
            let item = items[0].clone();
            *items = vec![item; 65];
        }),
        ("items out of order", |stream, items, head| {
            let second = stream.item(Statement::new(Kind::Retraction, "x".to_owned()));
            items.insert(0, second);
            head.seq = stream.seq;
            head.chain = stream.chain;
        }),
        ("an epoch that is over", |_, _, head| head.epoch = 0),
        ("fewer items than places", |_, items, _| items.clear()),
    ];
    for (name, change) in changes {
        let mut stream = Hostile::open(fr, dk).await?;
        let view = alert(&fresh_id(&fr.authority), &stream.key, 1);
        let mut items = vec![stream.item(Statement::new(Kind::Alert, view.token))];
        let mut head = stream.head();
        change(&mut stream, &mut items, &mut head);
        let refused = stream.send(items, head).await.err();
        assert!(refused.is_some(), "{name} was taken");
        assert_eq!(dk.node().store.count::<Copies>(), 0, "{name}");
    }
    federation.stop().await
}

/// A head that another key signed, and one that is no head.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_the_peer_did_not_sign_ends_the_stream() -> anyhow::Result<()> {
    let federation = pair().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    for head in [None, Some("no head".to_owned())] {
        let mut stream = Hostile::open(fr, dk).await?;
        let view = alert(&fresh_id(&fr.authority), &stream.key, 1);
        let items = vec![stream.item(Statement::new(Kind::Alert, view.token))];
        let other = SigningKey::generate(&Entropy::os());
        let head =
            head.unwrap_or_else(|| jose::sign(HEAD_TYP, &stream.head(), &other).expect("signed"));
        assert!(stream.send_signed(items, head).await.is_err());
    }
    assert_eq!(dk.node().store.count::<Copies>(), 0);
    federation.stop().await
}

/// Before a hello, without one, and two of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_does_not_begin_with_one_hello_ends() -> anyhow::Result<()> {
    let federation = pair().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    for messages in [
        vec![],
        vec![
            FromSender::Hello(Standing::default()).into(),
            FromSender::Hello(Standing::default()).into(),
        ],
        vec![proto::FromSender::default()],
    ] {
        let mut client = ExchangeClient::new(dk.as_peer(fr).await?);
        let mut answers = client.deliver(tokio_stream::iter(messages)).await?.into_inner();
        let mut ended = None;
        while let Ok(Some(_)) | Err(_) = {
            let message = answers.message().await;
            if let Err(status) = &message {
                ended = Some(reason(status));
            }
            message
        } {
            if ended.is_some() {
                break;
            }
        }
        if let Some(ended) = ended {
            assert!(["hello_repeated", "malformed_message"].contains(&ended.as_str()), "{ended}");
        }
    }
    assert_eq!(dk.node().store.count::<Copies>(), 0);
    federation.stop().await
}

/// The same batch once more, after it was acknowledged: nothing happens twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_batch_changes_nothing() -> anyhow::Result<()> {
    let federation = pair().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let mut stream = Hostile::open(fr, dk).await?;
    let view = alert(&fresh_id(&fr.authority), &stream.key, 1);
    let items = vec![stream.item(Statement::new(Kind::Alert, view.token))];
    let head = stream.head();
    stream.send(items.clone(), head.clone()).await.map_err(anyhow::Error::msg)?;
    let before = dk.node().store.log().size();
    assert!(stream.send(items, head).await.is_err(), "the place was taken already");
    assert_eq!(dk.node().store.count::<Copies>(), 1);
    assert_eq!(dk.node().store.log().size(), before, "nothing was committed");
    drop(stream);
    federation.stop().await
}

/// A head that does not answer our nonce renews no lease.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_nonce_confirms_nothing() -> anyhow::Result<()> {
    let federation = pair().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let confirmed = || dk.node().streams.status(&fr.authority).confirmed_at;
    let mut stream = Hostile::open(fr, dk).await?;
    let before = confirmed();
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let mut head = stream.head();
    head.nonce = Nonce([7; 16]);
    let _ = stream.send(vec![], head).await;
    assert_eq!(confirmed(), before);
    let mut stream = Hostile::open(fr, dk).await?;
    let head = stream.head();
    stream.send(vec![], head).await.map_err(anyhow::Error::msg)?;
    assert!(confirmed() > before, "and the right one does");
    drop(stream);
    federation.stop().await
}

/// Refuses every call with the same words.
struct Refuses(&'static str);

type Answers<T> = ReceiverStream<Result<T, Status>>;

#[tonic::async_trait]
impl exchange_server::Exchange for Refuses {
    type DeliverStream = Answers<proto::FromReceiver>;
    type RecoverStream = Answers<proto::RecoverResponse>;

    async fn deliver(
        &self,
        _: Request<Streaming<proto::FromSender>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        Err(Status::unavailable(self.0))
    }

    async fn describe(
        &self,
        _: Request<proto::DescribeRequest>,
    ) -> Result<Response<proto::DescribeResponse>, Status> {
        Err(Status::unavailable(self.0))
    }

    async fn recover(
        &self,
        _: Request<proto::RecoverRequest>,
    ) -> Result<Response<Self::RecoverStream>, Status> {
        Err(Status::unavailable(self.0))
    }
}

/// Ends our line and begins one of its own, in red, and from right to left; then goes on for 4 kB.
const FORGERY: &str =
    "\r\n1970-01-01T00:00:00Z ERROR forged \u{1b}[31mred \u{202e}dekcart \u{200b}";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_peer_says_is_one_bounded_line_in_log_and_status() -> anyhow::Result<()> {
    let mut federation = Federation::start(&["fr.police-judiciaire"]).await?;
    let mut dk =
        Process::prepare(federation.folder(), "dk.politi", env!("CARGO_BIN_EXE_simulate"))?;
    let fr = &mut federation.nodes[0];
    fr.admit(&dk.descriptor()?).await?;
    let long = format!("{FORGERY}{}", "x".repeat(4000));
    let trigger = fr.stand_in(Refuses(long.leak())).await?;
    dk.start().await?;
    dk.admit(&fr.descriptor()?).await?;
    let mut desk = DeskClient::new(dk.desk("officer").await?);
    let asking = async {
        loop {
            let status = desk.status(StatusRequest {}).await?.into_inner();
            match status.peers.into_iter().find(|peer| peer.problem.contains("forged")) {
                Some(peer) => return anyhow::Ok(peer.problem),
                None => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            }
        }
    };
    let problem = tokio::time::timeout(PATIENCE, asking).await??;
    let hidden = |c: char| c.is_control() || matches!(c, '\u{202e}' | '\u{200b}');
    assert!(!problem.contains(hidden), "{problem:?}");
    assert!(problem.chars().count() < 300, "{} characters", problem.chars().count());
    assert!(dk.terminate().await?);
    let log = std::fs::read_to_string(dk.log())?;
    let told: Vec<&str> = log.lines().filter(|line| line.contains("forged")).collect();
    assert!(!told.is_empty(), "{log}");
    for line in told {
        assert!(line.contains("the stream to the peer ended"), "a forged line: {line:?}");
        assert!(!line.contains(hidden), "{line:?}");
        assert!(line.chars().count() < 500, "{} characters", line.chars().count());
    }
    drop(trigger);
    federation.stop().await
}

/// Begins to hand back what it holds, and says nothing.
struct Silent;

#[tonic::async_trait]
impl exchange_server::Exchange for Silent {
    type DeliverStream = Answers<proto::FromReceiver>;
    type RecoverStream = Answers<proto::RecoverResponse>;

    async fn deliver(
        &self,
        _: Request<Streaming<proto::FromSender>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        Err(Status::unavailable(""))
    }

    async fn describe(
        &self,
        _: Request<proto::DescribeRequest>,
    ) -> Result<Response<proto::DescribeResponse>, Status> {
        Err(Status::unavailable(""))
    }

    async fn recover(
        &self,
        _: Request<proto::RecoverRequest>,
    ) -> Result<Response<Self::RecoverStream>, Status> {
        let (says, nothing) = mpsc::channel(1);
        tokio::spawn(async move { says.closed().await });
        Ok(Response::new(ReceiverStream::new(nothing)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_never_ends_keeps_no_other_from_giving_statements_back() -> anyhow::Result<()> {
    let names = ["dk.politi", "be.silent", "fr.silent", "nl.politie"];
    let mut federation = Federation::start(&names).await?;
    let mut triggers = Vec::new();
    for silent in &mut federation.nodes[1..3] {
        triggers.push(silent.stand_in(Silent).await?);
    }
    let recovering = entente_node::outbound::recover(federation.nodes[0].node());
    let recovered = tokio::time::timeout(PATIENCE, recovering).await?;
    let good = &federation.nodes[3].authority;
    assert!(recovered.asked.contains(good), "{recovered:?}");
    assert_eq!(recovered.failed.len(), 2, "{recovered:?}");
    assert!(recovered.failed.iter().all(|(_, why)| why.contains("said nothing")), "{recovered:?}");
    drop(triggers);
    federation.stop().await
}
