//! Who is refused learns that, and nothing else; and each time the same.

use std::collections::BTreeSet;
use std::fs;

use anyhow::Context;
use entente_node::admin;
use entente_node::home::Layout;
use entente_node::id::Clock;
use entente_node::outbound::connect;
use entente_node::outbound::test_peer;
use entente_node::pki::Authority;
use entente_node::roles::Role;
use entente_node::tls::{Target, TlsIdentity, read_pem_certificates};
use entente_node::trust::PeerState;
use entente_tests::federation::{Federation, TestNode, person, until};
use entente_tests::processes::Process;
use rcgen::{ExtendedKeyUsagePurpose, Issuer, KeyPair};
use rustls::AlertDescription;
use rustls::pki_types::PrivateKeyDer;

use crate::client::{Card, DAY_S, pair, refusal};
use crate::profile::{days, issuer, leaf};
use crate::roots::{IN_FORCE, root};

use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};

const PROGRAM: &str = env!("CARGO_BIN_EXE_simulate");

/// A node of this name, which a CA of this name and key vouches for.
fn node(name: &str, ca: &str, key: &KeyPair) -> anyhow::Result<Card> {
    let (params, _) = root(ca, key, IN_FORCE)?;
    let leaf = leaf(&format!("entente://{name}"), &[ServerAuth, ClientAuth])?;
    Card::signed(&Issuer::from_params(&params, key), &leaf)
}

/// Another's certificate, without its key.
fn held_up(card: &Card) -> anyhow::Result<Card> {
    let key = PrivateKeyDer::try_from(KeyPair::generate()?.serialize_der());
    let key = key.map_err(anyhow::Error::msg)?;
    Ok(Card { certificate: card.certificate.clone(), chain: vec![], key })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_alert_does_not_tell_who_the_peers_are() -> anyhow::Result<()> {
    let federation = pair().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let door = dk.running().exchange;
    let key = KeyPair::generate()?;
    let now = Clock::system().now();
    for (name, state) in [("se.polisen", PeerState::Suspended), ("no.kripos", PeerState::Removed)] {
        let (_, pem) = root("node CA", &key, IN_FORCE)?;
        let peer = dk.invent(name, vec![pem], "localhost:9", now).await?;
        admin::change_peer(dk.node(), &peer, state, "incident", &person(Role::Administrator))
            .await?;
    }
    let theirs = issuer(&Layout::new(&fr.home).roots(), &fr.home.join("tls/ca.key"))?;
    let mut ended = leaf(&fr.authority.uri(), &[ServerAuth, ClientAuth])?;
    ended.not_after = ended.not_before + days(1) - time::Duration::MINUTE;
    let ca_of_fr = format!("{} node CA", fr.authority);
    let stranger = KeyPair::generate()?;
    let cases = [
        ("unknown", node("fi.krp", "node CA", &key)?),
        ("suspended", node("se.polisen", "node CA", &key)?),
        ("removed", node("no.kripos", "node CA", &key)?),
        ("active, of another CA", node(fr.authority.as_str(), "node CA", &stranger)?),
        ("active, of a CA of its name", node(fr.authority.as_str(), &ca_of_fr, &stranger)?),
        ("active, ended", Card::signed(&theirs, &ended)?),
        ("active, without its key", held_up(&Card::node(fr)?)?),
        ("unknown, without its key", held_up(&node("fi.krp", "node CA", &key)?)?),
        ("a person", Card::user(dk, "officer")?),
    ];
    for (case, card) in cases {
        let alert = refusal(&card.config()?, door).await.context(case)?;
        assert_eq!(alert, AlertDescription::CertificateUnknown, "{case}");
    }
    let at_desk = [
        Card::node(fr)?,
        Card::user(fr, "officer")?,
        held_up(&Card::user(dk, "officer")?)?,
        node(dk.authority.as_str(), "node CA", &stranger)?,
    ];
    for card in at_desk {
        let alert = refusal(&card.config()?, dk.running().desk).await?;
        assert_eq!(alert, AlertDescription::CertificateUnknown);
    }
    federation.stop().await
}

/// What the node wrote about refused handshakes.
fn lines(node: &Process) -> anyhow::Result<Vec<String>> {
    let log = fs::read_to_string(node.log())?;
    Ok(log
        .lines()
        .filter(|line| line.contains("handshakes were refused"))
        .map(str::to_owned)
        .collect())
}

/// A node as a process, since its own log is read.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_who_was_refused_and_what_to_do() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut dk = Process::prepare(folder.path(), "dk.politi", PROGRAM)?;
    let [fr, se] = ["fr.police-judiciaire", "se.polisen"]
        .map(|name| Process::prepare(folder.path(), name, PROGRAM));
    let (fr, se) = (fr?, se?);
    dk.start().await?;
    dk.import(&fr.descriptor()?).await?;
    dk.admit(&se.descriptor()?).await?;
    let card = |process: &Process| {
        let layout = Layout::new(&process.home);
        Card::read(&layout.certificate(), &layout.certificate_key())
    };
    let theirs = issuer(&Layout::new(&se.home).roots(), &se.home.join("tls/ca.key"))?;
    let mut ended = leaf("entente://se.polisen", &[ServerAuth, ClientAuth])?;
    ended.not_after = ended.not_before + days(1) - time::Duration::MINUTE;
    let day = Clock::system().now().plus(-60).date();
    let key = KeyPair::generate()?;
    let [desk, exchange] = [dk.desk, dk.exchange];
    let stranger = Card::read(
        &Layout::new(&se.home).users().join("officer.pem"),
        &Layout::new(&se.home).users().join("officer.key"),
    )?;
    for (door, card, expected) in [
        (desk, card(&fr)?, "the node of fr.police-judiciaire: nodes call the exchange door".into()),
        (desk, stranger, "a person of se.polisen: only people of dk.politi come in here".into()),
        (exchange, card(&fr)?, "fr.police-judiciaire is pending here: approve it".to_owned()),
        (
            exchange,
            node("fi.krp", "CA", &key)?,
            "fi.krp is unknown here: import its descriptor".to_owned(),
        ),
        (exchange, Card::signed(&theirs, &ended)?, format!("it ended on {day}")),
        (exchange, node("se.polisen", "CA", &key)?, "no root of its descriptor vouches".to_owned()),
    ] {
        refusal(&card.config()?, door).await.context(expected.clone())?;
        until("the line", || {
            Ok(lines(&dk)?.iter().any(|line| line.contains(&expected)).then_some(()))
        })
        .await
        .with_context(|| format!("{expected}: {:?}", lines(&dk)))?;
    }
    // Refused a hundred times in a second or two: counted, in few lines.
    let before = lines(&dk)?.len();
    let config = node("fi.krp", "CA", &key)?.config()?;
    for _ in 0..100 {
        refusal(&config, dk.exchange).await?;
    }
    until("the count", || {
        let counted: u64 = lines(&dk)?.iter().skip(before).filter_map(|line| count(line)).sum();
        Ok((counted >= 100).then_some(()))
    })
    .await?;
    assert!(lines(&dk)?.len() - before < 50, "{:?}", lines(&dk)?);
    assert!(dk.terminate().await?);
    Ok(())
}

/// `count=…` of a line.
fn count(line: &str) -> Option<u64> {
    line.split("count=").nth(1)?.split(' ').next()?.parse().ok()
}

/// The sentence that a refused node reads.
async fn refused_at(here: &TestNode, there: &TestNode) -> anyhow::Result<String> {
    let layout = Layout::new(&here.home);
    let now = Clock::system().now();
    let target = Target {
        authority: there.authority.clone(),
        roots: read_pem_certificates(&Layout::new(&there.home).roots())?,
        own: TlsIdentity::read(&layout.certificate(), &layout.certificate_key(), now)?,
    };
    let door = there.running().exchange.to_string();
    connect(&door, &target).await.err().context("let in all the same")
}

const SENTENCE: &str = "fr.police-judiciaire refused this node's certificate: ask its \
                        administrator whether dk.politi is approved there and has this \
                        certificate's root";

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_peer_reads_the_same_sentence_each_time() -> anyhow::Result<()> {
    let ours = Federation::start(&["dk.politi"]).await?;
    let theirs = Federation::start(&["fr.police-judiciaire"]).await?;
    let (dk, fr) = (&ours.nodes[0], &theirs.nodes[0]);
    dk.trust(fr).await?;
    let mut read = BTreeSet::new();
    for _ in 0..40 {
        read.insert(refused_at(dk, fr).await?);
    }
    assert_eq!(read.iter().map(String::as_str).collect::<Vec<_>>(), [SENTENCE]);
    let mut found = BTreeSet::new();
    for _ in 0..10 {
        let steps = test_peer(dk.node(), &fr.authority).await;
        let last = steps.last().context("a step")?.clone();
        assert_eq!((last.name, last.ok), ("their trust", false), "{steps:?}");
        found.insert(last.found);
    }
    assert!(found.len() == 1 && found.iter().all(|text| text.contains(SENTENCE)), "{found:?}");
    let mut problems = BTreeSet::new();
    for _ in 0..30 {
        dk.node().streams.live(&fr.authority).status().problem = None;
        let problem = until("the stream to be refused again", || {
            dk.wake();
            Ok(dk.node().streams.status(&fr.authority).problem)
        });
        problems.insert(problem.await?);
    }
    assert!(
        problems.len() == 1 && problems.iter().all(|text| text.contains(SENTENCE)),
        "{problems:?}"
    );
    ours.stop().await?;
    theirs.stop().await
}

/// A person whose certificate the own node does not take.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_person_reads_whom_to_ask() -> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi"]).await?;
    let dk = &federation.nodes[0];
    let other = Authority::new("another user CA", Clock::system().now().plus(-DAY_S))?;
    let issued = other.user(&dk.authority, "officer", Clock::system().now())?;
    entente_node::pki::write_issued(&dk.home, "forged", &issued)?;
    let (pem, key) = (dk.home.join("forged.pem"), dk.home.join("forged.key"));
    for _ in 0..5 {
        let refused = dk.connect(&pem, &key, dk.running().desk).await;
        let told = refused.err().context("let in all the same")?.to_string();
        assert!(told.starts_with("the node of dk.politi refused this certificate"), "{told}");
    }
    federation.stop().await
}
