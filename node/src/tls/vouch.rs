//! Whether a root vouches for a leaf. rustls checks neither the validity of a root, nor how many
//! certificates it permits below it, nor what an intermediate may sign with which key; so the
//! profile is checked first.

use std::sync::{Arc, LazyLock};

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, Der, TrustAnchor, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, Error, RootCertStore};

use super::{provider, timestamp};
use crate::id::Timestamp;
use crate::pki::Authority;
use crate::trust::{certificate_issuer, check_intermediates, check_root_der};

/// The side of a connection that shows the leaf; its extended key usage depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The caller.
    Caller,
    /// The called side.
    Called,
}

/// Checks that one of these roots vouches for the leaf at `now`, through the certificates that came
/// with it.
pub(super) fn vouched(
    roots: &[CertificateDer<'static>],
    leaf: &CertificateDer<'_>,
    chain: &[CertificateDer<'_>],
    side: Side,
    now: UnixTime,
) -> Result<(), Error> {
    fits(chain, now)?;
    let mut failure = None;
    for root in roots {
        let Ok(length) = check_root_der(root, timestamp(now)) else { continue };
        match vouched_by(root, length, leaf, chain, side, now) {
            Ok(()) => return Ok(()),
            Err(error) if failure.is_none() || error != unknown_issuer() => failure = Some(error),
            Err(_) => {}
        }
    }
    let none = || Error::General("no root that could vouch for it is valid now".to_owned());
    Err(failure.unwrap_or_else(none))
}

fn fits(chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Error> {
    let unfit = |error| Error::General(format!("a certificate of its chain does not fit: {error}"));
    check_intermediates(chain, timestamp(now)).map_err(unfit)
}

/// Tries each root separately, with as many of the certificates as it permits below it: TLS sends
/// them in order (RFC 8446, 4.4.2).
fn vouched_by(
    root: &CertificateDer<'static>,
    length: usize,
    leaf: &CertificateDer<'_>,
    chain: &[CertificateDer<'_>],
    side: Side,
    now: UnixTime,
) -> Result<(), Error> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone())?;
    let roots = Arc::new(roots);
    let permitted = chain.get(..length).unwrap_or(chain);
    let verified = verify(&roots, leaf, permitted, side, now);
    if verified == Err(unknown_issuer()) && permitted.len() < chain.len() {
        verify(&roots, leaf, chain, side, now)?;
        let message = format!("its root permits {length} certificates between it and a leaf");
        return Err(Error::General(message));
    }
    verified
}

/// Takes as long as finding, for a known peer, that a root does not vouch for the leaf: it tries a
/// root with the name that the leaf asks for and a key that nobody has, of the kind that
/// `entente-node init` makes.
pub(super) fn vouched_by_nobody(
    leaf: &CertificateDer<'_>,
    chain: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<(), Error> {
    static NOBODY: LazyLock<Option<TrustAnchor<'static>>> = LazyLock::new(|| {
        let root = Authority::new("nobody", Timestamp::from_seconds(0)).ok()?;
        let root = CertificateDer::from_pem_slice(root.certificate_pem().as_bytes()).ok()?;
        let mut roots = RootCertStore::empty();
        roots.add(root).ok()?;
        roots.roots.pop()
    });
    fits(chain, now)?;
    let issuer = certificate_issuer(chain.last().unwrap_or(leaf)).map(Der::from);
    let (Some(nobody), Some(subject)) = (NOBODY.clone(), issuer) else {
        return Err(unknown_issuer());
    };
    let roots = Arc::new(RootCertStore { roots: vec![TrustAnchor { subject, ..nobody }] });
    verify(&roots, leaf, chain, Side::Caller, now)
}

fn verify(
    roots: &Arc<RootCertStore>,
    leaf: &CertificateDer<'_>,
    chain: &[CertificateDer<'_>],
    side: Side,
    now: UnixTime,
) -> Result<(), Error> {
    match side {
        Side::Called => {
            let algorithms = provider().signature_verification_algorithms.all;
            let parsed = ParsedCertificate::try_from(leaf)?;
            verify_server_cert_signed_by_trust_anchor(&parsed, roots, chain, now, algorithms)
        }
        Side::Caller => {
            let roots = Arc::clone(roots);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
            let verifier = verifier.map_err(|error| Error::General(error.to_string()))?;
            verifier.verify_client_cert(leaf, chain, now).map(drop)
        }
    }
}

fn unknown_issuer() -> Error {
    Error::InvalidCertificate(CertificateError::UnknownIssuer)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Otherwise the duration of a refusal would distinguish a known name from an unknown one.
    #[test]
    fn for_an_unknown_name_a_signature_is_verified_too() {
        let at = Timestamp::from_seconds(1_800_000_000);
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
        let made = |name: &str| {
            let ca = Authority::new(name, at).unwrap();
            let leaf = ca.node(&"dk.politi".parse().unwrap(), &[], at).unwrap();
            let [root, leaf] = [ca.certificate_pem(), &leaf.certificate_pem]
                .map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap());
            (root, leaf)
        };
        let ((root, leaf), (other_key, _)) = (made("a CA"), made("a CA"));
        assert_eq!(vouched(&[root], &leaf, &[], Side::Caller, now), Ok(()));
        let known = vouched(&[other_key], &leaf, &[], Side::Caller, now).unwrap_err();
        let unknown = vouched_by_nobody(&leaf, &[], now).unwrap_err();
        assert_eq!(known, Error::InvalidCertificate(CertificateError::BadSignature));
        assert_eq!(unknown, known);
        assert_eq!(vouched_by_nobody(&leaf, std::slice::from_ref(&leaf), now).unwrap_err(), {
            let chain = "a certificate between a leaf and its root must be a CA that may sign \
                         certificates";
            Error::General(format!("a certificate of its chain does not fit: {chain}"))
        });
    }
}
