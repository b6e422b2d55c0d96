//! The way to a peer: woken by its calls, over any of its addresses, and each fault on the way by
//! its name.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use entente_node::admin::{self, TestStep};
use entente_node::home::Layout;
use entente_node::id::{AlertId, AuthorityId, Clock, Entropy};
use entente_node::jose::SigningKey;
use entente_node::outbound::test_peer;
use entente_node::pki::Authority;
use entente_node::roles::Role;
use entente_node::sample::Samples;
use entente_node::trust::{Draft, PeerState, SignedDescriptor};
use entente_proto::desk::desk_client::DeskClient;
use entente_proto::desk::{PeerStatus, StatusRequest, search_response};
use entente_tests::federation::{
    ALL, Federation, TestNode, free_port, person, search_by_passport, until,
};
use entente_tests::proxy::Fault;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

/// In which a back-off grows to waits of several seconds.
const OUTAGE: Duration = Duration::from_secs(9);

/// In which streams are to stand once both sides can have them.
const PROMPT: Duration = Duration::from_millis(2000);

const NAMES: [&str; 5] =
    ["dk.politi", "fr.police-judiciaire", "de.bka", "pl.policja", "se.polisen"];

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_starts_at_once_after_the_second_approval() -> anyhow::Result<()> {
    let ours = Federation::start(&NAMES[..1]).await?;
    let mut theirs = Vec::new();
    for name in &NAMES[1..] {
        theirs.push(Federation::start(&[name]).await?);
    }
    let dk = &ours.nodes[0];
    let others: Vec<&TestNode> = theirs.iter().map(|federation| &federation.nodes[0]).collect();
    for other in &others {
        dk.trust(other).await?;
    }
    tokio::time::sleep(OUTAGE).await;
    for other in &others {
        assert!(!dk.node().streams.status(&other.authority).sending);
        let approved = Instant::now();
        other.trust(dk).await?;
        until("the stream", || {
            Ok(dk.node().streams.status(&other.authority).sending.then_some(()))
        })
        .await?;
        assert!(approved.elapsed() < PROMPT, "{}: {:?}", other.authority, approved.elapsed());
    }
    ours.stop().await?;
    for federation in theirs {
        federation.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_outage_of_one_node_its_peers_alerts_arrive_at_once() -> anyhow::Result<()> {
    let mut federation = Federation::start(&NAMES).await?;
    for node in &federation.nodes {
        node.apply(ALL).await?;
    }
    federation.settle().await?;
    federation.nodes[0].stop().await?;
    let mut ids = Vec::new();
    for (seed, node) in (1..).zip(&federation.nodes[1..]) {
        ids.push(node.create(&Samples::new(seed).next().expect("a sample")).await?);
    }
    tokio::time::sleep(OUTAGE).await;
    federation.nodes[0].start().await?;
    let back = Instant::now();
    let hub = &federation.nodes[0];
    until("the alerts", || {
        let held: anyhow::Result<Vec<bool>> = ids.iter().map(|id| hub.holds(id)).collect();
        Ok(held?.into_iter().all(|held| held).then_some(()))
    })
    .await?;
    assert!(back.elapsed() < PROMPT, "{:?}", back.elapsed());
    federation.stop().await
}

/// What stands in a peer's place at an endpoint.
async fn service(says: &'static [u8], reads_on: bool) -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = [0; 512];
                let _ = stream.read(&mut asked).await;
                let _ = stream.write_all(says).await;
                while reads_on && stream.read(&mut asked).await.is_ok_and(|read| read > 0) {}
            });
        }
    });
    Ok(address)
}

/// A door with a certificate that ended a month ago.
async fn expired(name: &str) -> anyhow::Result<String> {
    let then = Clock::system().now().plus(-430 * 86_400);
    let issued = Authority::new("node CA", then)?.node(&name.parse()?, &[], then)?;
    let certificate = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(issued.key_pem.expose().as_bytes())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    Ok(address)
}

/// Another descriptor of a node, newer than its own, with these endpoints; known here instead.
async fn known_at(
    here: &TestNode,
    there: &TestNode,
    endpoints: Vec<String>,
) -> anyhow::Result<AuthorityId> {
    let draft = fs::read_to_string(Layout::new(&there.home).draft())?;
    let draft = Draft { endpoints, ..serde_json::from_str(&draft)? };
    let identity = SigningKey::generate(&Entropy::os());
    let signed = SignedDescriptor::sign(draft, Clock::system().now(), &identity)?;
    here.admit(&signed).await?;
    Ok(there.authority.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_dead_address_holds_up_a_good_one() -> anyhow::Result<()> {
    let silence = service(b"", true).await?;
    let other = service(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", false).await?;
    let nobody = free_port()?.to_string();
    for (dead, why) in [
        (silence, "no handshake within 5 s"),
        (other, "what it answers is not TLS"),
        (nobody, "refused"),
        ("nobody.invalid:7500".to_owned(), "the name is not found"),
    ] {
        let ours = Federation::start(&NAMES[..1]).await?;
        let theirs = Federation::start(&NAMES[1..2]).await?;
        let (dk, fr) = (&ours.nodes[0], &theirs.nodes[0]);
        fr.trust(dk).await?;
        let good = fr.running().exchange.to_string();
        let began = Instant::now();
        let peer = known_at(dk, fr, vec![dead.clone(), good.clone()]).await?;
        until("the stream", || Ok(dk.node().streams.status(&peer).sending.then_some(()))).await?;
        assert!(began.elapsed() < Duration::from_secs(4), "{dead}: {:?}", began.elapsed());
        let steps = test_peer(dk.node(), &peer).await;
        assert!(steps.iter().all(|step| step.ok), "{steps:?}");
        let said = |parts: [&str; 2]| {
            steps.iter().any(|step| parts.iter().all(|part| step.found.contains(part)))
        };
        assert!(said([&format!("{dead}: "), why]), "{dead} is not named: {steps:?}");
        assert!(said(["answers at", &good]), "{steps:?}");
        ours.stop().await?;
        theirs.stop().await?;
    }
    Ok(())
}

/// `localhost` has an address of each family here, and the node listens at one of them.
#[tokio::test(flavor = "multi_thread")]
async fn every_address_of_a_name_is_tried() -> anyhow::Result<()> {
    let ours = Federation::start(&NAMES[..1]).await?;
    let theirs = Federation::start(&NAMES[1..2]).await?;
    let (dk, fr) = (&ours.nodes[0], &theirs.nodes[0]);
    fr.trust(dk).await?;
    let port = fr.running().exchange.port();
    let peer = known_at(dk, fr, vec![format!("localhost:{port}")]).await?;
    until("the stream", || Ok(dk.node().streams.status(&peer).sending.then_some(()))).await?;
    let steps = test_peer(dk.node(), &peer).await;
    assert!(steps.iter().all(|step| step.ok), "{steps:?}");
    ours.stop().await?;
    theirs.stop().await
}

/// As many peers as there are member states but one.
const PEERS: usize = 26;

/// Until every stream of a node with that many peers is current again after an outage.
const ALL_CURRENT: Duration = Duration::from_secs(45);

/// A person's call waits no longer than this meanwhile.
const CALL_MAX: Duration = Duration::from_secs(3);

/// They find the node again at the same moment, and nobody at its desk notices.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_six_peers_that_come_back_at_once_are_current_soon() -> anyhow::Result<()> {
    let hub = Federation::start(&NAMES[..1]).await?;
    let dk = &hub.nodes[0];
    let mut peers = Vec::new();
    for number in 0..PEERS {
        let peer = Federation::start(&[&format!("fr.peer-{number:02}")]).await?;
        dk.trust(&peer.nodes[0]).await?;
        peer.nodes[0].trust(dk).await?;
        peers.push(peer);
    }
    dk.apply(ALL).await?;
    let all_hold = |id: &AlertId| -> anyhow::Result<bool> {
        peers.iter().try_fold(true, |all, peer| Ok(all && peer.nodes[0].holds(id)?))
    };
    let first = dk.create(&Samples::new(1).next().expect("a sample")).await?;
    until("the first alert everywhere", || Ok(all_hold(&first)?.then_some(()))).await?;
    let doors = || peers.iter().map(|peer| &peer.nodes[0].proxy).chain([&dk.proxy]);
    doors().for_each(|proxy| proxy.set(Fault::Cut));
    let is_cut = |peer: &Federation| !dk.node().streams.status(&peer.nodes[0].authority).sending;
    until("the outage", || Ok(peers.iter().all(is_cut).then_some(()))).await?;
    let second = dk.create(&Samples::new(2).next().expect("a sample")).await?;
    tokio::time::sleep(OUTAGE).await;
    assert!(!all_hold(&second)?);
    doors().for_each(|proxy| proxy.set(Fault::None));
    let (began, mut longest) = (Instant::now(), Duration::ZERO);
    let mut desk = DeskClient::new(dk.desk("officer").await?);
    while !all_hold(&second)? {
        assert!(began.elapsed() < ALL_CURRENT, "not all are current after {ALL_CURRENT:?}");
        let asked = Instant::now();
        desk.search(search_by_passport()).await?.into_inner().message().await?;
        longest = longest.max(asked.elapsed());
    }
    eprintln!("{PEERS} streams current in {:?}, a call took {longest:?}", began.elapsed());
    assert!(longest < CALL_MAX, "a call took {longest:?}");
    for peer in peers {
        peer.stop().await?;
    }
    hub.stop().await
}

/// What is wrong on the way is in `status` as in `peer test`, each with what to do about it.
#[tokio::test(flavor = "multi_thread")]
async fn status_and_peer_test_name_what_answers_in_a_peers_place() -> anyhow::Result<()> {
    let ours = Federation::start(&NAMES[..1]).await?;
    let theirs = Federation::start(&NAMES[1..2]).await?;
    let (dk, fr) = (&ours.nodes[0], &theirs.nodes[0]);
    let roots = |node: &TestNode| fs::read_to_string(Layout::new(&node.home).roots());
    let (right, wrong) = (roots(fr)?, roots(dk)?);
    let door = fr.running().exchange.to_string();
    let http = service(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", false).await?;
    let closes = service(b"", false).await?;
    let silent = service(b"", true).await?;
    let nobody = free_port()?.to_string();
    let ended = expired("se.tullverket").await?;
    let cases = [
        ("se.tullverket", &right, ended, "tls", "renew the certificate"),
        ("se.polisen", &right, "nobody.invalid:1".to_owned(), "name", "name service"),
        ("no.kripos", &right, nobody, "tcp", "firewalls"),
        ("fi.krp", &right, door.clone(), "tls", "leads to another's door"),
        ("fr.police-judiciaire", &wrong, door, "tls", "import its newest descriptor"),
        ("pl.policja", &right, silent, "tls", "firewall"),
        ("nl.politie", &right, http, "tls", "another service answers at this port"),
        ("be.police", &right, closes, "tls", "another service answers at this port"),
    ];
    for (name, root, endpoint, step, hint) in cases {
        let now = Clock::system().now();
        let peer = dk.invent(name, vec![root.clone()], &endpoint, now).await?;
        let problem = until("the problem", || Ok(dk.node().streams.status(&peer).problem)).await?;
        assert!(problem.contains(&endpoint) && problem.contains(hint), "{name}: {problem}");
        let steps = test_peer(dk.node(), &peer).await;
        let last: &TestStep = steps.last().expect("a step");
        assert!(!last.ok && last.name == step, "{name}: {steps:?}");
        assert!(last.hint.contains(hint) && problem.contains(&last.found), "{name}: {last:?}");
        let by = person(Role::Administrator);
        admin::change_peer(dk.node(), &peer, PeerState::Removed, "done", &by).await?;
    }
    ours.stop().await?;
    theirs.stop().await
}

/// How a node sees its peers, by `status`.
async fn peers_of(node: &TestNode) -> anyhow::Result<Vec<PeerStatus>> {
    let mut desk = DeskClient::new(node.desk("officer").await?);
    Ok(desk.status(StatusRequest {}).await?.into_inner().peers)
}

/// What a search says of peers: silent ones, and those not heard yet.
async fn said_by_a_search(node: &TestNode) -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let mut desk = DeskClient::new(node.desk("officer").await?);
    let mut found = desk.search(search_by_passport()).await?.into_inner();
    while let Some(message) = found.message().await? {
        if let Some(search_response::Message::Summary(summary)) = message.message {
            return Ok((summary.silent_peers, summary.unheard_peers));
        }
    }
    anyhow::bail!("no summary")
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_since_the_start_is_not_silence_and_removed_peers_leave() -> anyhow::Result<()> {
    let mut federation = Federation::start(&NAMES[..3]).await?;
    federation.settle().await?;
    federation.nodes[1].stop().await?;
    federation.nodes[0].stop().await?;
    // Long before the start, and nothing is known of before.
    federation.nodes[0].clock.pass(86_400);
    federation.nodes[0].start().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let name = fr.authority.to_string();
    let shown = |peers: Vec<PeerStatus>| peers.into_iter().find(|peer| peer.authority == name);
    let peer = shown(peers_of(dk).await?).expect("shown");
    assert!(!peer.silent && peer.heard_at == 0 && peer.confirmed_at == 0, "{peer:?}");
    let (silent, unheard) = said_by_a_search(dk).await?;
    assert!(silent.is_empty() && unheard.contains(&name), "{silent:?} {unheard:?}");
    // After the configured time it is silence.
    dk.clock.pass(dk.node().peer_silence_s + 1);
    let peer = shown(peers_of(dk).await?).expect("shown");
    assert!(peer.silent && peer.unheard_s > dk.node().peer_silence_s, "{peer:?}");
    let (silent, unheard) = said_by_a_search(dk).await?;
    assert!(silent.contains(&name) && !unheard.contains(&name), "{silent:?} {unheard:?}");
    // Once it is heard it is neither, and then again when it falls silent.
    federation.nodes[1].start().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    until("the head", || {
        let heard = dk.node().streams.status(&fr.authority).witness.is_some();
        Ok(heard.then_some(()))
    })
    .await?;
    let peer = shown(peers_of(dk).await?).expect("shown");
    assert!(!peer.silent && peer.heard_at != 0 && peer.unheard_s == 0, "{peer:?}");
    federation.nodes[1].stop().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    dk.clock.pass(dk.node().peer_silence_s + 10);
    let peer = shown(peers_of(dk).await?).expect("shown");
    assert!(peer.silent && peer.heard_at != 0, "{peer:?}");
    // A peer that is not listened to is not silent, and one that was removed is not there.
    let by = person(Role::Administrator);
    for to in [PeerState::Suspended, PeerState::Removed] {
        admin::change_peer(dk.node(), &fr.authority, to, "done", &by).await?;
        let peer = shown(peers_of(dk).await?);
        assert_eq!(peer.is_some(), to == PeerState::Suspended, "{peer:?}");
        assert!(peer.is_none_or(|peer| !peer.silent && peer.unheard_s == 0));
        assert!(!said_by_a_search(dk).await?.0.contains(&name));
    }
    federation.stop().await
}
