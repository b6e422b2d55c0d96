//! The two doors' side: who may come in.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureScheme,
};

use super::{TlsError, TlsIdentity, provider, root_store, timestamp};
use crate::id::AuthorityId;
use crate::trust::{Directory, Identity, check_leaf};

/// Verifies nodes of active peers, each against the roots in its own descriptor.
pub struct Exchange {
    directory: Box<dyn Fn() -> Arc<Directory> + Send + Sync>,
}

impl Exchange {
    /// With a way to see the peers of the moment.
    pub fn new(directory: impl Fn() -> Arc<Directory> + Send + Sync + 'static) -> Self {
        Self { directory: Box::new(directory) }
    }
}

/// Verifies people and systems of the authority itself, against its user CA.
pub struct Desk {
    authority: AuthorityId,
    user_ca: Vec<CertificateDer<'static>>,
}

impl Desk {
    /// With the certificates of the user CA.
    pub fn new(authority: AuthorityId, user_ca: Vec<CertificateDer<'static>>) -> Self {
        Self { authority, user_ca }
    }
}

/// Made for each handshake: roots end, and peers change.
fn verified_by(
    roots: &[CertificateDer<'static>],
    leaf: &CertificateDer<'_>,
    chain: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<ClientCertVerified, Error> {
    let roots = root_store(roots, timestamp(now)).map_err(|_| refused())?;
    let built = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
    built.map_err(|_| refused())?.verify_client_cert(leaf, chain, now)
}

/// The exchange door's set-up.
///
/// # Errors
/// When rustls refuses it.
pub fn exchange_config(own: &TlsIdentity, door: Exchange) -> Result<ServerConfig, TlsError> {
    config(own, Arc::new(door))
}

/// The desk door's set-up.
///
/// # Errors
/// When rustls refuses it.
pub fn desk_config(own: &TlsIdentity, door: Desk) -> Result<ServerConfig, TlsError> {
    config(own, Arc::new(door))
}

/// A resumed session would skip the verifier, so none can be resumed.
fn config(
    own: &TlsIdentity,
    verifier: Arc<dyn ClientCertVerifier>,
) -> Result<ServerConfig, TlsError> {
    let key = SingleCertAndKey::from(own.certified_key());
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(key));
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(config)
}

fn refused() -> Error {
    Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
}

/// The roots that a peer's descriptor names.
pub(super) fn peer_roots(
    directory: &Directory,
    peer: &AuthorityId,
) -> Option<Vec<CertificateDer<'static>>> {
    let roots = &directory.active(peer)?.descriptor.descriptor().tls_roots;
    roots.iter().map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).ok()).collect()
}

impl ClientCertVerifier for Exchange {
    /// None: hints would tell who our peers are.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let Ok(Identity::Node(peer)) = check_leaf(leaf, timestamp(now)) else {
            return Err(refused());
        };
        let directory = (self.directory)();
        let roots = peer_roots(&directory, &peer).ok_or_else(refused)?;
        verified_by(&roots, leaf, chain, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(refused())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Desk {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match check_leaf(leaf, timestamp(now)) {
            Ok(Identity::User(authority, _)) if authority == self.authority => {
                verified_by(&self.user_ca, leaf, chain, now)
            }
            _ => Err(refused()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(refused())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exchange door verifier")
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Desk door verifier of {}", self.authority)
    }
}
