//! Who we are in TLS: a certificate chain and its key, validated before they are used.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::sign::CertifiedKey;

use super::client::vouched;
use super::{TlsError, provider};
use crate::id::Timestamp;
use crate::trust::{Identity, check_leaf};

/// A certificate chain with its key. The key cannot be printed.
#[derive(Clone)]
pub struct TlsIdentity {
    key: Arc<CertifiedKey>,
    identity: Identity,
}

impl TlsIdentity {
    /// Reads and validates: the leaf fits the certificate profile at `now`, and the key is its own.
    ///
    /// # Errors
    /// Which file is wrong, and why.
    pub fn read(certificate: &Path, key: &Path, now: Timestamp) -> Result<Self, TlsError> {
        let chain = read_pem_certificates(certificate)?;
        let name = certificate.display();
        let leaf = chain.first().ok_or_else(|| TlsError::Unfit(format!("{name} is empty")))?;
        let identity = check_leaf(leaf, now).map_err(|error| {
            TlsError::Unfit(format!("the certificate {name} does not fit: {error}"))
        })?;
        let unfit = |what: &str| TlsError::Unfit(format!("{} {what}", key.display()));
        let private = PrivateKeyDer::from_pem_file(key);
        let private = private.map_err(|_| unfit("holds no private key in PEM"))?;
        let signing = provider().key_provider.load_private_key(private);
        let signing = signing.map_err(|_| unfit("holds a key that TLS cannot sign with"))?;
        // Not `CertifiedKey::from_der`: it refuses another's key without naming a file.
        let certified = CertifiedKey::new(chain, signing);
        certified.keys_match().map_err(|_| unfit(&format!("is not the key of {name}")))?;
        Ok(Self { key: Arc::new(certified), identity })
    }

    /// Who it speaks for.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether one of these roots vouches for it at `now`, as its peers would find.
    ///
    /// # Errors
    /// Why not.
    pub fn vouched_by(
        &self,
        roots: &[CertificateDer<'static>],
        now: Timestamp,
    ) -> Result<(), TlsError> {
        let (leaf, chain) =
            self.key.cert.split_first().ok_or(rustls::Error::NoCertificatesPresented)?;
        let seconds = Duration::from_secs(now.seconds().unsigned_abs());
        Ok(vouched(roots, leaf, chain, UnixTime::since_unix_epoch(seconds))?)
    }

    pub(super) fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsIdentity({:?})", self.identity)
    }
}

/// The certificates in a PEM file.
///
/// # Errors
/// When it cannot be read, or holds none.
pub fn read_pem_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let name = || path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| TlsError::File(name(), error))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let certificates = certificates.ok().filter(|certificates| !certificates.is_empty());
    certificates.ok_or_else(|| TlsError::Unfit(format!("{} holds no certificate in PEM", name())))
}
