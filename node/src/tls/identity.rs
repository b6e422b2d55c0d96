//! Our identity in TLS: a certificate chain and its key, validated before use.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::sign::CertifiedKey;

use super::pem::{chain_fault, missing_issuer, read_pem_certificates, read_pem_key};
use super::vouch::{Side, vouched};
use super::{TlsError, provider};
use crate::id::Timestamp;
use crate::trust::{Identity, certificate_end_der, check_leaf};

/// A certificate chain with its key. The key cannot be printed.
#[derive(Clone)]
pub struct TlsIdentity {
    key: Arc<CertifiedKey>,
    identity: Identity,
    ends: Timestamp,
}

impl TlsIdentity {
    /// Reads and validates: the leaf must fit the certificate profile at `now`, and the key must be
    /// the leaf's.
    ///
    /// # Errors
    /// Which file is wrong, and why.
    pub fn read(certificate: &Path, key: &Path, now: Timestamp) -> Result<Self, TlsError> {
        let chain = read_pem_certificates(certificate)?;
        let name = certificate.display();
        let leaf = chain.first().ok_or_else(|| TlsError::Unfit(format!("{name} is empty")))?;
        let identity = check_leaf(leaf, now).map_err(|error| match chain_fault(&chain) {
            Some(fault) => TlsError::Unfit(format!("{name} {fault}")),
            None => TlsError::Certificate(name.to_string(), error),
        })?;
        let ends = certificate_end_der(leaf).unwrap_or(now);
        let unfit = |what: &str| TlsError::Unfit(format!("{} {what}", key.display()));
        let private = read_pem_key(key)?;
        let signing = provider().key_provider.load_private_key(private);
        let signing = signing.map_err(|_| unfit("holds a key that TLS cannot sign with"))?;
        // Not `CertifiedKey::from_der`: it refuses a wrong key without naming the file.
        let certified = CertifiedKey::new(chain, signing);
        certified.keys_match().map_err(|_| unfit(&format!("is not the key of {name}")))?;
        Ok(Self { key: Arc::new(certified), identity, ends })
    }

    /// The last second of its certificate.
    pub fn ends(&self) -> Timestamp {
        self.ends
    }

    /// Who it speaks for.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Checks that one of these roots vouches for it at `now`, as its peers would.
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
        let now = UnixTime::since_unix_epoch(seconds);
        vouched(roots, leaf, chain, Side::Caller, now)?;
        Ok(vouched(roots, leaf, chain, Side::Called, now)?)
    }

    /// The missing issuer: the CA that signed it, or the last certificate in its chain, when that
    /// CA is neither in the chain nor among these roots.
    pub fn missing_issuer(&self, roots: &[CertificateDer<'static>]) -> Option<String> {
        missing_issuer(&self.key.cert, roots)
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
