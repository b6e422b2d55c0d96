//! What an authority says about itself: the same bytes for everybody, signed by its identity key.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Reach, TrustError, check_root};
use crate::id::{AuthorityId, Digest, KeyId, Timestamp, is_hidden};
use crate::jose::{self, PublicKey, SigningKey};

/// `typ` of a descriptor.
pub const DESCRIPTOR_TYP: &str = "entente-descriptor+jwt";

/// Most keys of one kind: the present one, and those before and after it during a change.
const KEYS_MAX: usize = 8;

/// Most Most TLS roots: the present one and its successor, twice.
const ROOTS_MAX: usize = 4;

/// Most endpoints of one exchange door.
const ENDPOINTS_MAX: usize = 4;

/// Longest text in a descriptor, in bytes.
const TEXT_BYTES_MAX: usize = 300;

/// A key with the time in which it may sign, UTC seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatedKey {
    /// The key, as JWK.
    pub key: PublicKey,
    /// First second.
    pub not_before: i64,
    /// Last second.
    pub not_after: i64,
}

/// A descriptor before it is signed: everything but the identity key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    /// Whose.
    pub authority: AuthorityId,
    /// Advances with each descriptor, from 1.
    pub serial: u64,
    /// Sign alerts, heads and receipts.
    pub statement_keys: Vec<DatedKey>,
    /// Sign checkpoints of the log.
    pub log_keys: Vec<DatedKey>,
    /// PEM of the roots that vouch for its node's certificates.
    pub tls_roots: Vec<String>,
    /// `host:port` of the exchange door.
    pub endpoints: Vec<String>,
    /// Oldest and newest alert schema it reads.
    pub schemas: (u32, u32),
    /// The 24 h desk.
    pub contact: String,
}

/// What an authority says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Descriptor {
    /// Whose.
    pub authority: AuthorityId,
    /// Advances with each descriptor, from 1.
    pub serial: u64,
    /// UTC seconds.
    pub issued_at: i64,
    /// The key that signs this; it signs nothing else but revocations.
    pub identity: PublicKey,
    /// Sign alerts, heads and receipts.
    pub statement_keys: Vec<DatedKey>,
    /// Sign checkpoints of the log.
    pub log_keys: Vec<DatedKey>,
    /// PEM of the roots that vouch for its node's certificates.
    pub tls_roots: Vec<String>,
    /// `host:port` of the exchange door, tried in order.
    pub endpoints: Vec<String>,
    /// Oldest and newest alert schema it reads.
    pub schemas: (u32, u32),
    /// The 24 h desk: phone or e-mail.
    pub contact: String,
}

/// A descriptor whose signature was checked, with the bytes as signed.
#[derive(Clone, Debug)]
pub struct SignedDescriptor {
    descriptor: Descriptor,
    jws: String,
}

impl SignedDescriptor {
    /// Signs a draft.
    ///
    /// # Errors
    /// When it is out of bounds, or the key does not sign now.
    pub fn sign(draft: Draft, now: Timestamp, identity: &SigningKey) -> Result<Self, TrustError> {
        let descriptor = Descriptor {
            authority: draft.authority,
            serial: draft.serial,
            issued_at: now.seconds(),
            identity: identity.public(),
            statement_keys: draft.statement_keys,
            log_keys: draft.log_keys,
            tls_roots: draft.tls_roots,
            endpoints: draft.endpoints,
            schemas: draft.schemas,
            contact: draft.contact,
        };
        check(&descriptor)?;
        check_shown(&descriptor)?;
        let jws = jose::sign(DESCRIPTOR_TYP, &descriptor, identity)?;
        Ok(Self { descriptor, jws })
    }

    /// Parses a descriptor and verifies it against the identity key that it names.
    ///
    /// # Errors
    /// When it does not verify or is out of bounds.
    pub fn parse(jws: &str) -> Result<Self, TrustError> {
        let jws = jws.trim();
        let claimed: Descriptor = jose::peek(DESCRIPTOR_TYP, jws)?;
        let identity = claimed.identity.clone();
        let of = |kid: &KeyId| (identity.key_id() == *kid).then_some(identity);
        let descriptor: Descriptor = jose::verify(DESCRIPTOR_TYP, jws, of)?;
        check(&descriptor)?;
        Ok(Self { descriptor, jws: jws.to_owned() })
    }

    /// Like [`SignedDescriptor::parse`], for a descriptor that is to be admitted: also checks what
    /// people will read and where streams will go. Descriptors that an earlier version admitted are
    /// not checked this way, so that their peers' alerts stay.
    ///
    /// # Errors
    /// Like [`SignedDescriptor::parse`]; also when an endpoint can't be the address of a peer, or
    /// the contact hides something.
    pub fn admit(jws: &str) -> Result<Self, TrustError> {
        let admitted = Self::parse(jws)?;
        check_shown(&admitted.descriptor)?;
        Ok(admitted)
    }

    /// What it says.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The bytes as signed.
    pub fn jws(&self) -> &str {
        &self.jws
    }

    /// What two people compare over the phone.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.descriptor.authority, &self.descriptor.identity)
    }
}

fn check(descriptor: &Descriptor) -> Result<(), TrustError> {
    let within = |length: usize, max, name| {
        if (1..=max).contains(&length) { Ok(()) } else { Err(TrustError::Bounds(name)) }
    };
    within(descriptor.statement_keys.len(), KEYS_MAX, "statement_keys")?;
    within(descriptor.log_keys.len(), KEYS_MAX, "log_keys")?;
    within(descriptor.tls_roots.len(), ROOTS_MAX, "tls_roots")?;
    within(descriptor.endpoints.len(), ENDPOINTS_MAX, "endpoints")?;
    within(descriptor.contact.len(), TEXT_BYTES_MAX, "contact")?;
    if descriptor.contact.chars().any(char::is_control) {
        return Err(TrustError::Bounds("contact"));
    }
    for endpoint in &descriptor.endpoints {
        let port = endpoint.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        let plain = endpoint.bytes().all(|b| b.is_ascii_graphic());
        if port.is_none() || !plain || endpoint.len() > TEXT_BYTES_MAX {
            return Err(TrustError::Bounds("endpoints"));
        }
    }
    for root in &descriptor.tls_roots {
        check_root(root, Timestamp::from_seconds(descriptor.issued_at))
            .map_err(TrustError::Root)?;
    }
    if descriptor.serial == 0 || descriptor.schemas.0 > descriptor.schemas.1 {
        return Err(TrustError::Bounds("serial"));
    }
    Ok(())
}

/// Checks that endpoints are host and port of an address that a peer can have, and that the contact
/// is what it looks like.
fn check_shown(descriptor: &Descriptor) -> Result<(), TrustError> {
    let contact = descriptor.contact.as_str();
    if contact.trim() != contact || contact.chars().any(is_hidden) {
        return Err(TrustError::Contact);
    }
    let reached = |endpoint: &String| Reach::of_endpoint(endpoint) != Reach::Nobody;
    if descriptor.endpoints.iter().all(reached) { Ok(()) } else { Err(TrustError::Endpoint) }
}

/// Digits in a group of a fingerprint.
const GROUP_DIGITS: usize = 5;

/// Groups of digits in a fingerprint: 40 digits are 132 bits.
const GROUPS: usize = 8;

/// An identity key as two people read it to each other: eight groups of five digits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Of an authority's identity key.
    pub fn of(authority: &AuthorityId, identity: &PublicKey) -> Self {
        let name = format!("entente-identity\0{authority}\0");
        let mut digits = String::new();
        for group in 0..GROUPS {
            let digest = Digest::of_parts(&[name.as_bytes(), identity.as_bytes(), &[group as u8]]);
            let number = digest.0.iter().take(8).fold(0u64, |n, byte| n << 8 | u64::from(*byte));
            digits.push_str(&format!("{:05}", number % 100_000));
        }
        Self(digits)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits: Vec<char> = self.0.chars().collect();
        let groups: Vec<String> = digits.chunks(GROUP_DIGITS).map(String::from_iter).collect();
        f.write_str(&groups.join(" "))
    }
}

impl FromStr for Fingerprint {
    type Err = TrustError;

    fn from_str(text: &str) -> Result<Self, TrustError> {
        let digits: String = text.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
        let sound =
            digits.len() == GROUPS * GROUP_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
        if sound { Ok(Self(digits)) } else { Err(TrustError::FingerprintDiffers) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Entropy, Secret};
    use crate::pki;

    fn key(seed: u64) -> SigningKey {
        SigningKey::from_seed(Secret::new(Entropy::seeded(seed).bytes()))
    }

    fn draft(endpoint: &str, contact: &str) -> (Draft, Timestamp) {
        let now: Timestamp = "2026-11-24T10:00:00Z".parse().unwrap();
        let root = pki::Authority::new("test root", now).unwrap();
        let end = i64::from(u32::MAX);
        let dated = |seed| DatedKey { key: key(seed).public(), not_before: 0, not_after: end };
        let draft = Draft {
            authority: "dk.politi".parse().unwrap(),
            serial: 1,
            statement_keys: vec![dated(2)],
            log_keys: vec![dated(3)],
            tls_roots: vec![root.certificate_pem().to_owned()],
            endpoints: vec!["node.example.org:8443".to_owned(), endpoint.to_owned()],
            schemas: (1, 1),
            contact: contact.to_owned(),
        };
        (draft, now)
    }

    /// The same descriptor, signed without any check.
    fn signed_blindly(draft: Draft, now: Timestamp) -> String {
        let descriptor = Descriptor {
            authority: draft.authority,
            serial: draft.serial,
            issued_at: now.seconds(),
            identity: key(1).public(),
            statement_keys: draft.statement_keys,
            log_keys: draft.log_keys,
            tls_roots: draft.tls_roots,
            endpoints: draft.endpoints,
            schemas: draft.schemas,
            contact: draft.contact,
        };
        jose::sign(DESCRIPTOR_TYP, &descriptor, &key(1)).unwrap()
    }

    /// A descriptor that hides something or leads nowhere is neither signed nor admitted; one that
    /// was admitted before is still read.
    #[test]
    fn a_descriptor_hides_nothing_and_leads_to_a_peer() {
        let contact = "+45 33 14 88 88, desk@example.org";
        let good = "203.0.113.7:8443";
        for (endpoint, contact, reason) in [
            (good, contact, ""),
            ("127.0.0.1:8443", contact, ""),
            ("0.0.0.0:8443", contact, "endpoint_not_permitted"),
            ("[fe80::1]:8443", contact, "endpoint_not_permitted"),
            ("user@node.example:8443", contact, "endpoint_not_permitted"),
            (good, "+45\u{202e}88 41", "contact_not_permitted"),
            (good, "+45\u{200b}33", "contact_not_permitted"),
            (good, "+45\u{e0041}33", "contact_not_permitted"),
            (good, " +45 33", "contact_not_permitted"),
        ] {
            let (draft, now) = draft(endpoint, contact);
            let of = |result: Result<SignedDescriptor, TrustError>| {
                result.err().map_or("", |error| error.reason().as_str())
            };
            let jws = signed_blindly(draft.clone(), now);
            assert_eq!(of(SignedDescriptor::sign(draft, now, &key(1))), reason, "{endpoint}");
            assert_eq!(of(SignedDescriptor::admit(&jws)), reason, "{endpoint} {contact:?}");
            assert_eq!(of(SignedDescriptor::parse(&jws)), "", "{endpoint} {contact:?}");
        }
    }
}
