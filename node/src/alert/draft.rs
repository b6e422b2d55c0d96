//! What an officer submits: JSON, checked completely before anything is signed.

use serde_json::Value;

use super::content::{Content, Location, Subject};
use super::dates;
use super::fault::{FaultKind, Faults, Path};
use super::reading::{self, Source};
use super::regions;
use super::vocabulary::{Category, Exploitation, Handling, Urgency};
use super::{AlertError, IdentifierKind, rules, template};
use crate::id::{Digest, Timestamp};
use crate::jose::{self, JoseError};

/// Largest draft, in bytes: its token must stay within 64 KiB.
pub const DRAFT_BYTES_MAX: usize = 24 * 1024;

/// A checked draft; its times and generalised claims are added when it is issued. It cannot be
/// printed.
#[derive(Clone)]
pub struct Draft {
    content: Content,
}

impl Draft {
    /// Parses and checks everything that needs no history.
    ///
    /// # Errors
    /// Every fault at once, each with its place and never with a value.
    pub fn parse(json: &str, now: Timestamp) -> Result<Self, AlertError> {
        if json.len() > DRAFT_BYTES_MAX {
            return Err(AlertError::Json("a draft has at most 24 KiB".to_owned()));
        }
        let mut value = jose::read_json(json.as_bytes()).map_err(unreadable)?;
        let Value::Object(alert) = &mut value else {
            return Err(AlertError::Json("a draft is one object in braces".to_owned()));
        };
        let mut faults = Faults::default();
        reading::read(alert, Source::Draft, &mut faults);
        let content = serde_json::from_value(value);
        let mut content: Content = content.map_err(|_| {
            AlertError::Json("a value is not of the kind its field holds".to_owned())
        })?;
        complete(&mut content, &mut faults);
        check_mandatory(&content, &mut faults);
        rules::check(&content, &mut faults);
        check_people(&content, &mut faults);
        check_days(&content, now, &mut faults);
        faults.or(Self { content })
    }

    /// The content.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// The same draft, which expires at `end` unless it names a time itself.
    #[must_use]
    pub fn ending_at(mut self, end: Timestamp) -> Self {
        self.content.expires_at.get_or_insert(end);
        self
    }

    /// A draft of an issued alert, to issue it again; it expires no later than the retention of its
    /// category from `now`.
    pub fn again(issued: &Content, now: Timestamp) -> Self {
        let mut content = issued.clone();
        let latest = content.category.map_or(now, |category| now.plus(category.retention_s()));
        content.expires_at = content.expires_at.map(|end| end.min(latest));
        Self { content }
    }

    /// Digest of the checked content, so that a repeated import creates nothing twice.
    pub fn digest(&self) -> Digest {
        Digest::of(&serde_json::to_vec(&self.content).unwrap_or_default())
    }

    /// A draft of a category with placeholders, which are refused until they are replaced.
    pub fn template(category: Category) -> String {
        template::of(category)
    }
}

/// Why a text is not JSON, and where; never quotes the text.
fn unreadable((error, json): (JoseError, serde_json::Error)) -> AlertError {
    if error == JoseError::DuplicateClaim {
        return error.into();
    }
    let what = if json.is_data() {
        "nested too deeply"
    } else if json.is_eof() {
        "it ends before its last bracket"
    } else {
        "check quotes, commas and brackets"
    };
    AlertError::Json(format!("{what} at line {} column {}", json.line(), json.column()))
}

/// Defaults, and the coarser regions that follow from the smallest one given.
fn complete(content: &mut Content, faults: &mut Faults) {
    content.evaluation.get_or_insert_with(|| "X4".to_owned());
    content.urgency.get_or_insert(Urgency::Normal);
    let root = Path::Root;
    let list = root.member("locations");
    for (number, location) in content.locations.iter_mut().enumerate() {
        complete_location(list.element(number), location, faults);
    }
}

fn complete_location(at: Path<'_>, location: &mut Location, faults: &mut Faults) {
    for (name, code, length) in [("nuts2", &location.nuts2, 4), ("nuts3", &location.nuts3, 5)] {
        let Some(code) = code.as_deref().filter(|code| !regions::is_nuts(code, length)) else {
            continue;
        };
        let near = regions::near_regions(code, length);
        let expected = match near.as_slice() {
            [] => "there is no such region in NUTS 2024: write it in text".to_owned(),
            near => format!("there is no such region in NUTS 2024; near it: {}", near.join(", ")),
        };
        let example = near.first().map_or(String::new(), |near| format!("\"{near}\""));
        faults.add(at.member(name), FaultKind::Value, expected, example);
    }
    if let Some(nuts2) = location.nuts3.as_deref().and_then(|nuts3| nuts3.get(..4))
        && location.nuts2.get_or_insert_with(|| nuts2.to_owned()) != nuts2
    {
        let expected = "nuts2 and nuts3 contradict each other: leave nuts2 out";
        faults.add(at.member("nuts2"), FaultKind::Value, expected, "");
    }
    if let Some(code) = location.nuts2.as_deref().and_then(regions::country_of)
        && location.country.get_or_insert_with(|| code.to_owned()) != code
    {
        let expected = "country and region contradict each other: leave country out";
        faults.add(at.member("country"), FaultKind::Value, expected, "");
    }
}

fn check_mandatory(content: &Content, faults: &mut Faults) {
    let root = Path::Root;
    if content.exploitation.is_empty() {
        let expected =
            format!("at least one form of exploitation: {}", Exploitation::WORDS.join(", "));
        faults.missing(root.member("exploitation"), expected, "[\"labour\"]");
    }
    if content.legal_basis.is_none() {
        let expected = "the law that the alert rests on is missing";
        faults.missing(root.member("legal_basis"), expected, "\"act 12, section 3\"");
    }
    if content.case_ref.is_none() {
        faults.missing(root.member("case_ref"), "your case is missing", "\"2026-1234\"");
    }
    if content.subjects.is_empty() && content.objects.is_empty() {
        let expected = "an alert is about a person or an object: give one";
        faults.missing(root.member("subjects"), expected, "[{ \"category\": \"missing\" }]");
    }
    if content.urgency == Some(Urgency::Urgent) && content.urgency_reason.is_none() {
        let expected = "why it is urgent is missing";
        let example = "\"expected to be moved this week\"";
        faults.missing(root.member("urgency_reason"), expected, example);
    }
    let restricted = content.handling.contains(&Handling::H3);
    if restricted && content.handling_text.is_none() {
        let expected = "the restriction that H3 stands for is missing";
        faults.missing(
            root.member("handling_text"),
            expected,
            "\"not to be told to the employer\"",
        );
    }
    if !restricted && content.handling_text.is_some() {
        let expected =
            "a restriction in text stands with H3 only: add H3 to handling, or leave it out";
        faults.add(root.member("handling_text"), FaultKind::Value, expected, "");
    }
}

fn check_people(content: &Content, faults: &mut Faults) {
    let root = Path::Root;
    let list = root.member("subjects");
    for (number, subject) in content.subjects.iter().enumerate() {
        let at = list.element(number);
        if reachable(subject) && subject.consent.is_none() {
            let expected = "means of contact of a protected person need a ground: consent or \
                            protection; or leave them out";
            faults.missing(at.member("consent"), expected, "\"protection\"");
        }
        let child = content.category == Some(Category::ChildPreventTravel);
        if child && subject.birth_date.is_none() {
            missing_note(at, subject, faults);
        }
    }
}

/// Notes a protected person with means of contact.
fn reachable(subject: &Subject) -> bool {
    let protected = subject.category.is_some_and(super::SubjectCategory::protected);
    let means = |kind: IdentifierKind| !kind.is_document() && !kind.is_financial();
    protected && subject.identifiers.iter().any(|identifier| means(identifier.kind()))
}

fn missing_note(at: Path<'_>, subject: &Subject, faults: &mut Faults) {
    if subject.necessity_note.is_none() {
        let expected =
            "why data of somebody under 18 is strictly necessary is missing [2016/680 Art. 10]";
        let example = "\"the child is to be kept from leaving\"";
        faults.missing(at.member("necessity_note"), expected, example);
    }
}

/// Checks what depends on the day: children, and the end.
pub(super) fn check_days(content: &Content, now: Timestamp, faults: &mut Faults) {
    let root = Path::Root;
    let list = root.member("subjects");
    for (number, subject) in content.subjects.iter().enumerate() {
        let at = list.element(number);
        let Some(date) = &subject.birth_date else { continue };
        let born = at.member("birth_date");
        if dates::is_future(date, now) {
            let expected = "a birth date does not lie in the future: correct it";
            faults.add(born, FaultKind::Value, expected, "");
            continue;
        }
        if dates::age(date, now).is_some_and(|age| age < 18) {
            missing_note(at, subject, faults);
        } else if content.category == Some(Category::ChildPreventTravel) {
            let expected = "child_prevent_travel is about people under 18, and by this date the \
                            person is older: correct the date, or make the alert an \
                            adult_prevent_travel";
            faults.add(born, FaultKind::Value, expected, "");
        }
    }
    let latest = content.category.map(|category| now.plus(category.retention_s()));
    if let (Some(end), Some(latest)) = (content.expires_at, latest)
        && (end > latest || end <= now)
    {
        let expected = format!(
            "the end lies after now and at the latest where the category's retention ends, {latest}"
        );
        faults.add(root.member("expires_at"), FaultKind::Value, expected, format!("\"{latest}\""));
    }
}
