//! The reference of fields, for people, made from the table that parses drafts.

use super::fields::{self, FIELDS, Field, Form, IDENTIFIER_FIELDS};
use super::identifier::IdentifierKind;
use super::nearest::nearest;
use super::reading::describe;
use super::rules;
use super::vocabulary::{Category, SubjectCategory};

/// Everything there is to know about a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// Its names from the top, joined with dots.
    pub name: String,
    /// What it says.
    pub means: &'static str,
    /// The form of its value.
    pub form: String,
    /// As JSON.
    pub example: String,
    /// What its words or kinds mean, or who may have it; may be empty.
    pub notes: Vec<String>,
}

/// A field and those below it, or every field for an empty name. Indexes in a path are ignored, and
/// the last name suffices if only one field has it.
///
/// # Errors
/// The most similar name, if there is one, when there is no such field.
pub fn explain(name: &str) -> Result<Vec<Explained>, Option<&'static str>> {
    let name = without_indexes(name.trim());
    if name.is_empty() {
        return Ok(FIELDS.iter().map(explained).collect());
    }
    for parent in ["subjects.identifiers", "objects.identifiers"] {
        let part = name.strip_prefix(parent).and_then(|rest| rest.strip_prefix('.'));
        let part = part.and_then(|part| IDENTIFIER_FIELDS.iter().find(|f| f.name == part));
        if let Some(field) = part {
            return Ok(vec![Explained { name, ..explained(field) }]);
        }
    }
    let found = FIELDS.iter().find(|field| field.name == name);
    let by_last = || FIELDS.iter().find(|field| field.last() == name);
    let Some(field) = found.or_else(by_last) else {
        return Err(nearest(&name, FIELDS.iter().flat_map(|f| [f.name, f.last()])));
    };
    let below = fields::of(field.name);
    Ok(std::iter::once(field).chain(below).map(explained).collect())
}

fn without_indexes(path: &str) -> String {
    let mut within = false;
    let kept = path.chars().filter(|c| {
        within = *c == '[' || within && *c != ']';
        !within && *c != ']'
    });
    kept.collect()
}

fn explained(field: &'static Field) -> Explained {
    let form = describe(field.form);
    let form = match (field.many, field.made) {
        (true, _) => format!("a list; each entry {form}"),
        (_, true) => format!("{form}; made by the node, in no draft"),
        _ => form,
    };
    let notes = match (field.name, field.form) {
        ("category", _) => Category::ALL.iter().map(|category| of_category(*category)).collect(),
        (_, Form::Identifier) => IdentifierKind::ALL.into_iter().map(of_kind).collect(),
        (name, _) => name.strip_prefix("subjects.").map(of_claim).unwrap_or_default(),
    };
    let example = field.whole_example();
    Explained { name: field.name.to_owned(), means: field.means, form, example, notes }
}

fn of_category(category: Category) -> String {
    let people = SubjectCategory::ALL.iter().filter(|person| category.permits_subject(**person));
    let mut who: Vec<&str> = people.map(|person| person.as_str()).collect();
    if category.permits_objects() {
        who.push("objects");
    }
    let years = category.retention_s() / (365 * 86_400);
    let (action, who) = (category.action(), who.join(", "));
    format!("{category}: {action}, at most {years} y; {who}")
}

fn of_kind(kind: IdentifierKind) -> String {
    let country = if kind.needs_country() { ", with country" } else { "" };
    format!("{kind}: {}{country}, e.g. {}", kind.expected(), kind.example())
}

/// The categories of person that may have the claim, if not all may.
fn of_claim(claim: &str) -> Vec<String> {
    if !rules::RESTRICTED.contains(&claim) {
        return vec![];
    }
    let people = SubjectCategory::ALL.iter().filter(|person| rules::permits(**person, claim));
    let people: Vec<&str> = people.map(|person| person.as_str()).collect();
    vec![format!("kept only of: {}", people.join(", "))]
}
