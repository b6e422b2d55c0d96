//! Whom a caller means to reach: a node, vouched for by its own roots, under the name in its
//! certificate.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::identity::TlsIdentity;
use super::vouch::{Side, vouched};
use super::{TlsError, provider, refuse_tls12, timestamp, verify_tls13_signature};
use crate::id::AuthorityId;
use crate::trust::{CertificateError, Identity, check_leaf};

/// Whom to call, and what proves their identity.
#[derive(Clone)]
pub struct Target {
    /// Whose node.
    pub authority: AuthorityId,
    /// The roots that vouch for it.
    pub roots: Vec<CertificateDer<'static>>,
    /// Who calls.
    pub own: TlsIdentity,
}

impl Target {
    fn config(&self) -> Result<ClientConfig, TlsError> {
        let verifier = Verifier { authority: self.authority.clone(), roots: self.roots.clone() };
        let key = SingleCertAndKey::from(self.own.certified_key());
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(key));
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        Ok(config)
    }
}

/// The TLS handshake over a connection that stands; [`super::answered`] tells what the other side
/// made of it.
///
/// # Errors
/// What rustls refused, or the other side before it saw who is calling.
pub async fn handshake(tcp: TcpStream, target: &Target) -> io::Result<TlsStream<TcpStream>> {
    tcp.set_nodelay(true)?;
    let config = target.config().map_err(io::Error::other)?;
    // The name is never used: the verifier uses the URI in the certificate.
    let name = ServerName::try_from("entente.invalid").map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

/// Why the certificate of whoever answers is not that of the called node.
#[derive(Debug, thiserror::Error)]
pub(super) enum WrongCertificate {
    #[error("the certificate does not fit: {0}")]
    Unfit(CertificateError),
    #[error("the certificate names {named}, not {expected}")]
    Misnamed { named: String, expected: AuthorityId },
}

impl From<WrongCertificate> for Error {
    fn from(wrong: WrongCertificate) -> Self {
        Self::InvalidCertificate(rustls::CertificateError::Other(OtherError(Arc::new(wrong))))
    }
}

/// Verifies one node: its chain by its own roots, its name by the URI in the certificate.
struct Verifier {
    authority: AuthorityId,
    roots: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match check_leaf(leaf, timestamp(now)).map_err(WrongCertificate::Unfit)? {
            Identity::Node(authority) if authority == self.authority => {}
            other => {
                let named = match other {
                    Identity::Node(authority) => format!("the node of {authority}"),
                    Identity::User(authority, _) => format!("a person of {authority}"),
                };
                let expected = self.authority.clone();
                return Err(WrongCertificate::Misnamed { named, expected }.into());
            }
        }
        vouched(&self.roots, leaf, chain, Side::Called, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        refuse_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier of {}", self.authority)
    }
}
