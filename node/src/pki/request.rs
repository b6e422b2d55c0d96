//! Requests for a certificate (PKCS#10, RFC 2986): a person makes the key on their own machine,
//! which it never leaves.

use rcgen::{
    ExtendedKeyUsagePurpose, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    PublicKeyData, SignatureAlgorithm,
};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::asn1_rs::{Oid, oid};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::{Authority, PkiError, params, uri, user_uri};
use crate::id::{AuthorityId, Secret, Timestamp};

/// A request with the key that it is for, as PEM.
pub struct Request {
    /// The request: goes to whoever has the user CA.
    pub request_pem: String,
    /// The private key, PKCS#8: stays where it was made.
    pub key_pem: Secret<String>,
}

/// A new key, and the request for a user's certificate.
///
/// # Errors
/// When rcgen refuses.
pub fn request(authority: &AuthorityId, name: &str, now: Timestamp) -> Result<Request, PkiError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    // A request has no validity, so the days have no effect.
    let mut params = params(&format!("{name} of {authority}"), now, 1);
    params.subject_alt_names = vec![uri(&user_uri(authority, name))?];
    let request_pem = params.serialize_request(&key)?.pem()?;
    Ok(Request { request_pem, key_pem: Secret::new(key.serialize_pem()) })
}

impl Authority {
    /// A certificate for the key of a request. Only the name in the request counts, and it must be
    /// `name`: whoever signs decides what a certificate says.
    ///
    /// # Errors
    /// When it is not a request, was not made with the key that it names, is for somebody else, or
    /// has a key outside the profile.
    pub fn user_from_request(
        &self,
        authority: &AuthorityId,
        name: &str,
        request_pem: &str,
        now: Timestamp,
    ) -> Result<String, PkiError> {
        let unfit = PkiError::Request;
        let (_, pem) = parse_x509_pem(request_pem.as_bytes())
            .map_err(|_| unfit("it is no certificate request in PEM"))?;
        let (rest, request) = X509CertificationRequest::from_der(&pem.contents)
            .map_err(|_| unfit("it is no certificate request in PEM"))?;
        if !rest.is_empty() {
            return Err(unfit("bytes follow the request"));
        }
        let key = RequestedKey::of(&request.certification_request_info.subject_pki)
            .ok_or(unfit("its key must be Ed25519, or ECDSA on P-256 or P-384"))?;
        if request.verify_signature().is_err() {
            return Err(unfit("it was not signed with the key that it names"));
        }
        let expected = user_uri(authority, name);
        if names(&request).any(|uri| uri != expected) {
            return Err(unfit("it is for another user or authority"));
        }
        let usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.certify(&key, &format!("{name} of {authority}"), vec![uri(&expected)?], usages, now)
    }
}

/// The URIs that a request asks for; a request made with other tools may have none.
fn names<'a>(request: &'a X509CertificationRequest<'_>) -> impl Iterator<Item = &'a str> {
    let extensions = request.requested_extensions().into_iter().flatten();
    let asked = extensions.filter_map(|extension| match extension {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    asked.flatten().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    })
}

const ED25519: Oid<'static> = oid!(1.3.101.112);
const ECDSA: Oid<'static> = oid!(1.2.840.10045.2.1);
const P256: Oid<'static> = oid!(1.2.840.10045.3.1.7);
const P384: Oid<'static> = oid!(1.3.132.0.34);

/// The public key of a request, if the profile permits its kind.
struct RequestedKey {
    bytes: Vec<u8>,
    algorithm: &'static SignatureAlgorithm,
}

impl RequestedKey {
    fn of(info: &SubjectPublicKeyInfo<'_>) -> Option<Self> {
        let kind = &info.algorithm.algorithm;
        let curve = info.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
        let algorithm = match curve {
            _ if *kind == ED25519 => &PKCS_ED25519,
            Some(curve) if *kind == ECDSA && curve == P256 => &PKCS_ECDSA_P256_SHA256,
            Some(curve) if *kind == ECDSA && curve == P384 => &PKCS_ECDSA_P384_SHA384,
            _ => return None,
        };
        Some(Self { bytes: info.subject_public_key.data.to_vec(), algorithm })
    }
}

impl PublicKeyData for RequestedKey {
    fn der_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Clock;
    use crate::trust::{Identity, check_leaf};

    /// A request of these kinds and names, as other tools make them.
    fn asked(algorithm: &'static SignatureAlgorithm, names: &[&str]) -> String {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut params = params("whoever", Clock::system().now(), 1);
        params.subject_alt_names = names.iter().map(|name| uri(name).unwrap()).collect();
        params.serialize_request(&key).unwrap().pem().unwrap()
    }

    fn signed(request: &str) -> Result<String, String> {
        let (authority, now) = ("dk.politi".parse().unwrap(), Clock::system().now());
        let ca = Authority::new("users", now).unwrap();
        let made = ca.user_from_request(&authority, "jensen", request, now);
        made.map_err(|error| error.to_string())
    }

    #[test]
    fn a_request_brings_its_key_and_nothing_else() {
        let own = "entente://dk.politi/user/jensen";
        for algorithm in [&PKCS_ED25519, &PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384] {
            for names in [&[own][..], &[]] {
                let made = signed(&asked(algorithm, names)).unwrap();
                let pem = parse_x509_pem(made.as_bytes()).unwrap().1;
                let identity = check_leaf(&pem.contents, Clock::system().now()).unwrap();
                let expected = Identity::User("dk.politi".parse().unwrap(), "jensen".to_owned());
                assert_eq!(identity, expected);
            }
        }
    }

    #[test]
    fn requests_that_do_not_fit_say_why() {
        let sound = asked(&PKCS_ED25519, &[]);
        let der = parse_x509_pem(sound.as_bytes()).unwrap().1.contents;
        let armoured = |der: &[u8]| {
            use base64ct::{Base64, Encoding};
            let text = Base64::encode_string(der);
            format!(
                "-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----"
            )
        };
        let mut forged = der.clone();
        *forged.last_mut().unwrap() ^= 1;
        let swedish = "entente://se.polisen/user/jensen";
        for (request, says) in [
            (asked(&PKCS_ED25519, &["entente://dk.politi/user/hansen"]), "another user"),
            (asked(&PKCS_ED25519, &[swedish]), "another user"),
            (asked(&PKCS_ED25519, &["entente://dk.politi"]), "another user"),
            (armoured(&forged), "not signed with the key"),
            (armoured(&[der.clone(), vec![0]].concat()), "bytes follow"),
            (armoured(&der[..der.len() - 9]), "no certificate request"),
            ("-----BEGIN".to_owned(), "no certificate request"),
            (String::new(), "no certificate request"),
            (asked(&rcgen::PKCS_ECDSA_P521_SHA512, &[]), "P-256 or P-384"),
        ] {
            let refused = signed(&request).unwrap_err();
            assert!(refused.contains(says), "{says:?} is not in {refused}");
        }
    }
}
