//! The protocol, the key exchange, no resumption, and how many connections one caller gets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use entente_node::home::Layout;
use entente_node::id::Clock;
use entente_node::pki::Authority;
use entente_node::server::door::{Door, Peers};
use entente_node::shutdown::Trigger;
use entente_node::tls::{Exchange, TlsIdentity, exchange_config};
use entente_node::trust::Identity;
use entente_tests::federation::free_port;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{AlertDescription, ClientConfig, HandshakeKind, NamedGroup, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_stream::StreamExt;

use crate::client::{ANSWER, Card, client, doors, let_in, pair, refusal, shake_hands};

/// A `ClientHello` of TLS 1.2: sound in every other way, with cipher suites and curves that servers
/// take.
fn hello_of_tls_1_2() -> Vec<u8> {
    let extensions: [&[u8]; 4] = [
        &[0, 10, 0, 6, 0, 4, 0, 0x1d, 0, 0x17], // groups: X25519, P-256
        &[0, 11, 0, 2, 1, 0],                   // points: uncompressed
        &[0, 13, 0, 8, 0, 6, 4, 3, 8, 4, 8, 7], // signatures: ECDSA, RSA-PSS, Ed25519
        &[0, 23, 0, 0],                         // extended master secret
    ];
    let extensions = extensions.concat();
    let suites = [0xc0, 0x2b, 0xc0, 0x2c, 0xc0, 0x2f, 0xc0, 0x30];
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, suites.len() as u8]);
    body.extend(suites);
    body.extend([1, 0, 0, extensions.len() as u8]);
    body.extend(extensions);
    let length = body.len() as u8;
    [vec![22, 3, 1, 0, length + 4, 1, 0, 0, length], body].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_door_opens_to_an_older_protocol_or_without_a_certificate() -> anyhow::Result<()> {
    let federation = pair().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    for (door, card) in doors(dk, fr)? {
        let mut old = TcpStream::connect(door).await?;
        old.write_all(&hello_of_tls_1_2()).await?;
        let mut answer = [0; 7];
        tokio::time::timeout(ANSWER, old.read_exact(&mut answer)).await??;
        // An alert record: fatal, protocol_version.
        assert_eq!((answer[0], &answer[5..]), (21, [2, 70].as_slice()));
        let nobody = client(None, default_provider())?;
        assert_eq!(refusal(&nobody, door).await?, AlertDescription::CertificateRequired);
        let_in(&card.config()?, door).await?;
    }
    federation.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_exchange_is_post_quantum_wherever_the_client_can() -> anyhow::Result<()> {
    let federation = pair().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let defaults = default_provider().kx_groups;
    let only = |group: &'static dyn SupportedKxGroup| vec![group];
    for (door, card) in doors(dk, fr)? {
        for (kx_groups, expected) in [
            (defaults.clone(), NamedGroup::X25519MLKEM768),
            (only(kx_group::X25519), NamedGroup::X25519),
            (only(kx_group::SECP256R1), NamedGroup::secp256r1),
        ] {
            let provider = CryptoProvider { kx_groups, ..default_provider() };
            let tls = let_in(&client(Some(&card), provider)?, door).await?;
            let group = tls.get_ref().1.negotiated_key_exchange_group();
            assert_eq!(group.map(|group| group.name()), Some(expected));
        }
        let other = CryptoProvider { kx_groups: only(kx_group::SECP384R1), ..default_provider() };
        assert!(shake_hands(&client(Some(&card), other)?, door).await.is_err(), "not offered");
    }
    federation.stop().await
}

/// A server that would resume sessions: it shows that the client of the next test asks for it.
async fn resuming_server(card: &Card) -> anyhow::Result<SocketAddr> {
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![card.certificate.clone()], card.key.clone_key())?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            if let Ok(mut tls) = acceptor.accept(tcp).await {
                let _ = tls.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
                let _ = tls.read(&mut [0; 64]).await;
            }
        }
    });
    Ok(address)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_session_is_resumed() -> anyhow::Result<()> {
    let federation = pair().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let own = Card::node(dk)?;
    let control = (resuming_server(&own).await?, Card::node(fr)?, HandshakeKind::Resumed);
    let [desk, exchange] = doors(dk, fr)?;
    for (door, card, second) in [
        control,
        (desk.0, desk.1, HandshakeKind::Full),
        (exchange.0, exchange.1, HandshakeKind::Full),
    ] {
        let mut config = ClientConfig::clone(&*card.config()?);
        config.resumption = Resumption::in_memory_sessions(64);
        let config = Arc::new(config);
        for expected in [HandshakeKind::Full, second] {
            // Tickets come before the settings that this reads.
            let tls = let_in(&config, door).await?;
            assert_eq!(tls.get_ref().1.handshake_kind(), Some(expected));
            assert!(!tls.get_ref().1.is_early_data_accepted());
        }
    }
    federation.stop().await
}

/// As `server::door` has it.
const CONNECTIONS_PER_CALLER_MAX: usize = 32;

#[tokio::test(flavor = "multi_thread")]
async fn one_caller_cannot_keep_the_others_out() -> anyhow::Result<()> {
    let federation = pair().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let ca = Authority::new("se.polisen node CA", Clock::system().now())?;
    let roots = vec![ca.certificate_pem().to_owned()];
    let endpoint = free_port()?.to_string();
    let greedy = dk.invent("se.polisen", roots, &endpoint, Clock::system().now()).await?;
    let issued = ca.node(&greedy, &[], Clock::system().now())?;
    let greedy = Card {
        certificate: CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes())?,
        chain: vec![],
        key: PrivateKeyDer::from_pem_slice(issued.key_pem.expose().as_bytes())?,
    };
    for (door, greedy, other) in [
        (dk.running().desk, Card::user(dk, "officer")?, Card::user(dk, "coordinator")?),
        (dk.running().exchange, greedy, Card::node(fr)?),
    ] {
        let (greedy, other) = (greedy.config()?, other.config()?);
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS_PER_CALLER_MAX {
            held.push(let_in(&greedy, door).await?);
        }
        assert!(let_in(&greedy, door).await.is_err(), "one too many");
        let_in(&other, door).await.context("another caller gets in")?;
        drop(held.pop());
        let again = async {
            while let_in(&greedy, door).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(ANSWER, again).await.context("a place was given back")?;
    }
    federation.stop().await
}

/// Certificates are looked at on threads of their own: whom a door's verifier asks for the peers
/// sees on which.
#[tokio::test(flavor = "multi_thread")]
async fn handshakes_do_not_run_on_the_workers_of_the_node() -> anyhow::Result<()> {
    let federation = pair().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let layout = Layout::new(&dk.home);
    let now = Clock::system().now();
    let own = TlsIdentity::read(&layout.certificate(), &layout.certificate_key(), now)?;
    let directory = dk.node().directory.load_full();
    let (told, mut threads) = tokio::sync::mpsc::channel(8);
    let asked = Exchange::new({
        let directory = Arc::clone(&directory);
        move || {
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            told.try_send(name).expect("room for eight");
            Arc::clone(&directory)
        }
    });
    let config = Arc::new(ArcSwap::from_pointee(exchange_config(&own, asked)?));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let door = listener.local_addr()?;
    let peers: Peers = Arc::new(move || Arc::clone(&directory));
    let (_trigger, shutdown) = Trigger::new();
    let mut accepted = Door { listener, config, connections_max: 4, peers }.open(shutdown);
    let _tls = shake_hands(&Card::node(fr)?.config()?, door).await?;
    let connection =
        tokio::time::timeout(ANSWER, accepted.next()).await?.context("a connection")??;
    assert_eq!(connection.caller().identity, Identity::Node(fr.authority.clone()));
    assert_eq!(threads.recv().await.as_deref(), Some("handshakes"));
    federation.stop().await
}
