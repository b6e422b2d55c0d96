//! SD-JWT (RFC 9901): salted digests in the signed token, disclosures beside it.

use std::collections::{HashMap, HashSet};

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    JoseError, Parts, PublicKey, SignError, SigningKey, TOKEN_BYTES_MAX, decode, json, sign,
};
use crate::id::{Digest, Entropy, KeyId};

/// Most disclosures in one token: a full alert has about a hundred.
const DISCLOSURES_MAX: usize = 1024;

/// The digests of an object are padded with decoys to a multiple of this, so that their number
/// reveals little.
const SD_MULTIPLE: usize = 16;

/// Elements of one array are padded with decoys to a multiple of this.
const ELEMENTS_MULTIPLE: usize = 4;

/// Depth of the deepest claim: a subject's identifier is at level three.
const CLAIMS_DEPTH_MAX: usize = 6;

/// The only hash that digests may use.
const SD_ALG: &str = "sha-256";

/// A claim before signing.
#[derive(Clone)]
pub enum Claim {
    /// One value, disclosed whole.
    Value(Value),
    /// Properties that are disclosed one by one.
    Object(Vec<(String, Claim)>),
    /// Elements that are disclosed one by one.
    Array(Vec<Claim>),
}

/// A token with some of its disclosures, kept as signed.
#[derive(Clone, PartialEq, Eq)]
pub struct SdJwt {
    jwt: String,
    disclosures: Vec<String>,
}

/// What a token says.
#[derive(Clone)]
pub struct Verified {
    /// The claims in clear.
    pub plain: Map<String, Value>,
    /// The disclosed claims, back in their places; what was withheld is absent.
    pub disclosed: Map<String, Value>,
}

impl SdJwt {
    /// Signs `plain` and the digests of `claims` (RFC 9901 §4.2); every `_sd` array is sorted and
    /// padded.
    ///
    /// # Errors
    /// When the key does not sign now.
    pub fn issue(
        typ: &str,
        plain: Map<String, Value>,
        claims: Vec<(String, Claim)>,
        key: &SigningKey,
        entropy: &Entropy,
    ) -> Result<Self, SignError> {
        let mut issuer = Issuer { entropy, disclosures: Vec::new() };
        let payload = Payload { plain, hidden: issuer.object(claims), alg: SD_ALG };
        Ok(Self { jwt: sign(typ, &payload, key)?, disclosures: issuer.disclosures })
    }

    /// Splits the text into its parts; a key binding is refused.
    ///
    /// # Errors
    /// When it is too large or does not end in `~`.
    pub fn parse(text: &str) -> Result<Self, JoseError> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(JoseError::TooLarge);
        }
        let body = text.strip_suffix('~').ok_or(JoseError::Malformed)?;
        let mut parts = body.split('~').map(str::to_owned);
        let jwt = parts.next().ok_or(JoseError::Malformed)?;
        let disclosures: Vec<_> = parts.collect();
        if disclosures.len() > DISCLOSURES_MAX {
            return Err(JoseError::TooMany);
        }
        Ok(Self { jwt, disclosures })
    }

    /// SHA-256 of the issuer-signed JWT without disclosures.
    pub fn jwt_digest(&self) -> Digest {
        Digest::of(self.jwt.as_bytes())
    }

    /// Verifies strictly (RFC 9901 §7.1): header, signature, then payload and disclosures, each of
    /// which must be used exactly once.
    ///
    /// # Errors
    /// [`JoseError`], the first that applies.
    pub fn verify(
        &self,
        typ: &str,
        key_of: impl FnOnce(&Map<String, Value>, &KeyId) -> Option<PublicKey>,
    ) -> Result<Verified, JoseError> {
        let parts = Parts::split(&self.jwt)?;
        let header = parts.header(typ)?;
        let payload = json::parse(&parts.payload()?)?;
        let Value::Object(claims) = &payload else { return Err(JoseError::Json) };
        let key = key_of(claims, &header.kid).ok_or(JoseError::UnknownKey)?;
        parts.check(&key)?;
        self.resolve(payload)
    }

    /// Reads a token that this node keeps itself, without checking its signature again.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn read(&self) -> Result<Verified, JoseError> {
        let parts = Parts::split(&self.jwt)?;
        self.resolve(json::parse(&parts.payload()?)?)
    }

    fn resolve(&self, payload: Value) -> Result<Verified, JoseError> {
        let Value::Object(mut payload) = payload else { return Err(JoseError::Json) };
        if payload.remove("_sd_alg") != Some(json!(SD_ALG)) {
            return Err(JoseError::UnknownSdAlg);
        }
        let mut resolver = Resolver::new(&self.disclosures)?;
        let mut disclosed = Map::new();
        if let Some(digests) = payload.remove("_sd") {
            resolver.properties(&digests, &payload, &mut disclosed, 0)?;
        }
        if has_reserved(&Value::Object(payload.clone())) {
            return Err(JoseError::Disclosure);
        }
        resolver.finish()?;
        Ok(Verified { plain: payload, disclosed })
    }

    /// The same token with only the disclosures that `keep` allows. `keep` gets the names from the
    /// top, without array positions, and the value. Everything below a withheld disclosure is
    /// withheld too. The result is deterministic.
    ///
    /// # Errors
    /// When the token is malformed.
    pub fn disclose(
        &self,
        mut keep: impl FnMut(&[&str], &Value) -> bool,
    ) -> Result<Self, JoseError> {
        let parts = Parts::split(&self.jwt)?;
        let payload = json::parse(&parts.payload()?)?;
        let opened = Resolver::new(&self.disclosures)?.opened;
        let mut kept = HashSet::new();
        choose(&payload, &opened, &mut Vec::new(), &mut keep, &mut kept, 0)?;
        let disclosures = self.disclosures.iter().enumerate();
        let disclosures =
            disclosures.filter(|(place, _)| kept.contains(place)).map(|(_, d)| d.clone()).collect();
        Ok(Self { jwt: self.jwt.clone(), disclosures })
    }

    /// The same token with the disclosures of both; `None` when they belong to different tokens.
    pub fn joined(&self, other: &Self) -> Option<Self> {
        let mut disclosures = self.disclosures.clone();
        let more = other.disclosures.iter().filter(|more| !self.disclosures.contains(more));
        disclosures.extend(more.cloned());
        (self.jwt == other.jwt).then(|| Self { jwt: self.jwt.clone(), disclosures })
    }

    /// The text, ending in `~`.
    pub fn to_text(&self) -> String {
        let length =
            self.jwt.len() + 1 + self.disclosures.iter().map(|d| d.len() + 1).sum::<usize>();
        let mut text = String::with_capacity(length);
        text.push_str(&self.jwt);
        text.push('~');
        for disclosure in &self.disclosures {
            text.push_str(disclosure);
            text.push('~');
        }
        text
    }
}

/// What is signed.
#[derive(Serialize)]
struct Payload {
    #[serde(flatten)]
    plain: Map<String, Value>,
    #[serde(flatten)]
    hidden: Hidden,
    #[serde(rename = "_sd_alg")]
    alg: &'static str,
}

/// A claim as it is signed: digests hide the parts that are disclosed one by one. It is typed,
/// because building a tree of values took half of the time of issuing.
#[derive(Serialize)]
#[serde(untagged)]
enum Signed {
    Value(Value),
    Object(Hidden),
    Array(Vec<HiddenElement>),
}

#[derive(Serialize)]
struct Hidden {
    #[serde(rename = "_sd")]
    digests: Vec<Digest>,
}

#[derive(Serialize)]
struct HiddenElement {
    #[serde(rename = "...")]
    digest: Digest,
}

struct Issuer<'a> {
    entropy: &'a Entropy,
    disclosures: Vec<String>,
}

impl Issuer<'_> {
    /// An object that holds only the digests of its properties.
    fn object(&mut self, claims: Vec<(String, Claim)>) -> Hidden {
        let mut digests: Vec<Digest> = claims
            .into_iter()
            .map(|(name, claim)| {
                let value = self.value(claim);
                self.disclose(&(self.salt(), name, value))
            })
            .collect();
        while !digests.len().is_multiple_of(SD_MULTIPLE) {
            digests.push(self.decoy());
        }
        digests.sort_unstable();
        Hidden { digests }
    }

    fn value(&mut self, claim: Claim) -> Signed {
        match claim {
            Claim::Value(value) => Signed::Value(value),
            Claim::Object(claims) => Signed::Object(self.object(claims)),
            Claim::Array(elements) => {
                let mut array: Vec<HiddenElement> = elements
                    .into_iter()
                    .map(|element| {
                        let value = self.value(element);
                        HiddenElement { digest: self.disclose(&(self.salt(), value)) }
                    })
                    .collect();
                // Decoys go anywhere among the others: at the end they would reveal which digests
                // are real.
                while !array.len().is_multiple_of(ELEMENTS_MULTIPLE) {
                    let place = self.entropy.below(array.len() as u64 + 1) as usize;
                    array.insert(place, HiddenElement { digest: self.decoy() });
                }
                Signed::Array(array)
            }
        }
    }

    fn disclose(&mut self, disclosure: &impl Serialize) -> Digest {
        let json = serde_json::to_vec(disclosure).unwrap_or_default();
        let text = Base64UrlUnpadded::encode_string(&json);
        let digest = Digest::of(text.as_bytes());
        self.disclosures.push(text);
        digest
    }

    fn salt(&self) -> String {
        Base64UrlUnpadded::encode_string(&self.entropy.bytes::<16>())
    }

    fn decoy(&self) -> Digest {
        Digest(self.entropy.bytes())
    }
}

/// A disclosure, decoded.
struct Opened {
    place: usize,
    name: Option<String>,
    value: Value,
}

struct Resolver {
    opened: HashMap<Digest, Opened>,
    seen: HashSet<Digest>,
    used: usize,
}

impl Resolver {
    fn new(disclosures: &[String]) -> Result<Self, JoseError> {
        let mut opened = HashMap::with_capacity(disclosures.len());
        for (place, text) in disclosures.iter().enumerate() {
            let digest = Digest::of(text.as_bytes());
            if opened.insert(digest, open(place, text)?).is_some() {
                return Err(JoseError::DisclosureReused);
            }
        }
        Ok(Self { opened, seen: HashSet::new(), used: 0 })
    }

    /// Puts the opened properties of one object in their place.
    fn properties(
        &mut self,
        digests: &Value,
        plain: &Map<String, Value>,
        into: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), JoseError> {
        let Value::Array(digests) = digests else { return Err(JoseError::Disclosure) };
        for digest in digests {
            let Some((name, value)) = self.take(digest)? else { continue };
            let name = name.ok_or(JoseError::Disclosure)?;
            if matches!(name.as_str(), "_sd" | "..." | "_sd_alg") {
                return Err(JoseError::ReservedName);
            }
            if plain.contains_key(&name) || into.contains_key(&name) {
                return Err(JoseError::DuplicateClaim);
            }
            let value = self.value(value, depth + 1)?;
            into.insert(name, value);
        }
        Ok(())
    }

    fn value(&mut self, value: Value, depth: usize) -> Result<Value, JoseError> {
        if depth > CLAIMS_DEPTH_MAX {
            return Err(JoseError::TooMany);
        }
        match value {
            Value::Object(mut object) => {
                if object.contains_key("_sd_alg") {
                    return Err(JoseError::UnknownSdAlg);
                }
                let digests = object.remove("_sd");
                let mut resolved = Map::new();
                for (name, value) in object {
                    if name == "..." {
                        return Err(JoseError::Disclosure);
                    }
                    resolved.insert(name, self.value(value, depth + 1)?);
                }
                if let Some(digests) = digests {
                    let plain = resolved.clone();
                    self.properties(&digests, &plain, &mut resolved, depth)?;
                }
                Ok(Value::Object(resolved))
            }
            Value::Array(elements) => {
                let mut resolved = Vec::with_capacity(elements.len());
                for element in elements {
                    if let Some(element) = self.element(element, depth)? {
                        resolved.push(element);
                    }
                }
                Ok(Value::Array(resolved))
            }
            other => Ok(other),
        }
    }

    fn element(&mut self, element: Value, depth: usize) -> Result<Option<Value>, JoseError> {
        let Some(digest) = element.get("...") else {
            return self.value(element, depth + 1).map(Some);
        };
        if element.as_object().is_none_or(|object| object.len() != 1) {
            return Err(JoseError::Disclosure);
        }
        match self.take(digest)? {
            None => Ok(None),
            Some((Some(_), _)) => Err(JoseError::Disclosure),
            Some((None, value)) => self.value(value, depth + 1).map(Some),
        }
    }

    /// The disclosure of a digest, which may occur only once in the whole token.
    fn take(&mut self, digest: &Value) -> Result<Option<(Option<String>, Value)>, JoseError> {
        let digest = digest.as_str().and_then(|text| text.parse().ok());
        let digest: Digest = digest.ok_or(JoseError::Disclosure)?;
        if !self.seen.insert(digest) {
            return Err(JoseError::DuplicateDigest);
        }
        if self.seen.len() > 4 * DISCLOSURES_MAX {
            return Err(JoseError::TooMany);
        }
        let Some(opened) = self.opened.get_mut(&digest) else { return Ok(None) };
        self.used += 1;
        Ok(Some((opened.name.clone(), std::mem::take(&mut opened.value))))
    }

    fn finish(self) -> Result<(), JoseError> {
        if self.used == self.opened.len() { Ok(()) } else { Err(JoseError::OrphanDisclosure) }
    }
}

fn open(place: usize, text: &str) -> Result<Opened, JoseError> {
    let Value::Array(mut parts) = json::parse(&decode(text)?)? else {
        return Err(JoseError::Disclosure);
    };
    let value = parts.pop().ok_or(JoseError::Disclosure)?;
    let mut texts = parts.into_iter().map(|part| match part {
        Value::String(text) => Ok(text),
        _ => Err(JoseError::Disclosure),
    });
    let _salt = texts.next().ok_or(JoseError::Disclosure)??;
    let name = texts.next().transpose()?;
    if texts.next().is_some() {
        return Err(JoseError::Disclosure);
    }
    Ok(Opened { place, name, value })
}

/// Whether `_sd` or `...` stand where no disclosure may be.
fn has_reserved(value: &Value) -> bool {
    match value {
        Value::Object(object) => object.iter().any(|(name, value)| {
            matches!(name.as_str(), "_sd" | "..." | "_sd_alg") || has_reserved(value)
        }),
        Value::Array(elements) => elements.iter().any(has_reserved),
        _ => false,
    }
}

/// Walks from the top through what is kept, and collects the places of the disclosures.
fn choose<'a>(
    value: &'a Value,
    opened: &'a HashMap<Digest, Opened>,
    path: &mut Vec<&'a str>,
    keep: &mut impl FnMut(&[&str], &Value) -> bool,
    kept: &mut HashSet<usize>,
    depth: usize,
) -> Result<(), JoseError> {
    if depth > 2 * CLAIMS_DEPTH_MAX {
        return Err(JoseError::TooMany);
    }
    let found = |digest: &Value| -> Option<&'a Opened> {
        opened.get(&digest.as_str()?.parse::<Digest>().ok()?)
    };
    match value {
        Value::Object(object) => {
            let digests = object.get("_sd").and_then(Value::as_array);
            for opened_here in digests.into_iter().flatten().filter_map(found) {
                let Some(name) = &opened_here.name else { continue };
                path.push(name);
                if keep(path, &opened_here.value) {
                    kept.insert(opened_here.place);
                    choose(&opened_here.value, opened, path, keep, kept, depth + 1)?;
                }
                path.pop();
            }
        }
        Value::Array(elements) => {
            for opened_here in elements.iter().filter_map(|e| e.get("...")).filter_map(found) {
                if keep(path, &opened_here.value) {
                    kept.insert(opened_here.place);
                    choose(&opened_here.value, opened, path, keep, kept, depth + 1)?;
                }
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    /// The position in its array of the one real element.
    fn place(seed: u64) -> usize {
        let (entropy, key) = (Entropy::seeded(seed), SigningKey::generate(&Entropy::seeded(1)));
        let claims = vec![("list".to_owned(), Claim::Array(vec![Claim::Value(json!("real"))]))];
        let token = SdJwt::issue("test+sd-jwt", Map::new(), claims, &key, &entropy).unwrap();
        let digest = json!(Digest::of(token.disclosures[0].as_bytes()));
        let list: Value = serde_json::from_slice(&decode(&token.disclosures[1]).unwrap()).unwrap();
        let elements = list[2].as_array().unwrap();
        assert_eq!(elements.len(), ELEMENTS_MULTIPLE);
        elements.iter().position(|element| element["..."] == digest).unwrap()
    }

    #[test]
    fn a_decoy_may_stand_anywhere_in_a_list() {
        let places: HashSet<usize> = (0..64).map(place).collect();
        assert_eq!(places.len(), ELEMENTS_MULTIPLE, "{places:?}");
    }
}
