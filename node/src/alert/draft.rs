//! What an officer submits: JSON, checked whole before anything is signed.

use super::content::{Content, Location, Name, Subject};
use super::text::{NAME_BYTES_MAX, TEXT_BYTES_MAX, checked, country};
use super::vocabulary::{Category, Exploitation, Handling, SubjectCategory, Urgency};
use super::{AlertError, rules};
use crate::id::{Digest, Timestamp};
use crate::jose::{self, JoseError};

/// Largest draft, in bytes: its token must stay within 64 KiB.
pub const DRAFT_BYTES_MAX: usize = 24 * 1024;

/// Elements of one list: keeps a token within its bound.
const LIST_MAX: usize = 16;

/// A checked draft; its times and generalised claims come when it is issued. It cannot be printed.
#[derive(Clone)]
pub struct Draft {
    content: Content,
}

impl Draft {
    /// Parses and checks everything that needs no history.
    ///
    /// # Errors
    /// The first refusal, which names the claim and never its value.
    pub fn parse(json: &str) -> Result<Self, AlertError> {
        if json.len() > DRAFT_BYTES_MAX {
            return Err(AlertError::Json("a draft has at most 24 KiB".to_owned()));
        }
        let value = jose::parse_json(json.as_bytes()).map_err(|error| match error {
            JoseError::Json => AlertError::Json("check quotes, commas and brackets".to_owned()),
            other => other.into(),
        })?;
        let content: Content =
            serde_json::from_value(value).map_err(|error| AlertError::Json(masked(&error)))?;
        let content = normalised(content)?;
        check_mandatory(&content)?;
        rules::check(&content)?;
        content.subjects.iter().try_for_each(|subject| check_person(&content, subject))?;
        Ok(Self { content })
    }

    /// The content.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// The same draft, to end at `end` unless it says so itself.
    #[must_use]
    pub fn ending_at(mut self, end: Timestamp) -> Self {
        self.content.expires_at.get_or_insert(end);
        self
    }

    /// Digest of the checked content: an import that is repeated makes nothing twice.
    pub fn digest(&self) -> Digest {
        Digest::of(&serde_json::to_vec(&self.content).unwrap_or_default())
    }

    /// A filled-in example for a category.
    pub fn template(category: Category) -> String {
        template(category)
    }
}

/// serde's message without the value that it quotes.
fn masked(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let known = ["unknown field", "missing field"];
    let word = |name: &str| name.chars().all(|c| c.is_ascii_alphabetic());
    let vocabulary = text.split_once(": one of ").is_some_and(|(name, _)| word(name));
    if vocabulary || known.iter().any(|start| text.starts_with(start)) {
        return text;
    }
    match text.split_once(", expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        None => "a value is not of the kind its field holds".to_owned(),
    }
}

fn normalised(mut content: Content) -> Result<Content, AlertError> {
    let lists = [content.subjects.len(), content.objects.len(), content.locations.len()];
    if lists.iter().any(|length| *length > LIST_MAX) {
        return Err(AlertError::Value {
            field: "subjects",
            why: "at most 16 subjects, objects and locations each",
        });
    }
    content.evaluation.get_or_insert_with(|| "X4".to_owned());
    content.urgency.get_or_insert(Urgency::Normal);
    text(&mut content.urgency_reason, "urgency_reason", TEXT_BYTES_MAX)?;
    text(&mut content.handling_text, "handling_text", TEXT_BYTES_MAX)?;
    text(&mut content.legal_basis, "legal_basis", NAME_BYTES_MAX)?;
    text(&mut content.case_ref, "case_ref", NAME_BYTES_MAX)?;
    content.subjects.iter_mut().try_for_each(subject)?;
    for object in &mut content.objects {
        text(&mut object.description, "objects.description", TEXT_BYTES_MAX)?;
    }
    content.locations.iter_mut().try_for_each(location)?;
    Ok(content)
}

fn text(value: &mut Option<String>, field: &'static str, max: usize) -> Result<(), AlertError> {
    if let Some(held) = value {
        *held = checked(field, held, max)?;
    }
    Ok(())
}

fn texts(values: &mut [String], field: &'static str) -> Result<(), AlertError> {
    if values.len() > LIST_MAX {
        return Err(AlertError::Value { field, why: "at most 16 entries" });
    }
    for value in values {
        *value = checked(field, value, NAME_BYTES_MAX)?;
    }
    Ok(())
}

fn subject(subject: &mut Subject) -> Result<(), AlertError> {
    if subject.names.len() > LIST_MAX || subject.identifiers.len() > LIST_MAX {
        return Err(AlertError::Value {
            field: "subjects",
            why: "at most 16 names and 16 identifiers",
        });
    }
    subject.names.iter_mut().try_for_each(name)?;
    if let Some(date) = &subject.birth_date {
        birth_year(date)?;
    }
    if subject.birth_year.is_some() || subject.age_band.is_some() {
        return Err(AlertError::Value {
            field: "subjects.birth_year",
            why: "birth_year and age_band are made from birth_date: leave them out",
        });
    }
    text(&mut subject.birth_place, "subjects.birth_place", NAME_BYTES_MAX)?;
    text(&mut subject.role, "subjects.role", NAME_BYTES_MAX)?;
    text(&mut subject.modus_operandi, "subjects.modus_operandi", TEXT_BYTES_MAX)?;
    text(&mut subject.necessity_note, "subjects.necessity_note", TEXT_BYTES_MAX)?;
    texts(&mut subject.descriptions, "subjects.descriptions")?;
    texts(&mut subject.marks, "subjects.marks")?;
    for nationality in &mut subject.nationalities {
        *nationality = country(nationality)?;
    }
    Ok(())
}

fn name(name: &mut Name) -> Result<(), AlertError> {
    if name.family.is_empty() && name.given.is_empty() {
        return Err(AlertError::Value {
            field: "subjects.names",
            why: "a name has a family or a given name",
        });
    }
    for part in [&mut name.family, &mut name.given] {
        if !part.is_empty() {
            *part = checked("subjects.names", part, NAME_BYTES_MAX)?;
        }
    }
    Ok(())
}

/// Region and country follow from the smallest region given.
fn location(location: &mut Location) -> Result<(), AlertError> {
    let refused = |why| Err(AlertError::Value { field: "locations", why });
    text(&mut location.text, "locations.text", TEXT_BYTES_MAX)?;
    if let Some(nuts3) = &location.nuts3 {
        let Some(nuts2) = nuts3.get(..4).filter(|_| is_nuts(nuts3, 5)) else {
            return refused("nuts3 has five letters and digits, e.g. DK011");
        };
        let nuts2 = nuts2.to_owned();
        if location.nuts2.get_or_insert_with(|| nuts2.clone()) != &nuts2 {
            return refused("nuts2 and nuts3 contradict each other");
        }
    }
    if let Some(nuts2) = &location.nuts2 {
        let Some(code) = nuts2.get(..2).filter(|_| is_nuts(nuts2, 4)) else {
            return refused("nuts2 has four letters and digits, e.g. DK01");
        };
        let code = if code == "EL" { "GR" } else { code }.to_owned();
        if location.country.get_or_insert_with(|| code.clone()) != &code {
            return refused("country and nuts2 contradict each other");
        }
    }
    if let Some(held) = &mut location.country {
        *held = country(held)?;
    }
    Ok(())
}

fn is_nuts(code: &str, length: usize) -> bool {
    let letters = code.bytes().take(2).all(|b| b.is_ascii_uppercase());
    let rest = code.bytes().skip(2).all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    code.len() == length && letters && rest
}

fn check_mandatory(content: &Content) -> Result<(), AlertError> {
    let missing = |name| Err(AlertError::Missing(name));
    if content.exploitation.is_empty() {
        return missing("exploitation");
    }
    if content.legal_basis.is_none() {
        return missing("legal_basis");
    }
    if content.case_ref.is_none() {
        return missing("case_ref");
    }
    if content.subjects.is_empty() && content.objects.is_empty() {
        return missing("subjects");
    }
    if content.urgency == Some(Urgency::Urgent) && content.urgency_reason.is_none() {
        return missing("urgency_reason");
    }
    if content.handling.contains(&Handling::H3) != content.handling_text.is_some() {
        return Err(AlertError::Value {
            field: "handling_text",
            why: "H3 comes with its restriction in text, the other codes without",
        });
    }
    if content.issued_at.is_some() || content.review_at.is_some() {
        return Err(AlertError::Value {
            field: "issued_at",
            why: "issued_at and review_at are set when the alert is issued: leave them out",
        });
    }
    Ok(())
}

fn check_person(content: &Content, subject: &Subject) -> Result<(), AlertError> {
    let protected = subject.category.is_some_and(SubjectCategory::protected);
    let in_touch = |kind: super::IdentifierKind| !kind.is_document();
    let reachable = subject.identifiers.iter().any(|identifier| in_touch(identifier.kind()));
    if protected && reachable && subject.consent.is_none() {
        return Err(AlertError::Missing("subjects.consent"));
    }
    let child_alert = content.category == Some(Category::ChildPreventTravel);
    if child_alert && subject.necessity_note.is_none() {
        return Err(AlertError::Missing("subjects.necessity_note"));
    }
    Ok(())
}

/// Checks what depends on the day: children.
pub(super) fn check_ages(content: &Content, now: Timestamp) -> Result<(), AlertError> {
    for subject in &content.subjects {
        let Some(date) = &subject.birth_date else { continue };
        let under_18 = age(date, now)? < 18;
        if under_18 && subject.necessity_note.is_none() {
            return Err(AlertError::Missing("subjects.necessity_note"));
        }
        if !under_18 && content.category == Some(Category::ChildPreventTravel) {
            return Err(AlertError::NotPermitted {
                claim: "subjects.birth_date",
                category: Category::ChildPreventTravel.as_str(),
            });
        }
    }
    Ok(())
}

const BIRTH_DATE: AlertError = AlertError::Value {
    field: "subjects.birth_date",
    why: "a birth date is written YYYY-MM-DD, YYYY-MM or YYYY",
};

/// The year of a full or partial birth date.
pub(super) fn birth_year(date: &str) -> Result<u16, AlertError> {
    let padded = match date.len() {
        4 => format!("{date}-01-01"),
        7 => format!("{date}-01"),
        10 => date.to_owned(),
        _ => return Err(BIRTH_DATE),
    };
    let parsed: jiff::civil::Date = padded.parse().map_err(|_| BIRTH_DATE)?;
    let year = u16::try_from(parsed.year()).map_err(|_| BIRTH_DATE)?;
    if (1900..=2100).contains(&year) { Ok(year) } else { Err(BIRTH_DATE) }
}

/// Completed years at `now`; the youngest possible for a partial date.
pub(super) fn age(date: &str, now: Timestamp) -> Result<i32, AlertError> {
    let latest = match date.len() {
        4 => format!("{date}-12-31"),
        7 => format!("{date}-28"),
        _ => date.to_owned(),
    };
    let born: jiff::civil::Date = latest.parse().map_err(|_| BIRTH_DATE)?;
    let today = now.date();
    let before_birthday = (today.month(), today.day()) < (born.month(), born.day());
    Ok(i32::from(today.year()) - i32::from(born.year()) - i32::from(before_birthday))
}

/// Coarse age, so that a policy can give it without the date.
pub(super) fn age_band(age: i32) -> &'static str {
    match age {
        ..12 => "0-11",
        12..16 => "12-15",
        16..18 => "16-17",
        18..25 => "18-24",
        25..35 => "25-34",
        35..50 => "35-49",
        50..65 => "50-64",
        _ => "65+",
    }
}

fn template(category: Category) -> String {
    let person = SubjectCategory::ALL.iter().find(|person| category.permits_subject(**person));
    let mut draft = serde_json::json!({
        "category": category.as_str(),
        "exploitation": [Exploitation::Labour.as_str()],
        "act": ["transport"],
        "means": ["deception"],
        "urgency": "normal",
        "handling": ["H0"],
        "evaluation": "B3",
        "legal_basis": "national act and section",
        "case_ref": "your case number",
        "locations": [{ "kind": "transit", "nuts3": "DK011" }],
    });
    let child = category == Category::ChildPreventTravel;
    if let (Some(object), Some(person)) = (draft.as_object_mut(), person) {
        let mut subject = serde_json::json!({
            "category": person.as_str(),
            "names": [{ "family": "Familyname", "given": "Givenname" }],
            "birth_date": if child { "2015-01-31" } else { "1990-01-31" },
            "sex": "female",
            "nationalities": ["DK"],
        });
        if let (Some(subject), true) = (subject.as_object_mut(), child) {
            let note = "why data of a child is strictly necessary here";
            subject.insert("necessity_note".to_owned(), note.into());
        }
        object.insert("subjects".to_owned(), serde_json::json!([subject]));
    } else if let Some(object) = draft.as_object_mut() {
        let objects = serde_json::json!([{
            "kind": "vehicle",
            "identifiers": [{ "type": "plate", "country": "DK", "number": "AB12345" }],
        }]);
        object.insert("objects".to_owned(), objects);
    }
    serde_json::to_string_pretty(&draft).unwrap_or_default()
}
