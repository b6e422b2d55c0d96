//! The certificate profile. This module checks it itself, since rustls-webpki doesn't refuse
//! everything that a strict profile would.

use x509_parser::oid_registry::asn1_rs::{Header, Oid, oid};
use x509_parser::prelude::{
    FromDer, GeneralName, ParsedExtension, Pem, X509Certificate, X509Extension,
};
use x509_parser::x509::AlgorithmIdentifier;

use crate::id::{AuthorityId, Digest, Timestamp};

/// Longest validity of a leaf, in seconds: 398 days.
const LEAF_VALIDITY_S_MAX: i64 = 398 * 86_400;

/// Longest name of a user, in bytes.
const USER_BYTES_MAX: usize = 64;

/// Most certificates in a chain, including the leaf: each may cost the verifier a signature check.
pub const CHAIN_MAX: usize = 4;

/// An Ed25519 public key.
const ED25519: Oid<'static> = oid!(1.3.101.112);

/// A public key on one of the [`CURVES`].
const EC: Oid<'static> = oid!(1.2.840.10045.2.1);

/// P-256 and P-384.
const CURVES: [Oid<'static>; 2] = [oid!(1.2.840.10045.3.1.7), oid!(1.3.132.0.34)];

/// Why a certificate is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the variants stand for")]
pub enum CertificateError {
    #[error("it is not a PEM or DER X.509 version 3 certificate")]
    Malformed,
    #[error("it ended on {}", .0.date())]
    Ended(Timestamp),
    #[error("it is valid from {0} only: is this machine's clock right?")]
    NotBegun(Timestamp),
    #[error("its validity is longer than 398 days")]
    TooLong,
    #[error("a leaf may not sign certificates")]
    LeafIsCa,
    #[error("a root must be a CA that may sign certificates")]
    RootIsNotCa,
    #[error("a certificate between a leaf and its root must be a CA that may sign certificates")]
    IntermediateIsNotCa,
    #[error("its chain has more than 4 certificates")]
    ChainTooLong,
    #[error(
        "it must have exactly one URI subject alternative name, entente://<authority> or \
         entente://<authority>/user/<name>"
    )]
    Identity,
    #[error("a node's certificate is for serverAuth and clientAuth, a user's for clientAuth")]
    Usage,
    #[error("its key must be Ed25519, or ECDSA on P-256 or P-384")]
    Key,
    #[error("it has a critical extension that this profile does not know, or name constraints")]
    Extension,
}

/// Who a certificate speaks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// The node of an authority.
    Node(AuthorityId),
    /// A person or system of an authority.
    User(AuthorityId, String),
}

/// The identity that a leaf claims; checks nothing else.
///
/// # Errors
/// When it claims none, or more than one.
pub fn certificate_identity(der: &[u8]) -> Result<Identity, CertificateError> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
    identity(&certificate)
}

/// Checks a leaf against the profile; returns who it speaks for.
///
/// # Errors
/// The first thing that does not fit.
pub fn check_leaf(der: &[u8], now: Timestamp) -> Result<Identity, CertificateError> {
    let (rest, certificate) =
        X509Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
    if !rest.is_empty() {
        return Err(CertificateError::Malformed);
    }
    let lifetime = check_common(&certificate, now)?;
    if lifetime > LEAF_VALIDITY_S_MAX {
        return Err(CertificateError::TooLong);
    }
    if certificate.is_ca() || signs_certificates(&certificate) {
        return Err(CertificateError::LeafIsCa);
    }
    let constrained =
        |e: &X509Extension<'_>| matches!(e.parsed_extension(), ParsedExtension::NameConstraints(_));
    if certificate.extensions().iter().any(constrained) {
        return Err(CertificateError::Extension);
    }
    let identity = identity(&certificate)?;
    let usage = certificate.extended_key_usage().ok().flatten().ok_or(CertificateError::Usage)?;
    let server_needed = matches!(identity, Identity::Node(_));
    if !usage.value.client_auth || server_needed && !usage.value.server_auth {
        return Err(CertificateError::Usage);
    }
    Ok(identity)
}

/// Checks a root, as PEM, against the profile.
///
/// # Errors
/// The first thing that does not fit.
pub fn check_root(pem: &str, now: Timestamp) -> Result<(), CertificateError> {
    let mut pems = Pem::iter_from_buffer(pem.as_bytes());
    let first = pems.next().and_then(Result::ok).ok_or(CertificateError::Malformed)?;
    if pems.next().is_some() || first.label != "CERTIFICATE" {
        return Err(CertificateError::Malformed);
    }
    check_root_der(&first.contents, now).map(drop)
}

/// As [`check_root`], as DER; returns how many certificates may stand between it and a leaf.
///
/// # Errors
/// The first thing that does not fit.
pub fn check_root_der(der: &[u8], now: Timestamp) -> Result<usize, CertificateError> {
    check_ca(der, now, CertificateError::RootIsNotCa)
}

/// Checks the certificates that come with a leaf and lead to its root; counts them before it looks
/// at any.
///
/// # Errors
/// The first thing that does not fit.
pub fn check_intermediates<T: AsRef<[u8]>>(
    chain: &[T],
    now: Timestamp,
) -> Result<(), CertificateError> {
    if chain.len() >= CHAIN_MAX {
        return Err(CertificateError::ChainTooLong);
    }
    for der in chain {
        check_ca(der.as_ref(), now, CertificateError::IntermediateIsNotCa)?;
    }
    Ok(())
}

/// Returns its path length (RFC 5280, 4.2.1.9): the most certificates between it and a leaf.
fn check_ca(
    der: &[u8],
    now: Timestamp,
    not_ca: CertificateError,
) -> Result<usize, CertificateError> {
    let (rest, certificate) =
        X509Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
    if !rest.is_empty() {
        return Err(CertificateError::Malformed);
    }
    check_common(&certificate, now)?;
    let constraints = certificate.basic_constraints().ok().flatten();
    let constraints = constraints.filter(|found| found.value.ca).ok_or(not_ca)?;
    if !signs_certificates(&certificate) {
        return Err(not_ca);
    }
    let length = constraints.value.path_len_constraint.map(|length| length as usize);
    Ok(length.unwrap_or(usize::MAX))
}

/// The last second of the certificate in a PEM; `None` when it is not a certificate.
pub fn certificate_end(pem: &str) -> Option<Timestamp> {
    let pem = Pem::iter_from_buffer(pem.as_bytes()).next()?.ok()?;
    let end = pem.parse_x509().ok()?.validity().not_after.timestamp();
    Some(Timestamp::from_seconds(end))
}

/// As [`certificate_end`], of a certificate as DER.
pub fn certificate_end_der(der: &[u8]) -> Option<Timestamp> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(Timestamp::from_seconds(certificate.validity().not_after.timestamp()))
}

/// The earliest last second in a chain of DER certificates; `None` when one is not a certificate,
/// or the chain is empty.
pub fn chain_end<'a>(chain: impl IntoIterator<Item = &'a [u8]>) -> Option<Timestamp> {
    chain.into_iter().map(certificate_end_der).reduce(|one, other| Some(one?.min(other?))).flatten()
}

/// DER of the issuer's name in a certificate, without its outermost tag and length; `None` when it
/// is not a certificate.
pub fn certificate_issuer(der: &[u8]) -> Option<Vec<u8>> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let (content, _) = Header::from_der(certificate.issuer().as_raw()).ok()?;
    Some(content.to_vec())
}

/// SHA-256 of the public key in a certificate: what a user record is bound to.
///
/// # Errors
/// When it is not a certificate.
pub fn key_digest(der: &[u8]) -> Result<Digest, CertificateError> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
    Ok(Digest::of(certificate.public_key().raw))
}

/// Returns the length of the validity, in seconds.
fn check_common(
    certificate: &X509Certificate<'_>,
    now: Timestamp,
) -> Result<i64, CertificateError> {
    if certificate.version().0 != 2 {
        return Err(CertificateError::Malformed);
    }
    let validity = certificate.validity();
    let (from, to) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let tolerance = crate::id::CLOCK_TOLERANCE_S;
    if now.seconds() + tolerance < from {
        return Err(CertificateError::NotBegun(Timestamp::from_seconds(from)));
    }
    if now.seconds() > to {
        return Err(CertificateError::Ended(Timestamp::from_seconds(to)));
    }
    if !key_fits(&certificate.public_key().algorithm) {
        return Err(CertificateError::Key);
    }
    let unknown = |e: &X509Extension<'_>| {
        let parsed = e.parsed_extension();
        e.critical
            && matches!(
                parsed,
                ParsedExtension::UnsupportedExtension { .. } | ParsedExtension::ParseError { .. }
            )
    };
    if certificate.extensions().iter().any(unknown) {
        return Err(CertificateError::Extension);
    }
    Ok(to - from)
}

fn key_fits(key: &AlgorithmIdentifier<'_>) -> bool {
    let curve = key.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    match curve {
        None => key.algorithm == ED25519,
        Some(curve) => key.algorithm == EC && CURVES.contains(&curve),
    }
}

fn signs_certificates(certificate: &X509Certificate<'_>) -> bool {
    certificate.key_usage().ok().flatten().is_some_and(|usage| usage.value.key_cert_sign())
}

fn identity(certificate: &X509Certificate<'_>) -> Result<Identity, CertificateError> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.ok_or(CertificateError::Identity)?;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let (Some(uri), None) = (uris.next(), uris.next()) else {
        return Err(CertificateError::Identity);
    };
    parse_identity(uri).ok_or(CertificateError::Identity)
}

fn parse_identity(uri: &str) -> Option<Identity> {
    let rest = uri.strip_prefix("entente://")?;
    match rest.split_once("/user/") {
        None => Some(Identity::Node(rest.parse().ok()?)),
        Some((authority, user)) => {
            is_user_name(user).then_some(Identity::User(authority.parse().ok()?, user.to_owned()))
        }
    }
}

/// Whether a user may have this name: 1 to 64 of a-z, 0-9, `-`, `.` and `_`.
pub fn is_user_name(text: &str) -> bool {
    let named = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_');
    (1..=USER_BYTES_MAX).contains(&text.len()) && text.bytes().all(named)
}
