//! What an officer submits: JSON, checked whole before anything is signed.

use super::content::{Content, Location, Subject};
use super::vocabulary::{Category, Exploitation, Handling, SubjectCategory, Urgency};
use super::{AlertError, View, form, rules};
use crate::id::{Digest, Timestamp};
use crate::jose::JoseError;

/// Largest draft, in bytes: its token must stay within 64 KiB.
pub const DRAFT_BYTES_MAX: usize = 24 * 1024;

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
        let content: Content = serde_json::from_str(json).map_err(|error| refusal(&error))?;
        let content = completed(content)?;
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

    /// The draft of what was issued, to be issued anew, to end no later than the retention of its category from `now`.
    pub fn again(issued: &View, now: Timestamp) -> Self {
        let mut content = issued.content.clone();
        let latest = content.category.map_or(now, |category| now.plus(category.retention_s()));
        content.expires_at = content.expires_at.map(|end| end.min(latest));
        Self { content }
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

/// serde's message without the value that it quotes, and where it is. The types refuse a name that stands twice.
fn refusal(error: &serde_json::Error) -> AlertError {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = text.strip_suffix(&place).unwrap_or(&text);
    if text.starts_with("duplicate field") {
        return JoseError::DuplicateClaim.into();
    }
    let known = ["unknown field", "missing field"];
    let word = |name: &str| name.chars().all(|c| c.is_ascii_alphabetic());
    let vocabulary = text.split_once(": one of ").is_some_and(|(name, _)| word(name));
    let what = if !error.is_data() {
        "check quotes, commas and brackets"
    } else if vocabulary || known.iter().any(|start| text.starts_with(start)) {
        text
    } else if let Some((_, expected)) = text.rsplit_once(", expected ") {
        return AlertError::Json(format!("expected {expected}{place}"));
    } else {
        "a value is not of the kind its field holds"
    };
    AlertError::Json(format!("{what}{place}"))
}

/// Defaults, and the coarser regions that follow from the smallest one given; then everything in its one form.
fn completed(mut content: Content) -> Result<Content, AlertError> {
    content.evaluation.get_or_insert_with(|| "X4".to_owned());
    content.urgency.get_or_insert(Urgency::Normal);
    let made = |subject: &Subject| subject.birth_year.is_some() || subject.age_band.is_some();
    if content.subjects.iter().any(made) {
        return Err(AlertError::Value {
            field: "subjects.birth_year",
            why: "birth_year and age_band are made from birth_date: leave them out",
        });
    }
    form::normalise(&mut content)?;
    content.locations.iter_mut().try_for_each(regions)?;
    Ok(content)
}

fn regions(location: &mut Location) -> Result<(), AlertError> {
    let refused = |why| Err(AlertError::Value { field: "locations", why });
    if let Some(nuts2) = location.nuts3.as_deref().and_then(|nuts3| nuts3.get(..4))
        && location.nuts2.get_or_insert_with(|| nuts2.to_owned()) != nuts2
    {
        return refused("nuts2 and nuts3 contradict each other");
    }
    // Greece and the United Kingdom have other letters in NUTS than in ISO 3166-1.
    let country = location.nuts2.as_deref().and_then(|nuts2| nuts2.get(..2));
    let iso = |code| match code {
        "EL" => "GR",
        "UK" => "GB",
        code => code,
    };
    if let Some(code) = country.map(iso)
        && location.country.get_or_insert_with(|| code.to_owned()) != code
    {
        return refused("country and nuts2 contradict each other");
    }
    Ok(())
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
        if earliest(date)? > now.plus(DAY_AHEAD_S).date() {
            return Err(AlertError::Value {
                field: "subjects.birth_date",
                why: "a birth date does not lie in the future",
            });
        }
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

/// How far the date of the easternmost places is ahead of UTC, in seconds.
const DAY_AHEAD_S: i64 = 14 * 3600;

const BIRTH_DATE: AlertError = AlertError::Value {
    field: "subjects.birth_date",
    why: "a birth date is written YYYY-MM-DD, YYYY-MM or YYYY",
};

/// The first day that a full or partial birth date may mean.
fn earliest(date: &str) -> Result<jiff::civil::Date, AlertError> {
    let padded = match date.len() {
        4 => format!("{date}-01-01"),
        7 => format!("{date}-01"),
        10 => date.to_owned(),
        _ => return Err(BIRTH_DATE),
    };
    padded.parse().map_err(|_| BIRTH_DATE)
}

/// The year of a full or partial birth date.
pub(super) fn birth_year(date: &str) -> Result<u16, AlertError> {
    let year = u16::try_from(earliest(date)?.year()).map_err(|_| BIRTH_DATE)?;
    if (1900..=2100).contains(&year) { Ok(year) } else { Err(BIRTH_DATE) }
}

/// Completed years at `now`; the youngest possible for a partial date.
pub(super) fn age(date: &str, now: Timestamp) -> Result<i32, AlertError> {
    let latest = match date.len() {
        4 => format!("{date}-12-31"),
        7 => format!("{date}-01"),
        _ => date.to_owned(),
    };
    let born: jiff::civil::Date = latest.parse().map_err(|_| BIRTH_DATE)?;
    let born = if date.len() == 7 { born.last_of_month() } else { born };
    let today = now.date();
    let before_birthday = (today.month(), today.day()) < (born.month(), born.day());
    Ok(i32::from(today.year()) - i32::from(born.year()) - i32::from(before_birthday))
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
