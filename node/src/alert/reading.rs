//! Parses the JSON of an alert by the table of fields. It normalises each value of a draft; values
//! in a signed alert must be normalised already, so that nothing deceptive is kept, shown or
//! compared.

use serde_json::{Map, Value};

use super::dates;
use super::fault::{FaultKind, Faults, Path};
use super::fields::{self, Field, Form, IDENTIFIER_FIELDS, LIST_MAX};
use super::identifier::{Identifier, IdentifierKind, Unfit};
use super::nearest::{nearest, no_word};
use super::regions;
use super::text::{NAME_BYTES_MAX, checked, country};
use crate::id::{Timestamp, printable};

/// Where an alert comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// An officer wrote it.
    Draft,
    /// A node signed it.
    Signed,
}

/// Most characters shown of an unknown name: people mistype words, not sentences.
const UNKNOWN_CHARS_MAX: usize = 40;

/// Parses an alert; removes faulty parts from it, and notes them.
pub(super) fn read(alert: &mut Map<String, Value>, source: Source, faults: &mut Faults) {
    Reader { source, faults }.record(Path::Root, "", alert);
}

/// Describes a value of this form.
pub(super) fn describe(form: Form) -> String {
    match form {
        Form::Word(words) => format!("one of {}", words.join(", ")),
        Form::Text(max) => format!("a text of at most {max} bytes"),
        Form::NamePart => format!("a name of at most {NAME_BYTES_MAX} bytes"),
        Form::Country => "a country of ISO 3166-1, two letters".to_owned(),
        Form::Nuts(4) => "a region of NUTS 2024, level 2".to_owned(),
        Form::Nuts(_) => "a region of NUTS 2024, level 3".to_owned(),
        Form::BirthDate => "YYYY-MM-DD, YYYY-MM or YYYY, from 1900 on".to_owned(),
        Form::Time => "a time, RFC 3339".to_owned(),
        Form::Evaluation => "a source A, B, C or X and an information 1 to 4".to_owned(),
        Form::Record => "an object in braces".to_owned(),
        Form::Identifier => {
            "an object with type and number, and country for documents and plates".to_owned()
        }
        Form::Year => "a year".to_owned(),
        Form::AgeBand => "an age band".to_owned(),
    }
}

struct Reader<'a> {
    source: Source,
    faults: &'a mut Faults,
}

impl Reader<'_> {
    fn record(&mut self, at: Path<'_>, parent: &str, members: &mut Map<String, Value>) {
        let before = self.faults.count();
        members.retain(|name, value| self.member(at, parent, name, value));
        let named = ["family", "given"].iter().any(|part| members.contains_key(*part));
        if parent == "subjects.names" && !named && self.faults.count() == before {
            let example = fields::find("subjects", "names").map_or("", |field| field.example);
            self.faults.add(at, FaultKind::Value, "a name has a family or a given name", example);
        }
    }

    /// Returns whether the member stays.
    fn member(&mut self, at: Path<'_>, parent: &str, name: &str, value: &mut Value) -> bool {
        let Some(field) = fields::find(parent, name) else {
            self.unknown(at, name, fields::of(parent).map(Field::last));
            return false;
        };
        let path = at.member(name);
        let draft = self.source == Source::Draft;
        if draft && field.made {
            let made = "the node makes it when it issues the alert: leave it out";
            self.faults.add(path, FaultKind::Value, made, "");
            return false;
        }
        if draft && value.is_null() && !field.many {
            return false;
        }
        if field.many { self.list(path, field, value) } else { self.one(path, field, value) }
    }

    fn unknown<'n>(&mut self, at: Path<'_>, name: &str, known: impl Iterator<Item = &'n str>) {
        let shown: String = printable(name).chars().take(UNKNOWN_CHARS_MAX).collect();
        let expected = match nearest(name, known) {
            Some(near) => format!("there is no such field: did you mean {near}?"),
            None => "there is no such field: `entente alert explain` lists all".to_owned(),
        };
        self.faults.add(at.member(&shown), FaultKind::Malformed, expected, "");
    }

    fn list(&mut self, path: Path<'_>, field: &'static Field, value: &mut Value) -> bool {
        let Value::Array(elements) = value else {
            let expected = "a list in square brackets";
            self.faults.add(path, FaultKind::Malformed, expected, field.whole_example());
            return false;
        };
        let words = matches!(field.form, Form::Word(_));
        if !words && elements.len() > LIST_MAX {
            self.faults.add(path, FaultKind::Value, format!("at most {LIST_MAX} entries"), "");
            elements.truncate(LIST_MAX);
        }
        let mut number = 0;
        elements.retain_mut(|element| {
            let stays = self.one(path.element(number), field, element);
            if !stays {
                self.faults.drop_element(path, number);
            }
            number += 1;
            stays
        });
        let before = elements.len();
        if words {
            distinct(elements);
        }
        if before != elements.len() {
            self.not_normal(path);
        }
        true
    }

    /// Returns whether the value stays.
    fn one(&mut self, path: Path<'_>, field: &'static Field, value: &mut Value) -> bool {
        match field.form {
            Form::Record => {
                if let Value::Object(members) = value {
                    self.record(path, field.name, members);
                } else {
                    let expected = describe(Form::Record);
                    self.faults.add(path, FaultKind::Malformed, expected, field.example);
                    *value = Value::Object(Map::new());
                }
                true
            }
            Form::Identifier => self.identifier(path, field, value),
            Form::Year => {
                let sound = value.as_u64().is_some_and(|year| (1900..=2100).contains(&year));
                if !sound {
                    self.faults.add(path, FaultKind::Value, describe(field.form), field.example);
                }
                sound
            }
            form => self.text(path, field, form, value),
        }
    }

    fn text(&mut self, path: Path<'_>, field: &Field, form: Form, value: &mut Value) -> bool {
        let Value::String(text) = value else {
            let expected = format!("in quotes: {}", describe(form));
            self.faults.add(path, FaultKind::Malformed, expected, field.example);
            return false;
        };
        if self.holds_placeholder(path, field, text) {
            return false;
        }
        if form == Form::NamePart && text.is_empty() {
            return false;
        }
        match normal(form, text) {
            Ok(normal) if normal == *text => true,
            Ok(normal) => {
                self.not_normal(path);
                *text = normal;
                true
            }
            Err((expected, None)) => {
                self.faults.add(path, FaultKind::Value, expected, field.example);
                false
            }
            Err((expected, Some(near))) => {
                self.faults.add(path, FaultKind::Value, expected, format!("\"{near}\""));
                false
            }
        }
    }

    /// A placeholder of a template is a text in angle brackets: no draft may hold one.
    fn holds_placeholder(&mut self, path: Path<'_>, field: &Field, text: &str) -> bool {
        let text = text.trim();
        let is_one = self.source == Source::Draft && text.starts_with('<') && text.ends_with('>');
        if is_one {
            let expected = format!("replace the placeholder by {}", describe(field.form));
            self.faults.add(path, FaultKind::Placeholder, expected, field.example);
        }
        is_one
    }

    /// Normalises a draft's text; a signed text that is not normalised is refused.
    fn not_normal(&mut self, path: Path<'_>) {
        if self.source == Source::Signed {
            self.faults.add(path, FaultKind::Value, "it is not in its normal form", "");
        }
    }

    fn identifier(&mut self, path: Path<'_>, field: &Field, value: &mut Value) -> bool {
        let Value::Object(members) = &*value else {
            let expected = describe(Form::Identifier);
            self.faults.add(path, FaultKind::Malformed, expected, field.example);
            return false;
        };
        let before = self.faults.count();
        let known = || IDENTIFIER_FIELDS.iter().map(Field::last);
        for name in members.keys().filter(|name| known().all(|known| known != name.as_str())) {
            self.unknown(path, name, known());
        }
        let [kind, country, number] = &IDENTIFIER_FIELDS;
        let kind = self.part(path, kind, members.get("type"));
        let country = match members.get("country") {
            None | Some(Value::Null) => Some(String::new()),
            given => self.part(path, country, given),
        };
        let number = self.part(path, number, members.get("number"));
        let kind = kind.and_then(|kind| kind.parse::<IdentifierKind>().ok());
        let (Some(kind), Some(country), Some(number)) = (kind, country, number) else {
            return false;
        };
        match Identifier::of(kind, &country, &number) {
            Ok(identifier) => {
                let normal = serde_json::to_value(identifier).unwrap_or_default();
                if normal != *value {
                    self.not_normal(path);
                    *value = normal;
                }
            }
            Err(Unfit::Country(expected, near)) => {
                let example = near.map_or("\"DK\"".to_owned(), |near| format!("\"{near}\""));
                let at = path.member("country");
                self.faults.add(at, FaultKind::Value, expected, example);
            }
            Err(Unfit::Number(expected)) => {
                let example = format!("\"{}\"", kind.example());
                self.faults.add(path, FaultKind::Value, expected, example);
            }
        }
        self.faults.count() == before
    }

    /// Parses a text of an identifier.
    fn part(
        &mut self,
        path: Path<'_>,
        field: &'static Field,
        value: Option<&Value>,
    ) -> Option<String> {
        let at = path.member(field.last());
        match value {
            None => {
                self.faults.missing(at, format!("it is missing: {}", field.means), field.example);
                None
            }
            Some(Value::String(text)) => {
                if self.holds_placeholder(at, field, text) {
                    return None;
                }
                if let Form::Word(words) = field.form
                    && !words.contains(&text.as_str())
                {
                    let (expected, near) = no_word(words, text);
                    let example = near.map_or(String::new(), |near| format!("\"{near}\""));
                    self.faults.add(at, FaultKind::Value, expected, example);
                    return None;
                }
                Some(text.clone())
            }
            Some(_) => {
                let expected = format!("in quotes: {}", describe(field.form));
                self.faults.add(at, FaultKind::Malformed, expected, field.example);
                None
            }
        }
    }
}

/// Each element once.
fn distinct(elements: &mut Vec<Value>) {
    let mut seen: Vec<Value> = Vec::new();
    elements.retain(|element| {
        let new = !seen.contains(element);
        if new {
            seen.push(element.clone());
        }
        new
    });
}

/// What is expected instead, and the most similar value that would be accepted.
type Expected = (String, Option<String>);

/// The one form of a text.
fn normal(form: Form, text: &str) -> Result<String, Expected> {
    let unless =
        |sound: bool| if sound { Ok(text.to_owned()) } else { Err((describe(form), None)) };
    match form {
        Form::Word(words) if words.contains(&text) => Ok(text.to_owned()),
        Form::Word(words) => Err(no_word(words, text)),
        Form::Text(max) => checked(text, max).map_err(|why| (why, None)),
        Form::NamePart => checked(text, NAME_BYTES_MAX).map_err(|why| (why, None)),
        Form::Country => country(text),
        Form::Nuts(length) => nuts(text, length),
        Form::BirthDate => unless(dates::birth_year(text).is_some()),
        Form::AgeBand => unless(dates::is_age_band(text)),
        Form::Evaluation => unless(is_evaluation(text)),
        Form::Time => {
            let time: Result<Timestamp, _> = text.trim().parse();
            time.map(|time| time.to_string()).map_err(|_| (describe(form), None))
        }
        Form::Record | Form::Identifier | Form::Year => Err((describe(form), None)),
    }
}

/// Checks only the form: a newer node may know regions of a newer edition. Drafts are also checked
/// against the list.
fn nuts(text: &str, length: usize) -> Result<String, Expected> {
    if regions::has_nuts_form(text, length) {
        return Ok(text.to_owned());
    }
    let near = regions::near_regions(text, length);
    Err((describe(Form::Nuts(length)), near.into_iter().next()))
}

fn is_evaluation(text: &str) -> bool {
    let mut letters = text.chars();
    let pair = (letters.next(), letters.next(), letters.next());
    matches!(pair, (Some('A' | 'B' | 'C' | 'X'), Some('1'..='4'), None))
}
