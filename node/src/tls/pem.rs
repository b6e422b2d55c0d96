//! Certificates and keys in files that people bring: they should be PEM, and the error says what
//! they are instead.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::TlsError;
use crate::id::printable;
use crate::pki::{certificate_fault, key_fault};
use crate::text::{BYTE_ORDER_MARK, FILE_BYTES_MAX};

/// The certificates in a PEM file.
///
/// # Errors
/// When it cannot be read, or what it holds instead.
pub fn read_pem_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(without_mark(&bytes)).collect();
    let certificates = certificates.ok().filter(|certificates| !certificates.is_empty());
    certificates.ok_or_else(|| unfit(path, certificate_fault(&bytes)))
}

/// The private key in a PEM file.
pub(super) fn read_pem_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = read(path)?;
    let key = PrivateKeyDer::from_pem_slice(without_mark(&bytes));
    key.map_err(|_| unfit(path, key_fault(&bytes).unwrap_or("holds no private key in PEM")))
}

/// What is wrong with the order of a chain: the first certificate must be the leaf, and each next
/// one that of the CA above.
pub(super) fn chain_fault(chain: &[CertificateDer<'_>]) -> Option<&'static str> {
    let first = parse(chain.first()?)?;
    first.is_ca().then_some(match chain.len() {
        1 => {
            "is the certificate of a CA: the one that the CA issued to the node or user belongs \
             here"
        }
        _ => {
            "begins with the certificate of a CA: the own certificate must come first, then the \
             one that signed it"
        }
    })
}

/// The missing CA of a chain: the issuer that is neither in the chain nor among the roots. `None`
/// when nothing is missing.
pub(super) fn missing_issuer(
    chain: &[CertificateDer<'_>],
    roots: &[CertificateDer<'_>],
) -> Option<String> {
    let mut last = parse(chain.first()?)?;
    let mut above: Vec<_> = chain.iter().skip(1).filter_map(|der| parse(der)).collect();
    while let Some(at) = above.iter().position(|ca| ca.subject() == last.issuer()) {
        last = above.swap_remove(at);
    }
    let known = roots.iter().filter_map(|der| parse(der));
    let mut known = known.filter(|root| root.subject() == last.issuer());
    known.next().is_none().then(|| printable(&last.issuer().to_string()))
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes));
    read.map_err(|error| TlsError::File(path.display().to_string(), error))?;
    Ok(bytes)
}

fn unfit(path: &Path, what: &str) -> TlsError {
    TlsError::Unfit(format!("{} {what}", path.display()))
}

fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}
