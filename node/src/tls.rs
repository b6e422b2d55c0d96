//! TLS 1.3 with mutual authentication: every peer is vouched for by its own roots only, chosen by the identity
//! that its certificate claims; the desk door by the authority's user CA.

mod client;
mod identity;
mod pem;
mod server;

pub use client::{Target, connect, handshake};
pub(crate) use client::{chain, channel};
pub use identity::TlsIdentity;
pub use pem::{key_fault, read_pem_certificates};
pub use server::{Desk, Exchange, desk_config, exchange_config};

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, UnixTime};

use crate::id::Timestamp;
use crate::trust::{CertificateError, check_root_der};

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

/// TLS 1.3's algorithms, the hybrid post-quantum key exchange first.
fn provider() -> Arc<CryptoProvider> {
    use aws_lc_rs::kx_group::{SECP256R1, X25519, X25519MLKEM768};
    let kx_groups = vec![X25519MLKEM768, X25519, SECP256R1];
    Arc::new(CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() })
}

/// Those of the roots that fit the profile at `now`: rustls does not look at the validity of a root.
fn root_store(
    roots: &[CertificateDer<'static>],
    now: Timestamp,
) -> Result<Arc<RootCertStore>, TlsError> {
    let mut store = RootCertStore::empty();
    for root in roots.iter().filter(|root| check_root_der(root, now).is_ok()) {
        store.add(root.clone())?;
    }
    if store.is_empty() {
        return Err(TlsError::Unfit("no root that could vouch for it is valid now".to_owned()));
    }
    Ok(Arc::new(store))
}

fn timestamp(now: UnixTime) -> Timestamp {
    Timestamp::from_seconds(now.as_secs().cast_signed())
}
