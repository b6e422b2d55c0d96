//! Templates: a draft of each category with placeholders in angle brackets, which no draft may
//! hold.

use serde_json::{Value, json};

use super::vocabulary::{Category, SubjectCategory};

/// A draft of this category, for people to fill in.
pub(super) fn of(category: Category) -> String {
    let mut draft = json!({
        "category": category.as_str(),
        "exploitation": ["<form of exploitation>"],
        "act": ["<act>"],
        "means": ["<means>"],
        "urgency": "normal",
        "handling": ["H0"],
        "evaluation": "<evaluation>",
        "legal_basis": "<legal basis>",
        "case_ref": "<case>",
    });
    if let Some(draft) = draft.as_object_mut() {
        if let Some(subject) = subject(category) {
            draft.insert("subjects".to_owned(), json!([subject]));
        } else {
            let plate = json!({ "type": "plate", "country": "<country>", "number": "<number>" });
            let object = json!({ "kind": "<kind of object>", "identifiers": [plate] });
            draft.insert("objects".to_owned(), json!([object]));
        }
        let location = json!({ "kind": "<what happened there>", "nuts3": "<region>" });
        draft.insert("locations".to_owned(), json!([location]));
    }
    serde_json::to_string_pretty(&draft).unwrap_or_default()
}

fn subject(category: Category) -> Option<Value> {
    let people = SubjectCategory::ALL.iter().filter(|person| category.permits_subject(**person));
    let people: Vec<&str> = people.map(|person| person.as_str()).collect();
    let person = match people.as_slice() {
        [] => return None,
        [only] => (*only).to_owned(),
        people => format!("<{}>", people.join(" or ")),
    };
    let mut subject = json!({
        "category": person,
        "names": [{ "family": "<family name>", "given": "<given name>" }],
        "birth_date": "<birth date>",
        "sex": "<sex>",
        "nationalities": ["<nationality>"],
    });
    if let (Some(subject), Category::ChildPreventTravel) = (subject.as_object_mut(), category) {
        subject.insert("necessity_note".to_owned(), "<why it is strictly necessary>".into());
    }
    Some(subject)
}
