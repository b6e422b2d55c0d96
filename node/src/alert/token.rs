//! Alerts as tokens: issue, disclose, verify, and how a version follows another.

use serde_json::{Map, Value, json};

use super::content::Content;
use super::dates::{age, age_band, birth_year};
use super::draft::check_days;
use super::fault::{FaultKind, Faults, Path};
use super::reading::{self, Source};
use super::vocabulary::{Category, Exploitation, Handling, SubjectCategory, Urgency};
use super::{ALERT_TYP, AlertError, ClaimSet, Draft, SCHEMA, rules};
use crate::id::{
    AlertId, AuthorityId, Bounds, CLOCK_TOLERANCE_S, Digest, Entropy, KeyId, Timestamp, Version,
};
use crate::jose::{Claim, PublicKey, SdJwt, SigningKey};

/// Notice before deletion, in seconds: an issuer reviews an alert four months before it expires.
const REVIEW_BEFORE_END_S: i64 = 120 * 86_400;

/// The plain claims of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// `jti`.
    pub id: AlertId,
    /// `ver`.
    pub version: Version,
    /// `iat`.
    pub issued_at: Timestamp,
    /// `exp`: the end of the month in which the alert expires.
    pub expires_at: Timestamp,
    /// `prev`: digest of the version before.
    pub previous: Option<Digest>,
    /// `schema`.
    pub schema: u32,
}

/// An alert, own or received, with the claims that its token discloses. It cannot be printed.
#[derive(Clone)]
pub struct View {
    /// Plain claims.
    pub head: Head,
    /// Disclosed claims.
    pub content: Content,
    /// Which claims are disclosed.
    pub claims: ClaimSet,
    /// SHA-256 of the issuer-signed JWT without disclosures.
    pub jwt_digest: Digest,
    /// The text as signed.
    pub token: String,
}

/// What sharing rules look at.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Category of the alert.
    pub category: Option<Category>,
    /// Forms of exploitation.
    pub exploitation: Vec<Exploitation>,
    /// Urgency.
    pub urgency: Option<Urgency>,
    /// Handling codes.
    pub handling: Vec<Handling>,
    /// Categories of the people in it.
    pub subject_categories: Vec<SubjectCategory>,
}

impl View {
    /// Categories of the people in it.
    pub fn people(&self) -> Vec<SubjectCategory> {
        self.content.subjects.iter().filter_map(|subject| subject.category).collect()
    }

    /// What sharing rules look at.
    pub fn facts(&self) -> Facts {
        let content = &self.content;
        Facts {
            category: content.category,
            exploitation: content.exploitation.clone(),
            urgency: content.urgency,
            handling: content.handling.clone(),
            subject_categories: self.people(),
        }
    }

    /// The token with no claims but `claims`. The same input gives the same bytes.
    ///
    /// # Errors
    /// When the token is malformed.
    pub fn disclose(&self, claims: ClaimSet) -> Result<String, AlertError> {
        let present = claims.intersection(self.claims);
        let kept =
            SdJwt::parse(&self.token)?.disclose(|path, value| keeps(present, path, value))?;
        Ok(kept.to_text())
    }
}

/// Joins two views of the same token: the alert with the claims of both.
///
/// # Errors
/// When they are not, or one is malformed.
pub fn joined(one: &View, other: &View) -> Result<View, AlertError> {
    let joined = SdJwt::parse(&one.token)?.joined(&SdJwt::parse(&other.token)?);
    read(&joined.ok_or(AlertError::Equivocation)?.to_text())
}

fn keeps(claims: ClaimSet, path: &[&str], value: &Value) -> bool {
    let any = |set: ClaimSet| !claims.intersection(set).is_empty();
    match path {
        [parent @ ("subjects" | "objects" | "locations")] => any(ClaimSet::below(parent)),
        [parent, "identifiers"] => match value.get("type").and_then(Value::as_str) {
            Some(kind) => any(ClaimSet::at(&[parent, "identifiers", kind])),
            None => any(ClaimSet::below(&format!("{parent}.identifiers"))),
        },
        path => any(ClaimSet::at(path)),
    }
}

/// Signs version `version` of an alert.
///
/// # Errors
/// When the draft is not permitted on this day, asks for a longer retention than its category has,
/// or the key does not sign now.
pub fn issue(
    draft: &Draft,
    id: AlertId,
    version: Version,
    previous: Option<Digest>,
    now: Timestamp,
    key: &SigningKey,
    entropy: &Entropy,
) -> Result<View, AlertError> {
    let content = completed(draft.content().clone(), now)?;
    let expires_at = content.expires_at.unwrap_or(now);
    let head = Head {
        id,
        version,
        issued_at: now,
        expires_at: expires_at.end_of_month(),
        previous,
        schema: SCHEMA,
    };
    let json = serde_json::to_value(&content).unwrap_or_default();
    let claims = ClaimSet::of_json(&json);
    let token = SdJwt::issue(ALERT_TYP, plain(&head), claims_of(json), key, entropy)?;
    let text = token.to_text();
    if text.len() > super::TOKEN_BYTES_MAX {
        return Err(AlertError::Token(crate::jose::JoseError::TooLarge));
    }
    Ok(View { head, claims, jwt_digest: token.jwt_digest(), token: text, content })
}

/// Adds what depends on the day: times, and coarse claims beside exact ones.
fn completed(mut content: Content, now: Timestamp) -> Result<Content, AlertError> {
    let mut faults = Faults::default();
    rules::check(&content, &mut faults);
    check_days(&content, now, &mut faults);
    let category = content.category;
    faults.or(())?;
    let end = content.expires_at.or(category.map(|category| now.plus(category.retention_s())));
    content.expires_at = end;
    content.issued_at = Some(now);
    content.review_at = end.map(|end| end.plus(-REVIEW_BEFORE_END_S).max(now));
    for subject in &mut content.subjects {
        if let Some(date) = &subject.birth_date {
            subject.birth_year = birth_year(date);
            subject.age_band = age(date, now).map(|age| age_band(age).to_owned());
        }
    }
    Ok(content)
}

fn plain(head: &Head) -> Map<String, Value> {
    let mut plain = Map::new();
    plain.insert("iss".to_owned(), json!(head.id.authority()));
    plain.insert("jti".to_owned(), json!(head.id));
    plain.insert("ver".to_owned(), json!(head.version));
    plain.insert("iat".to_owned(), json!(head.issued_at.seconds()));
    plain.insert("exp".to_owned(), json!(head.expires_at.seconds()));
    if let Some(previous) = head.previous {
        plain.insert("prev".to_owned(), json!(previous));
    }
    plain.insert("schema".to_owned(), json!(head.schema));
    plain
}

fn claims_of(content: Value) -> Vec<(String, Claim)> {
    let Value::Object(claims) = content else { return Vec::new() };
    let claim = |(name, value): (String, Value)| {
        let claim = match (name.as_str(), value) {
            ("subjects" | "objects" | "locations", Value::Array(elements)) => {
                Claim::Array(elements.into_iter().map(element).collect())
            }
            (_, value) => Claim::Value(value),
        };
        (name, claim)
    };
    claims.into_iter().map(claim).collect()
}

fn element(element: Value) -> Claim {
    let Value::Object(members) = element else { return Claim::Value(element) };
    let member = |(name, value): (String, Value)| {
        let claim = match (name.as_str(), value) {
            ("identifiers", Value::Array(elements)) => {
                Claim::Array(elements.into_iter().map(Claim::Value).collect())
            }
            (_, value) => Claim::Value(value),
        };
        (name, claim)
    };
    Claim::Object(members.into_iter().map(member).collect())
}

/// Strictly verifies an alert from outside. `key_of` must return the key with this `kid` only if it
/// is the issuer's and valid now.
///
/// ```
/// use entente_node::alert::{self, ClaimSet, Draft};
/// use entente_node::id::{AlertId, AuthorityId, Entropy, Timestamp};
/// use entente_node::jose::SigningKey;
/// use entente_node::sample::Samples;
///
/// let now: Timestamp = "2026-11-25T10:00:00Z".parse()?;
/// let issuer: AuthorityId = "dk.politi".parse()?;
/// let entropy = Entropy::seeded(7);
/// let key = SigningKey::generate(&entropy);
///
/// // The issuer signs an alert once, and gives a peer a few of its claims.
/// let sample = Samples::new(7).next().ok_or("no sample")?;
/// let draft = Draft::parse(&sample.to_string(), now)?;
/// let id = AlertId::random(&issuer, 2026, &entropy);
/// let signed = alert::issue(&draft, id, 1, None, now, &key, &entropy)?;
/// let token = signed.disclose(ClaimSet::core())?;
///
/// // The peer verifies the issuer's own signature over what it sees.
/// let view = alert::verify(
///     &token,
///     |iss, kid| (*iss == issuer && *kid == key.key_id()).then(|| key.public()),
///     now,
/// )?;
/// assert_eq!(view.head.id, signed.head.id);
/// assert!(view.claims.names().len() < signed.claims.names().len());
///
/// // Nothing verifies without the issuer's key.
/// assert!(alert::verify(&token, |_, _| None, now).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`AlertError`]; checks everything that needs no history.
pub fn verify(
    token: &str,
    key_of: impl FnOnce(&AuthorityId, &KeyId) -> Option<PublicKey>,
    now: impl Into<Bounds>,
) -> Result<View, AlertError> {
    let now = now.into();
    let sd_jwt = SdJwt::parse(token)?;
    let verified = sd_jwt.verify(ALERT_TYP, |plain, kid| {
        let issuer = plain.get("iss")?.as_str()?.parse().ok()?;
        key_of(&issuer, kid)
    })?;
    let head = head(verified.plain)?;
    let mut disclosed = verified.disclosed;
    let mut faults = Faults::default();
    reading::read(&mut disclosed, Source::Signed, &mut faults);
    faults.or(())?;
    let view = view(token, &sd_jwt, head, disclosed)?;
    if view.head.issued_at > now.latest.plus(CLOCK_TOLERANCE_S) {
        return Err(AlertError::FutureIat);
    }
    check(&view, now)?;
    Ok(view)
}

/// Checks what a verified alert may say.
fn check(view: &View, now: Bounds) -> Result<(), AlertError> {
    let mut faults = Faults::default();
    let root = Path::Root;
    let at = root.member("expires_at");
    let Some(end) = view.content.expires_at else {
        faults.missing(at, "the end is missing", "");
        return faults.or(());
    };
    if end <= now.earliest {
        return Err(AlertError::Expired);
    }
    if end.end_of_month() != view.head.expires_at {
        return Err(AlertError::Plain("exp"));
    }
    rules::check(&view.content, &mut faults);
    let retention = view.content.category.map(Category::retention_s);
    if retention.is_some_and(|retention| end > view.head.issued_at.plus(retention)) {
        let expected = "the end lies beyond the retention of the category";
        faults.add(at, FaultKind::Value, expected, "");
    }
    faults.or(())
}

/// Reads a token of our own store, without checking its signature again.
///
/// # Errors
/// When it is malformed.
pub fn read(token: &str) -> Result<View, AlertError> {
    let sd_jwt = SdJwt::parse(token)?;
    let verified = sd_jwt.read()?;
    view(token, &sd_jwt, head(verified.plain)?, verified.disclosed)
}

fn view(
    token: &str,
    sd_jwt: &SdJwt,
    head: Head,
    disclosed: Map<String, Value>,
) -> Result<View, AlertError> {
    let content: Content = serde_json::from_value(Value::Object(disclosed))
        .map_err(|_| AlertError::Json("a claim is not what its name stands for".to_owned()))?;
    let claims = ClaimSet::of(&content);
    Ok(View { head, content, claims, jwt_digest: sd_jwt.jwt_digest(), token: token.to_owned() })
}

fn head(mut plain: Map<String, Value>) -> Result<Head, AlertError> {
    let mut take = |name: &'static str| plain.remove(name).ok_or(AlertError::Plain(name));
    let text = |name: &'static str, value: Value| match value {
        Value::String(text) => Ok(text),
        _ => Err(AlertError::Plain(name)),
    };
    let seconds = |name: &'static str, value: Value| {
        let seconds = value.as_i64().filter(|s| (0..=crate::id::TIMESTAMP_MAX).contains(s));
        seconds.map(Timestamp::from_seconds).ok_or(AlertError::Plain(name))
    };
    let schema = take("schema")?.as_u64().ok_or(AlertError::Plain("schema"))?;
    if schema != u64::from(SCHEMA) {
        return Err(AlertError::UnknownSchema);
    }
    let issuer: AuthorityId =
        text("iss", take("iss")?)?.parse().map_err(|_| AlertError::Plain("iss"))?;
    let id: AlertId = text("jti", take("jti")?)?.parse().map_err(|_| AlertError::Plain("jti"))?;
    let version = take("ver")?.as_u64().and_then(|version| version.try_into().ok());
    let version: Version = version.filter(|v| *v > 0).ok_or(AlertError::Plain("ver"))?;
    let issued_at = seconds("iat", take("iat")?)?;
    let expires_at = seconds("exp", take("exp")?)?;
    let previous = match plain.remove("prev") {
        None => None,
        Some(Value::String(text)) => Some(text.parse().map_err(|_| AlertError::Plain("prev"))?),
        Some(_) => return Err(AlertError::Plain("prev")),
    };
    if !plain.is_empty() {
        return Err(AlertError::Plain("an unknown name"));
    }
    if *id.authority() != issuer {
        return Err(AlertError::NotTheIssuer);
    }
    if previous.is_some() != (version > 1) {
        return Err(AlertError::Plain("prev"));
    }
    Ok(Head { id, version, issued_at, expires_at, previous, schema: SCHEMA })
}

/// How a verified alert relates to the one that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Succession {
    /// None is held.
    First,
    /// It is the next version.
    Next,
    /// Versions between were not seen.
    Gap,
    /// It follows another version than the one held, because its issuer had lost state. It is the
    /// newest nevertheless.
    Forked,
    /// The same JWT: its disclosures replace those held.
    SameVersion,
}

/// Compares a verified alert with the version that is held.
///
/// # Errors
/// [`AlertError::OlderVersion`] or [`AlertError::Equivocation`].
pub fn succeeds(held: Option<(Version, Digest)>, new: &View) -> Result<Succession, AlertError> {
    let Some((version, digest)) = held else { return Ok(Succession::First) };
    match new.head.version {
        // Whatever is missing in between: this is the issuer's newest word.
        newer if newer > version + 1 => Ok(Succession::Gap),
        next if next == version + 1 => match new.head.previous {
            Some(previous) if previous == digest => Ok(Succession::Next),
            // Refusing it would keep the older version forever.
            _ => Ok(Succession::Forked),
        },
        // Policy gives other claims of the same version now.
        same if same == version && new.jwt_digest == digest => Ok(Succession::SameVersion),
        same if same == version => Err(AlertError::Equivocation),
        _ => Err(AlertError::OlderVersion),
    }
}
