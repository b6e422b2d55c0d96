//! TLS at the two doors: the protocol, the key exchange, the certificate profile, roots that have ended, a new
//! certificate without a restart, and how many connections one caller gets.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use entente_node::admin;
use entente_node::home::{Home, Layout, check};
use entente_node::id::{Clock, Timestamp};
use entente_node::pki::{Authority, Issued};
use entente_node::sample::Samples;
use entente_node::tls::{Target, TlsIdentity, connect};
use entente_node::trust::{CertificateError, check_leaf};
use entente_tests::federation::{ALL, Federation, TestNode, free_port};
use entente_tests::proxy::Fault;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType, SigningKey,
};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, HandshakeKind, NamedGroup, ServerConfig,
    SignatureScheme,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

const DAY_S: i64 = 86_400;

/// How long a door may take to answer or to refuse.
const ANSWER: Duration = Duration::from_secs(10);

/// Takes any server: what is looked at is whom the server takes.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A certificate with its key, whether it fits the profile or not.
struct Card {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Card {
    fn read(certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let certificate = CertificateDer::from_pem_file(certificate)?;
        Ok(Self { certificate, key: PrivateKeyDer::from_pem_file(key)? })
    }

    /// Of one of the first users.
    fn user(node: &TestNode, name: &str) -> anyhow::Result<Self> {
        let users = Layout::new(&node.home).users();
        Self::read(&users.join(format!("{name}.pem")), &users.join(format!("{name}.key")))
    }

    /// Of a node.
    fn node(node: &TestNode) -> anyhow::Result<Self> {
        let layout = Layout::new(&node.home);
        Self::read(&layout.certificate(), &layout.certificate_key())
    }

    fn signed(
        ca: &Issuer<'_, impl SigningKey>,
        params: &CertificateParams,
    ) -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, ca)?.der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
        Ok(Self { certificate, key })
    }

    fn config(&self) -> anyhow::Result<Arc<ClientConfig>> {
        client(Some(self), default_provider())
    }
}

fn client(card: Option<&Card>, provider: CryptoProvider) -> anyhow::Result<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer));
    let mut config = match card {
        Some(card) => {
            // Taken as it is: rustls itself would not use a certificate with extensions it doesn't know.
            let key = any_supported_type(&card.key)?;
            let certified = CertifiedKey::new(vec![card.certificate.clone()], key);
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

type Tls = TlsStream<TcpStream>;

/// The handshake as the client sees it: TLS 1.3 ends it before the server has looked at the client's certificate.
async fn shake_hands(config: &Arc<ClientConfig>, door: SocketAddr) -> io::Result<Tls> {
    let tcp = TcpStream::connect(door).await?;
    let name = ServerName::try_from("door.invalid").map_err(io::Error::other)?;
    TlsConnector::from(Arc::clone(config)).connect(name, tcp).await
}

/// The beginning of HTTP/2, with empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A connection that the server took: it speaks HTTP/2 with us.
async fn let_in(config: &Arc<ClientConfig>, door: SocketAddr) -> anyhow::Result<Tls> {
    let mut tls = shake_hands(config, door).await?;
    tls.write_all(PREFACE).await?;
    tls.flush().await?;
    let mut frame = [0; 9];
    tokio::time::timeout(ANSWER, tls.read_exact(&mut frame)).await??;
    anyhow::ensure!(frame[3] == 4, "the server begins with its settings: {frame:?}");
    Ok(tls)
}

/// The alert with which the server refused the client's certificate, at the client's first read.
async fn refusal(config: &Arc<ClientConfig>, door: SocketAddr) -> anyhow::Result<AlertDescription> {
    let mut tls = shake_hands(config, door).await?;
    let read = tokio::time::timeout(ANSWER, tls.read(&mut [0])).await;
    let error = read.context("the server did not refuse")?.err().context("the server answered")?;
    match error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => Ok(*alert),
        _ => Err(error.into()),
    }
}

/// Both doors of a node, each with the certificate of somebody who may come in.
fn doors(here: &TestNode, peer: &TestNode) -> anyhow::Result<[(SocketAddr, Card); 2]> {
    let running = here.running();
    Ok([(running.desk, Card::user(here, "officer")?), (running.exchange, Card::node(peer)?)])
}

async fn pair() -> anyhow::Result<Federation> {
    let federation = Federation::start(&["dk.politi", "fr.police-judiciaire"]).await?;
    federation.settle().await?;
    Ok(federation)
}

/// A `ClientHello` of TLS 1.2: sound in every other way, with cipher suites and curves that servers take.
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

fn time_of(at: Timestamp) -> anyhow::Result<time::OffsetDateTime> {
    Ok(time::OffsetDateTime::from_unix_timestamp(at.seconds())?)
}

fn days(count: i64) -> time::Duration {
    time::Duration::days(count)
}

/// A leaf in the profile, from yesterday on, for 300 days.
fn leaf(uri: &str, usages: &[ExtendedKeyUsagePurpose]) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "crafted");
    params.not_before = time_of(Clock::system().now())? - days(1);
    params.not_after = params.not_before + days(300);
    params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = usages.to_vec();
    Ok(params)
}

/// The CA of these files, to sign what its owner would not.
fn issuer(certificate: &Path, key: &Path) -> anyhow::Result<Issuer<'static, KeyPair>> {
    let key = KeyPair::from_pem(&fs::read_to_string(key)?)?;
    Ok(Issuer::from_ca_cert_pem(&fs::read_to_string(certificate)?, key)?)
}

fn extension(oid: &[u64], content: &[u8], critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, content.to_vec());
    extension.set_criticality(critical);
    extension
}

/// DER of `NULL`, in an extension that nobody knows.
const UNKNOWN: (&[u64], &[u8]) = (&[1, 3, 6, 1, 4, 1, 55_555, 1], &[5, 0]);

/// DER of name constraints that permit everything below `entente.invalid`, as an extension that is not critical.
const CONSTRAINTS: (&[u64], &[u8]) =
    (&[2, 5, 29, 30], b"\x30\x15\xa0\x13\x30\x11\x82\x0fentente.invalid");

type Change = fn(&mut CertificateParams) -> anyhow::Result<()>;

/// What a certificate may have besides, and what it may not: each with what the profile says of it.
const VARIANTS: [(&str, Option<CertificateError>, Change); 18] = [
    ("as it should be", None, |_| Ok(())),
    ("398 days", None, |params| {
        params.not_after = params.not_before + days(398);
        Ok(())
    }),
    ("a name of another kind besides", None, |params| {
        params.subject_alt_names.push(SanType::DnsName("node.invalid".try_into()?));
        Ok(())
    }),
    ("an unknown extension that is not critical", None, |params| {
        params.custom_extensions = vec![extension(UNKNOWN.0, UNKNOWN.1, false)];
        Ok(())
    }),
    ("longer than 398 days", Some(CertificateError::TooLong), |params| {
        params.not_after = params.not_before + days(398) + time::Duration::SECOND;
        Ok(())
    }),
    ("ended", Some(CertificateError::NotValidNow), |params| {
        params.not_after = params.not_before + days(1) - time::Duration::MINUTE;
        Ok(())
    }),
    ("not begun", Some(CertificateError::NotValidNow), |params| {
        params.not_before += days(2);
        Ok(())
    }),
    ("a CA", Some(CertificateError::LeafIsCa), |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(())
    }),
    ("may sign certificates", Some(CertificateError::LeafIsCa), |params| {
        params.key_usages.push(KeyUsagePurpose::KeyCertSign);
        Ok(())
    }),
    ("two URIs", Some(CertificateError::Identity), |params| {
        let second = params.subject_alt_names[0].clone();
        params.subject_alt_names.push(second);
        Ok(())
    }),
    ("no URI", Some(CertificateError::Identity), |params| {
        params.subject_alt_names = vec![SanType::DnsName("node.invalid".try_into()?)];
        Ok(())
    }),
    ("a URI of another scheme", Some(CertificateError::Identity), |params| {
        params.subject_alt_names = vec![SanType::URI("https://dk.politi".try_into()?)];
        Ok(())
    }),
    ("no names at all", Some(CertificateError::Identity), |params| {
        params.subject_alt_names.clear();
        Ok(())
    }),
    ("not for clientAuth", Some(CertificateError::Usage), |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        Ok(())
    }),
    ("for no use in particular", Some(CertificateError::Usage), |params| {
        params.extended_key_usages.clear();
        Ok(())
    }),
    ("an unknown critical extension", Some(CertificateError::Extension), |params| {
        params.custom_extensions = vec![extension(UNKNOWN.0, UNKNOWN.1, true)];
        Ok(())
    }),
    ("name constraints", Some(CertificateError::Extension), |params| {
        let permitted = GeneralSubtree::DnsName("entente.invalid".to_owned());
        let permitted_subtrees = vec![permitted];
        params.name_constraints =
            Some(NameConstraints { permitted_subtrees, excluded_subtrees: vec![] });
        Ok(())
    }),
    ("name constraints that are not critical", Some(CertificateError::Extension), |params| {
        params.custom_extensions = vec![extension(CONSTRAINTS.0, CONSTRAINTS.1, false)];
        Ok(())
    }),
];

/// The right CA signed them all: what is outside of the profile is refused all the same, and the alert never says why.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_outside_of_the_profile_is_refused_at_both_doors() -> anyhow::Result<()> {
    use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    let federation = pair().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let (ours, theirs) = (Layout::new(&dk.home), Layout::new(&fr.home));
    let users = issuer(&ours.user_ca(), &ours.users().join("ca.key"))?;
    let nodes = issuer(&theirs.roots(), &fr.home.join("tls/ca.key"))?;
    let officer = format!("{}/user/officer", dk.authority.uri());
    for (name, expected, change) in VARIANTS {
        for (door, ca, mut params) in [
            (dk.running().desk, &users, leaf(&officer, &[ClientAuth])?),
            (dk.running().exchange, &nodes, leaf(&fr.authority.uri(), &[ServerAuth, ClientAuth])?),
        ] {
            change(&mut params)?;
            let card = Card::signed(ca, &params)?;
            let fits = check_leaf(&card.certificate, Clock::system().now());
            assert_eq!(fits.err(), expected, "{name}");
            let config = card.config()?;
            match expected {
                None => drop(let_in(&config, door).await.context(name)?),
                Some(_) => {
                    let alert = refusal(&config, door).await.context(name)?;
                    assert_eq!(alert, AlertDescription::AccessDenied, "{name}");
                }
            }
        }
    }
    // A node is called as well as it calls.
    let params = leaf(&fr.authority.uri(), &[ClientAuth])?;
    let config = Card::signed(&nodes, &params)?.config()?;
    let alert = refusal(&config, dk.running().exchange).await?;
    assert_eq!(alert, AlertDescription::AccessDenied);
    federation.stop().await
}

/// Who may come in where: the right CA, and a name that is not for this door.
#[tokio::test(flavor = "multi_thread")]
async fn a_ca_vouches_for_its_own_names_only() -> anyhow::Result<()> {
    use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    let federation = pair().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let (ours, theirs) = (Layout::new(&dk.home), Layout::new(&fr.home));
    let users = issuer(&ours.user_ca(), &ours.users().join("ca.key"))?;
    let nodes = issuer(&theirs.roots(), &fr.home.join("tls/ca.key"))?;
    let (desk, exchange) = (dk.running().desk, dk.running().exchange);
    let (dk, fr) = (&dk.authority, &fr.authority);
    for (door, ca, uri) in [
        (desk, &users, dk.uri()),
        (desk, &users, format!("{}/user/officer", fr.uri())),
        (desk, &nodes, format!("{}/user/officer", dk.uri())),
        (exchange, &nodes, dk.uri()),
        (exchange, &nodes, "entente://se.polisen".to_owned()),
        (exchange, &nodes, format!("{}/user/officer", fr.uri())),
        (exchange, &users, fr.uri()),
    ] {
        let card = Card::signed(ca, &leaf(&uri, &[ServerAuth, ClientAuth])?)?;
        let alert = refusal(&card.config()?, door).await.context(uri.clone())?;
        let expected = [AlertDescription::AccessDenied, AlertDescription::UnknownCA];
        assert!(expected.contains(&alert), "{uri}: {alert:?}");
    }
    federation.stop().await
}

/// A root of this name and key, valid between these hours from now: for `Issuer::from_params`, and as PEM.
fn root(
    name: &str,
    key: &KeyPair,
    valid: Range<i64>,
) -> anyhow::Result<(CertificateParams, String)> {
    let now = time_of(Clock::system().now())?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = now + time::Duration::hours(valid.start);
    params.not_after = now + time::Duration::hours(valid.end);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let pem = params.self_signed(key)?.pem();
    Ok((params, pem))
}

const IN_FORCE: Range<i64> = -1000..1000;
const ENDED: Range<i64> = -1000..-1;

/// Both roots were valid when the peers signed their descriptors.
#[tokio::test(flavor = "multi_thread")]
async fn a_peers_root_that_has_ended_vouches_for_nobody() -> anyhow::Result<()> {
    use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    let federation = pair().await?;
    let dk = &federation.nodes[0];
    let door = dk.running().exchange;
    let signed_at = Clock::system().now().plus(-10 * DAY_S);
    for (name, valid) in [("se.polisen", IN_FORCE), ("no.kripos", ENDED)] {
        let key = KeyPair::generate()?;
        let (params, pem) = root(name, &key, valid.clone())?;
        let peer = dk.invent(name, vec![pem], &free_port()?.to_string(), signed_at).await?;
        let leaf = leaf(&peer.uri(), &[ServerAuth, ClientAuth])?;
        let config = Card::signed(&Issuer::from_params(&params, &key), &leaf)?.config()?;
        if valid == IN_FORCE {
            let_in(&config, door).await?;
        } else {
            assert_eq!(refusal(&config, door).await?, AlertDescription::AccessDenied);
        }
    }
    federation.stop().await
}

/// The node's clock is half a day behind, so that it still takes the user CA: the handshake goes by the system's.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_ca_that_has_ended_vouches_for_nobody() -> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi"]).await?;
    let dk = &federation.nodes[0];
    let door = dk.running().desk;
    let key = KeyPair::generate()?;
    let (params, in_force) = root("user CA", &key, IN_FORCE)?;
    let (_, ended) = root("user CA", &key, ENDED)?;
    let uri = format!("{}/user/officer", dk.authority.uri());
    let leaf = leaf(&uri, &[ExtendedKeyUsagePurpose::ClientAuth])?;
    let config = Card::signed(&Issuer::from_params(&params, &key), &leaf)?.config()?;
    let users = Layout::new(&dk.home).user_ca();
    fs::write(&users, in_force)?;
    admin::reload(dk.node(), "administrator").await?;
    let_in(&config, door).await?;
    fs::write(&users, ended)?;
    let refused = admin::reload(dk.node(), "administrator").await.expect_err("ended").to_string();
    assert!(refused.contains("users/ca.pem") && refused.contains("has ended"), "{refused}");
    let_in(&config, door).await.context("the old stays in force")?;
    dk.clock.shift(-DAY_S / 2);
    admin::reload(dk.node(), "administrator").await?;
    assert_eq!(refusal(&config, door).await?, AlertDescription::AccessDenied);
    federation.stop().await
}

/// The server's certificate is sound, and its CA has signed it; the root that is held of that CA has ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_not_called_on_the_word_of_a_root_that_has_ended() -> anyhow::Result<()> {
    let federation = pair().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    let key = KeyPair::from_pem(&fs::read_to_string(dk.home.join("tls/ca.key"))?)?;
    let name = format!("{} node CA", dk.authority);
    let caller = Layout::new(&fr.home);
    for (valid, expected) in
        [(IN_FORCE, None), (ENDED, Some("no root that could vouch for it is valid now"))]
    {
        let (_, pem) = root(&name, &key, valid)?;
        let now = Clock::system().now();
        let target = Target {
            authority: dk.authority.clone(),
            roots: vec![CertificateDer::from_pem_slice(pem.as_bytes())?],
            own: TlsIdentity::read(&caller.certificate(), &caller.certificate_key(), now)?,
        };
        let failed = connect(&dk.running().exchange.to_string(), &target).await.err();
        let as_expected = match (&failed, expected) {
            (Some(failed), Some(expected)) => failed.contains(expected),
            (failed, expected) => failed.is_none() && expected.is_none(),
        };
        assert!(as_expected, "{failed:?}");
    }
    federation.stop().await
}

/// Puts a node certificate in place.
fn put(layout: &Layout, issued: &Issued) -> anyhow::Result<()> {
    fs::write(layout.certificate(), &issued.certificate_pem)?;
    Ok(fs::write(layout.certificate_key(), issued.key_pem.expose())?)
}

fn home_ca(node: &TestNode) -> anyhow::Result<Authority> {
    let pem = fs::read_to_string(Layout::new(&node.home).roots())?;
    let key = fs::read_to_string(node.home.join("tls/ca.key"))?;
    Ok(Authority::open(&pem, &key)?)
}

/// The certificates that both doors of `here` present to new connections.
async fn presented(
    here: &TestNode,
    peer: &TestNode,
) -> anyhow::Result<[CertificateDer<'static>; 2]> {
    let mut seen = Vec::new();
    for (door, card) in doors(here, peer)? {
        let tls = let_in(&card.config()?, door).await?;
        let leaf = tls.get_ref().1.peer_certificates().and_then(<[_]>::first);
        seen.push(leaf.context("a certificate")?.clone().into_owned());
    }
    seen.try_into().map_err(|_| anyhow::anyhow!("two doors"))
}

/// An alert arrives over connections that were made anew.
async fn exchange_goes_on(federation: &Federation, seed: u64) -> anyhow::Result<()> {
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    for node in &federation.nodes {
        node.proxy.set(Fault::Cut);
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    for node in &federation.nodes {
        node.proxy.set(Fault::None);
        node.wake();
    }
    let id = dk.create(&Samples::new(seed).next().context("a sample")?).await?;
    dk.wake();
    federation.settle().await?;
    anyhow::ensure!(fr.holds(&id)?, "the peer holds {id}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_comes_into_force_without_a_restart() -> anyhow::Result<()> {
    let federation = pair().await?;
    let (dk, fr) = (&federation.nodes[0], &federation.nodes[1]);
    dk.apply(ALL).await?;
    exchange_goes_on(&federation, 1).await?;
    let layout = Layout::new(&dk.home);
    let first = CertificateDer::from_pem_file(layout.certificate())?;
    assert_eq!(presented(dk, fr).await?, [first.clone(), first.clone()]);
    let open = dk.desk("officer").await?;

    let now = Clock::system().now();
    put(&layout, &home_ca(dk)?.node(&dk.authority, now)?)?;
    let second = CertificateDer::from_pem_file(layout.certificate())?;
    assert_ne!(first, second);
    assert_eq!(presented(dk, fr).await?, [first.clone(), first], "not before it is reloaded");
    admin::reload(dk.node(), "administrator").await?;
    assert_eq!(presented(dk, fr).await?, [second.clone(), second.clone()]);
    exchange_goes_on(&federation, 2).await?;
    let mut desk = entente_proto::desk::desk_client::DeskClient::new(open);
    desk.whoami(entente_proto::desk::WhoamiRequest {}).await.context("open connections stay")?;

    // Of a CA that no peer knows: it would lock the node out everywhere.
    let foreign = Authority::new("foreign", now)?;
    put(&layout, &foreign.node(&dk.authority, now)?)?;
    let refused = admin::reload(dk.node(), "administrator").await.expect_err("refused").to_string();
    for said in ["the old stays in force", "has no root that vouches for", "node.pem"] {
        assert!(refused.contains(said), "{said:?} is not in {refused}");
    }
    assert_eq!(presented(dk, fr).await?, [second.clone(), second]);
    exchange_goes_on(&federation, 3).await?;
    federation.stop().await
}

/// What is wrong with certificates is named before a node starts with them.
#[tokio::test(flavor = "multi_thread")]
async fn a_home_whose_certificates_do_not_fit_is_not_started() -> anyhow::Result<()> {
    let mut federation = Federation::start(&["dk.politi"]).await?;
    federation.nodes[0].stop().await?;
    let dk = &mut federation.nodes[0];
    let (layout, clock) = (Layout::new(&dk.home), Clock::system());
    let now = clock.now();
    let own = home_ca(dk)?;
    let certificates = |home: &Path| {
        let findings = check(home, &clock);
        findings.into_iter().find(|finding| finding.part == "certificates").expect("looked at")
    };
    assert!(certificates(&dk.home).ok);
    let node = |issued: Issued| {
        let key = (layout.certificate_key(), issued.key_pem.expose().clone());
        vec![(layout.certificate(), issued.certificate_pem), key]
    };
    let users = |pem: String| vec![(layout.user_ca(), pem)];
    let foreign = Authority::new("foreign", now)?.node(&dk.authority, now)?;
    let ended = own.node(&dk.authority, now.plus(-397 * DAY_S))?;
    let [one, two] = [own.node(&dk.authority, now)?, own.node(&dk.authority, now)?];
    let leaf_as_ca = two.certificate_pem.clone();
    let other_key = Issued { key_pem: two.key_pem, ..one };
    let swedish = own.node(&"se.polisen".parse()?, now)?;
    let user_ca = |valid| anyhow::Ok(root("user CA", &KeyPair::generate()?, valid)?.1);
    let (user_ca, ended_user_ca) = (user_ca(IN_FORCE)?, user_ca(ENDED)?);
    let cases = [
        (node(foreign), ["has no root that vouches for", "tls/node.pem"]),
        (node(ended), ["validity has not begun or has ended", "tls/node.pem"]),
        (node(swedish), ["is not the certificate of dk.politi's node", "tls/node.pem"]),
        (node(other_key), ["tls/node.key is not the key of", "tls/node.pem"]),
        (users(ended_user_ca.clone()), ["not begun or has ended", "users/ca.pem"]),
        (users(user_ca + &ended_user_ca), ["not begun or has ended", "users/ca.pem"]),
        (users(leaf_as_ca), ["a root must be a CA", "users/ca.pem"]),
    ];
    let files = [layout.certificate(), layout.certificate_key(), layout.user_ca()];
    let sound: Vec<_> = files.iter().map(fs::read).collect::<Result<_, _>>()?;
    for (put, expected) in cases {
        for (file, pem) in put {
            fs::write(file, pem)?;
        }
        let finding = certificates(&dk.home);
        assert!(!finding.ok, "{finding:?}");
        let read = Home::read(&dk.home, &clock).err().context("read all the same")?.to_string();
        let started = dk.start().await.expect_err("does not start").to_string();
        for said in expected {
            for text in [&finding.found, &read, &started] {
                assert!(text.contains(said), "{said:?} is not in {text}");
            }
        }
        for (file, bytes) in files.iter().zip(&sound) {
            fs::write(file, bytes)?;
        }
    }
    assert!(certificates(&dk.home).ok);
    dk.start().await?;
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
    let issued = ca.node(&greedy, Clock::system().now())?;
    let greedy = Card {
        certificate: CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes())?,
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
