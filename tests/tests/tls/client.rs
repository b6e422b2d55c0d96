//! A client that takes any server and shows any certificate: what is looked at is whom the server
//! takes.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use entente_node::home::Layout;
use entente_tests::federation::{Federation, TestNode};
use rcgen::{CertificateParams, Issuer, KeyPair, SigningKey};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{AlertDescription, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) const DAY_S: i64 = 86_400;

/// How long a door may take to answer or to refuse.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);

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
pub(crate) struct Card {
    pub(crate) certificate: CertificateDer<'static>,
    /// Shown after it.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Card {
    pub(crate) fn read(certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let certificate = CertificateDer::from_pem_file(certificate)?;
        Ok(Self { certificate, chain: vec![], key: PrivateKeyDer::from_pem_file(key)? })
    }

    /// Of one of the first users.
    pub(crate) fn user(node: &TestNode, name: &str) -> anyhow::Result<Self> {
        let users = Layout::new(&node.home).users();
        Self::read(&users.join(format!("{name}.pem")), &users.join(format!("{name}.key")))
    }

    /// Of a node.
    pub(crate) fn node(node: &TestNode) -> anyhow::Result<Self> {
        let layout = Layout::new(&node.home);
        Self::read(&layout.certificate(), &layout.certificate_key())
    }

    pub(crate) fn signed(
        ca: &Issuer<'_, impl SigningKey>,
        params: &CertificateParams,
    ) -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, ca)?.der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
        Ok(Self { certificate, chain: vec![], key })
    }

    pub(crate) fn config(&self) -> anyhow::Result<Arc<ClientConfig>> {
        client(Some(self), default_provider())
    }
}

pub(crate) fn client(
    card: Option<&Card>,
    provider: CryptoProvider,
) -> anyhow::Result<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer));
    let mut config = match card {
        Some(card) => {
            // Taken as it is: rustls itself would not use a certificate with extensions it doesn't
            // know.
            let key = any_supported_type(&card.key)?;
            let shown = [std::slice::from_ref(&card.certificate), card.chain.as_slice()].concat();
            let certified = CertifiedKey::new(shown, key);
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

pub(crate) type Tls = TlsStream<TcpStream>;

/// The handshake as the client sees it: TLS 1.3 ends it before the server has looked at the
/// client's certificate.
pub(crate) async fn shake_hands(config: &Arc<ClientConfig>, door: SocketAddr) -> io::Result<Tls> {
    let tcp = TcpStream::connect(door).await?;
    let name = ServerName::try_from("door.invalid").map_err(io::Error::other)?;
    TlsConnector::from(Arc::clone(config)).connect(name, tcp).await
}

/// The beginning of HTTP/2, with empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A connection that the server took: it speaks HTTP/2 with us.
pub(crate) async fn let_in(config: &Arc<ClientConfig>, door: SocketAddr) -> anyhow::Result<Tls> {
    let mut tls = shake_hands(config, door).await?;
    tls.write_all(PREFACE).await?;
    tls.flush().await?;
    let mut frame = [0; 9];
    tokio::time::timeout(ANSWER, tls.read_exact(&mut frame)).await??;
    anyhow::ensure!(frame[3] == 4, "the server begins with its settings: {frame:?}");
    Ok(tls)
}

/// The alert with which the server refused the client's certificate, at the client's first read.
pub(crate) async fn refusal(
    config: &Arc<ClientConfig>,
    door: SocketAddr,
) -> anyhow::Result<AlertDescription> {
    let mut tls = shake_hands(config, door).await?;
    let read = tokio::time::timeout(ANSWER, tls.read(&mut [0])).await;
    let error = read.context("the server did not refuse")?.err().context("the server answered")?;
    match error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => Ok(*alert),
        _ => Err(error.into()),
    }
}

/// Both doors of a node, each with the certificate of somebody who may come in.
pub(crate) fn doors(here: &TestNode, peer: &TestNode) -> anyhow::Result<[(SocketAddr, Card); 2]> {
    let running = here.running();
    Ok([(running.desk, Card::user(here, "officer")?), (running.exchange, Card::node(peer)?)])
}

pub(crate) async fn pair() -> anyhow::Result<Federation> {
    let federation = Federation::start(&["dk.politi", "fr.police-judiciaire"]).await?;
    federation.settle().await?;
    Ok(federation)
}
