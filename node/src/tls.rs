//! TLS 1.3 with mutual authentication. A peer is verified only against its own roots, chosen by the
//! identity that its certificate claims; a user at the desk door against the authority's user CA.

mod answer;
mod dial;
mod identity;
mod pem;
mod published;
mod refusal;
mod server;
mod target;
mod vouch;

pub use answer::answered;
pub use dial::{Dialled, Missed, STEP_TIMEOUT, Step, Wanted, Why, dial, listed, told};
pub use identity::TlsIdentity;
pub use pem::read_pem_certificates;
pub use published::{Published, SetUp};
pub use refusal::Refusal;
pub use server::{Desk, DoorTls, Exchange, desk_config, exchange_config};
pub use target::{Target, handshake};

use std::sync::{Arc, LazyLock};

use rustls::DigitallySignedStruct;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime, alg_id};

use crate::id::{Timestamp, printable};
use crate::trust::CertificateError;

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{0} cannot be read: {1}")]
    File(String, std::io::Error),
    /// A certificate or key does not fit.
    #[error("{0}")]
    Unfit(String),
    /// A certificate does not fit the profile.
    #[error("the certificate {0} does not fit: {1}")]
    Certificate(String, CertificateError),
    /// rustls refused.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// TLS 1.3's algorithms, the hybrid post-quantum key exchange first; signatures by the keys of the
/// certificate profile only.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        use aws_lc_rs::kx_group::{SECP256R1, X25519, X25519MLKEM768};
        let defaults = aws_lc_rs::default_provider();
        Arc::new(CryptoProvider {
            kx_groups: vec![X25519MLKEM768, X25519, SECP256R1],
            signature_verification_algorithms: in_profile(
                defaults.signature_verification_algorithms,
            ),
            ..defaults
        })
    });
    Arc::clone(&PROVIDER)
}

/// The algorithms whose keys a certificate may have. Called once: the result lives as long as the
/// process.
fn in_profile(all: WebPkiSupportedAlgorithms) -> WebPkiSupportedAlgorithms {
    use alg_id::{ECDSA_P256, ECDSA_P384, ED25519};
    let fits = |algorithm: &&dyn SignatureVerificationAlgorithm| {
        [ECDSA_P256, ECDSA_P384, ED25519].contains(&algorithm.public_key_alg_id())
    };
    // TLS 1.3 uses the first algorithm of a scheme.
    let first_fits = |(_, algorithms): &(_, &'static [&dyn SignatureVerificationAlgorithm])| {
        algorithms.first().is_some_and(fits)
    };
    let algorithms: Vec<_> = all.all.iter().copied().filter(fits).collect();
    let mapping: Vec<_> = all.mapping.iter().copied().filter(first_fits).collect();
    WebPkiSupportedAlgorithms { all: algorithms.leak(), mapping: mapping.leak() }
}

/// Whether who shows a certificate has its key, and showed so for this very handshake.
fn verify_tls13_signature(
    message: &[u8],
    leaf: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    let algorithms = provider().signature_verification_algorithms;
    rustls::crypto::verify_tls13_signature(message, leaf, signature, &algorithms)
}

/// rustls asks for it in TLS 1.2 only, which is not spoken.
fn refuse_tls12() -> Result<HandshakeSignatureValid, rustls::Error> {
    Err(rustls::Error::General("only TLS 1.3".to_owned()))
}

fn timestamp(now: UnixTime) -> Timestamp {
    Timestamp::from_seconds(now.as_secs().cast_signed())
}

/// An error with its causes, made safe to show: it contains texts from certificates and other
/// services.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    printable(&text)
}
