//! What two nodes of the version before said to each other is taken by this version, at either end,
//! and this version says nothing that they would not take.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, ensure};
use entente_node::admin::Described;
use entente_node::exchange::{
    self, HEAD_TYP, Head, PROTOCOLS, RECEIPT_TYP, ReceiveError, Reception, RecoveryCursor, Resume,
    Sending,
};
use entente_node::id::{AuthorityId, Clock, Timestamp, Versions};
use entente_node::jose;
use entente_node::node::SharedNode;
use entente_node::store::StreamsOut;
use entente_node::wire::exchange::{FromReceiver, FromSender};
use entente_proto::exchange as proto;
use entente_tests::kept::{self, as_it_was, listed, open, recorded, unpacked, upgrade};
use prost::Message;
use serde_json::Value;
use tempfile::TempDir;

/// The version before this one: it speaks protocol 1.
const BEFORE: &str = "cdf025e";

/// What was recorded, beside the homes as they were before.
struct Session {
    folder: TempDir,
    /// When it ended.
    clock: Clock,
    sent: Vec<FromSender>,
    received: Vec<FromReceiver>,
}

impl Session {
    fn read() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        unpacked(&format!("home-{BEFORE}.tgz"), folder.path())?;
        unpacked(&format!("wire-{BEFORE}.tgz"), folder.path())?;
        let wire = folder.path().join("wire");
        let sent = recorded(&wire.join("sent"))?.into_iter().map(|bytes| {
            let message = proto::FromSender::decode(bytes.as_slice())?;
            assert_eq!(message.encode_to_vec(), bytes, "nothing of it is unknown here");
            Ok(FromSender::try_from(message)?)
        });
        let sent = sent.collect::<anyhow::Result<Vec<_>>>()?;
        let received = recorded(&wire.join("received"))?.into_iter().map(|bytes| {
            let message = proto::FromReceiver::decode(bytes.as_slice())?;
            assert_eq!(message.encode_to_vec(), bytes, "nothing of it is unknown here");
            Ok(FromReceiver::try_from(message)?)
        });
        let received = received.collect::<anyhow::Result<Vec<_>>>()?;
        let last = sent.iter().rev().find_map(head_of).context("a head")?;
        let clock = Clock::fixed(Timestamp::from_seconds(last.iat + 1));
        Ok(Self { folder, clock, sent, received })
    }

    /// The node of a home below the folder, upgraded.
    async fn node(&self, home: &str) -> anyhow::Result<SharedNode> {
        let (home, clock) = (self.folder.path().join(home), self.clock.clone());
        let opening = tokio::task::spawn_blocking(move || {
            upgrade(&home, &clock)?;
            open(&home, &clock)
        });
        opening.await?
    }

    fn resume(&self) -> anyhow::Result<Resume> {
        match self.received.first() {
            Some(FromReceiver::Resume(resume)) => Ok(resume.clone()),
            _ => anyhow::bail!("it begins with a resume"),
        }
    }

    /// The receipts, as signed, with the nonces that came with them.
    fn receipts(&self) -> impl Iterator<Item = (&str, exchange::Nonce)> {
        self.received.iter().filter_map(|message| match message {
            FromReceiver::Receipt(receipt, nonce) => Some((receipt.as_str(), *nonce)),
            FromReceiver::Resume(_) => None,
        })
    }

    fn list(&self) -> anyhow::Result<Vec<kept::Line>> {
        as_it_was(&self.folder.path().join("wire/fr.list.json"))
    }

    fn recovered(&self) -> anyhow::Result<Vec<String>> {
        let messages = recorded(&self.folder.path().join("wire/recovered"))?;
        let statement =
            |bytes: Vec<u8>| Ok(proto::RecoverResponse::decode(bytes.as_slice())?.statement);
        messages.into_iter().map(statement).collect()
    }
}

fn head_of(message: &FromSender) -> Option<Head> {
    let FromSender::Batch(batch) = message else { return None };
    jose::peek(HEAD_TYP, &batch.head).ok()
}

fn dk() -> AuthorityId {
    "dk.politi".parse().expect("a name")
}

fn fr() -> AuthorityId {
    "fr.pj".parse().expect("a name")
}

/// What a JWS says, without when it was signed.
fn claims(typ: &str, jws: &str) -> anyhow::Result<Value> {
    let mut claims: Value = jose::peek(typ, jws)?;
    claims.as_object_mut().context("claims")?.remove("iat").context("iat")?;
    Ok(claims)
}

async fn greeted(session: &Session, node: &SharedNode) -> anyhow::Result<(Reception, Resume)> {
    let Some(FromSender::Hello(standing)) = session.sent.first() else {
        anyhow::bail!("it begins with a hello")
    };
    assert_eq!(standing.protocols, Versions::new(1, 1));
    Ok(exchange::hello(node, &dk(), standing).await?)
}

/// Views, an update, a withdrawal and retractions.
#[tokio::test(flavor = "multi_thread")]
async fn a_sender_of_the_version_before_is_received() -> anyhow::Result<()> {
    let session = Session::read()?;
    let node = session.node("old/fr").await?;
    let (mut reception, resume) = greeted(&session, &node).await?;
    let was = session.resume()?;
    assert_eq!(resume.protocol, 1);
    assert_eq!((resume.epoch, resume.seq, resume.chain), (was.epoch, was.seq, was.chain));
    assert_eq!((resume.head, resume.log), (was.head, was.log));
    let mut receipts = session.receipts();
    for message in session.sent.iter().skip(1) {
        let FromSender::Batch(batch) = message else { anyhow::bail!("batches follow") };
        let (receipt, _) = reception.receive(&node, batch.clone()).await?;
        // The same to the last field: a sender of that version refuses one that it does not know.
        let (was, _) = receipts.next().context("it was answered")?;
        assert_eq!(claims(RECEIPT_TYP, &receipt)?, claims(RECEIPT_TYP, was)?);
    }
    assert_eq!(listed(&node).await?, session.list()?);
    // And what it then hands back is what the version before handed back.
    let (mut handed, mut after) = (Vec::new(), Some(RecoveryCursor::Alerts(None)));
    while let Some(from) = after {
        let page = exchange::statements_of(&node, &dk(), &from, 1)?;
        handed.extend(page.0);
        after = page.1;
    }
    assert_eq!(handed, session.recovered()?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_with_a_field_that_was_not_agreed_upon_is_refused() -> anyhow::Result<()> {
    let session = Session::read()?;
    let node = session.node("old/fr").await?;
    let (mut reception, _) = greeted(&session, &node).await?;
    let Some(FromSender::Batch(batch)) = session.sent.get(1) else { anyhow::bail!("a batch") };
    let layout = entente_node::home::Layout::new(&session.folder.path().join("old/dk"));
    let key = entente_node::pki::read_signing_key(&layout.statement_key())?;
    let mut said: Value = jose::peek(HEAD_TYP, &batch.head)?;
    said["protocol"] = 1.into();
    let mut forged = batch.clone();
    forged.head = jose::sign(HEAD_TYP, &said, &key).expect("signed");
    let refused = reception.receive(&node, forged).await;
    ensure!(matches!(refused, Err(ReceiveError::Head(_))), "it is refused");
    reception.receive(&node, batch.clone()).await?;
    Ok(())
}

/// The sender had offered everything and got no receipt: it sends the same bytes again.
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_of_the_version_before_is_sent_to() -> anyhow::Result<()> {
    let session = Session::read()?;
    let node = session.node("wire/dk").await?;
    let hello = FromSender::Hello(exchange::standing_of_log(&node)?);
    let hello = proto::FromSender::from(hello).message;
    let Some(proto::from_sender::Message::Hello(hello)) = hello else { anyhow::bail!("a hello") };
    assert_eq!(hello.protocol, 1, "a receiver of that version takes no other");
    let resume = session.resume()?;
    assert_eq!(resume.protocol, 1, "it names none");
    let sending = Sending::resume(&node, &fr(), &resume).await?;
    let mut items = Vec::new();
    let mut wanted = Vec::new();
    for message in &session.sent {
        let FromSender::Batch(batch) = message else { continue };
        wanted.extend(batch.items.iter().map(|item| (item.seq, item.digest, text(item))));
    }
    while items.len() < wanted.len() {
        let batch = sending.next(&node, false).await?.context("what is open goes again")?;
        let said: Value = jose::peek(HEAD_TYP, &batch.head)?;
        assert_eq!(fields(&said), fields(&first_head(&session)?), "no field that it doesn't know");
        items.extend(batch.items.iter().map(|item| (item.seq, item.digest, text(item))));
    }
    assert_eq!(items, wanted);
    for (receipt, nonce) in session.receipts() {
        sending.take(&node, receipt, nonce).await?;
    }
    let stream = node.store.get::<StreamsOut>(&fr())?.context("a stream")?;
    assert_eq!(stream.acked, wanted.last().map(|(seq, ..)| *seq).unwrap_or_default());
    Ok(())
}

fn text(item: &exchange::Item) -> String {
    item.statement.text.clone()
}

fn first_head(session: &Session) -> anyhow::Result<Value> {
    let batch = session.sent.iter().find_map(|message| match message {
        FromSender::Batch(batch) => Some(&batch.head),
        FromSender::Hello(_) => None,
    });
    Ok(jose::peek(HEAD_TYP, batch.context("a head")?)?)
}

fn fields(claims: &Value) -> BTreeSet<String> {
    claims.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

/// By a sender that was restored from a backup of before the session.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_version_before_hands_back_is_recovered() -> anyhow::Result<()> {
    let session = Session::read()?;
    let node = session.node("old/dk").await?;
    let mut new = 0;
    for statement in session.recovered()? {
        new += u32::from(exchange::keep_recovered(&node, &fr(), &statement).await?);
    }
    assert!(new >= 4, "{new} were new");
    let own: BTreeSet<_> =
        listed(&node).await?.into_iter().map(|(id, version, ..)| (id, version)).collect();
    let theirs = session.list()?.into_iter().map(|(id, version, ..)| (id, version));
    assert!(theirs.clone().count() > 4 && theirs.clone().all(|held| own.contains(&held)));
    Ok(())
}

#[test]
fn what_the_version_before_says_of_itself_is_understood() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    unpacked(&format!("wire-{BEFORE}.tgz"), folder.path())?;
    let messages = recorded(&Path::new(folder.path()).join("wire/described"))?;
    let described = proto::DescribeResponse::decode(messages[0].as_slice())?;
    let described = Described::from(described);
    assert_eq!(PROTOCOLS.common(described.protocols), Some(1));
    Ok(())
}
