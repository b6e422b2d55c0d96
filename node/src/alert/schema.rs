//! The JSON Schema of a draft, for editors and for programs that write drafts. Its names come from
//! the types, everything else from the table of fields and the rules. It accepts every draft that
//! the node accepts; the node also checks what a schema can't express (check digits, dates,
//! contradictions).

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::content::Content;
use super::draft::DRAFT_BYTES_MAX;
use super::fields::{self, Field, Form, IDENTIFIER_FIELDS, LIST_MAX};
use super::identifier::IdentifierKind;
use super::reading::describe;
use super::vocabulary::{Category, SubjectCategory, Warning};
use super::{regions, rules};

/// Fields that every draft, or every record of their kind, has.
const MANDATORY: [&str; 8] = [
    "category",
    "exploitation",
    "handling",
    "legal_basis",
    "case_ref",
    "subjects.category",
    "objects.kind",
    "locations.kind",
];

/// The JSON Schema (draft 2020-12) of a draft.
pub fn schema() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<Content>();
    let mut schema = schema.to_value();
    record("", &mut schema);
    set(&mut schema, "title", "Draft of an Entente alert");
    set(
        &mut schema,
        "description",
        format!("What an officer submits: at most {DRAFT_BYTES_MAX} bytes of JSON."),
    );
    let either = json!([
        { "required": ["subjects"], "properties": { "subjects": { "minItems": 1 } } },
        { "required": ["objects"], "properties": { "objects": { "minItems": 1 } } },
    ]);
    set(&mut schema, "anyOf", either);
    let mut rules: Vec<Value> = Category::ALL.iter().map(|category| of_alert(*category)).collect();
    rules.push(json!({
        "if": { "properties": { "urgency": { "const": "urgent" } }, "required": ["urgency"] },
        "then": { "required": ["urgency_reason"] },
    }));
    rules.push(json!({
        "if": { "properties": { "handling": { "contains": { "const": "H3" } } } },
        "then": { "required": ["handling_text"] },
        "else": { "properties": { "handling_text": { "type": "null" } } },
    }));
    set(&mut schema, "allOf", rules);
    schema
}

fn set(schema: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(schema) = schema.as_object_mut() {
        schema.insert(name.to_owned(), value.into());
    }
}

/// Gives the fields of a record their forms; leaves out fields that the node sets.
fn record(parent: &str, schema: &mut Value) {
    let Some(members) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    members.retain(|name, _| fields::find(parent, name).is_some_and(|field| !field.made));
    for (name, member) in members.iter_mut() {
        if let Some(field) = fields::find(parent, name) {
            *member = of_field(field, member.take());
        }
    }
    let required: Vec<&str> =
        fields::of(parent).filter(|f| MANDATORY.contains(&f.name)).map(Field::last).collect();
    set(schema, "required", required);
    set(schema, "description", Value::Null);
    if let Some(schema) = schema.as_object_mut() {
        schema.retain(|_, value| !value.is_null());
    }
    if parent == "subjects" {
        let people: Vec<Value> = SubjectCategory::ALL.iter().map(|p| of_person(*p)).collect();
        set(schema, "allOf", people);
    }
    if parent == "subjects.names" {
        let named = json!([{ "required": ["family"] }, { "required": ["given"] }]);
        set(schema, "anyOf", named);
    }
}

fn of_field(field: &'static Field, derived: Value) -> Value {
    let nullable = !field.many && !MANDATORY.contains(&field.name);
    let mut one = match field.form {
        Form::Record => {
            let mut items = derived.get("items").cloned().unwrap_or_default();
            record(field.name, &mut items);
            items
        }
        Form::Identifier => identifier(),
        form => of_text(form, nullable),
    };
    let example: Value = serde_json::from_str(field.example).unwrap_or_default();
    if field.many {
        let least = u32::from(MANDATORY.contains(&field.name));
        let mut list = json!({ "type": "array", "items": one, "minItems": least });
        if !matches!(field.form, Form::Word(_)) {
            set(&mut list, "maxItems", LIST_MAX);
        }
        one = list;
    }
    set(&mut one, "description", field.means);
    set(&mut one, "examples", if field.many { json!([[example]]) } else { json!([example]) });
    one
}

/// A text, or null if it may be left out.
fn of_text(form: Form, nullable: bool) -> Value {
    let words = |words: Vec<String>| {
        let words = words.into_iter().map(Value::from);
        json!({ "enum": words.chain(nullable.then_some(Value::Null)).collect::<Vec<_>>() })
    };
    let mut schema = match form {
        Form::Word(all) => words(all.iter().map(|word| (*word).to_owned()).collect()),
        // Only the form is checked for countries outside the list.
        Form::Nuts(length) => {
            let pattern = format!("^(UK|UA|MD|BA|XK|GE)[A-Z0-9]{{{}}}$", length - 2);
            let known = words(regions::regions(length).collect());
            json!({ "anyOf": [known, { "type": "string", "pattern": pattern }] })
        }
        Form::Country => json!({ "pattern": "^[A-Za-z]{2}$" }),
        Form::BirthDate => json!({ "pattern": "^[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?$" }),
        Form::Evaluation => json!({ "pattern": "^[ABCX][1-4]$" }),
        Form::Time => json!({ "pattern": "^\\s*[0-9+-]+.*$" }),
        Form::Text(max) => json!({ "minLength": 1, "maxLength": max }),
        Form::NamePart => json!({ "maxLength": super::text::NAME_BYTES_MAX }),
        Form::Record | Form::Identifier | Form::Year | Form::AgeBand => json!({}),
    };
    let kinds = if nullable { json!(["string", "null"]) } else { json!("string") };
    set(&mut schema, "type", kinds);
    set(&mut schema, "not", placeholder());
    set(&mut schema, "title", describe_shortly(form));
    if let Some(schema) = schema.as_object_mut() {
        schema.retain(|_, value| !value.is_null());
    }
    schema
}

/// `enum` has the words already.
fn describe_shortly(form: Form) -> Value {
    if matches!(form, Form::Word(_)) { Value::Null } else { describe(form).into() }
}

/// A placeholder of a template.
fn placeholder() -> Value {
    json!({ "type": "string", "pattern": "^\\s*<[\\s\\S]*>\\s*$" })
}

fn identifier() -> Value {
    let [kind, country, number] = &IDENTIFIER_FIELDS;
    let member = |field: &Field, schema: Value| {
        let mut schema = schema;
        set(&mut schema, "description", field.means);
        set(&mut schema, "not", placeholder());
        schema
    };
    let kinds: Vec<Value> = IdentifierKind::ALL.iter().map(|kind| of_kind(*kind)).collect();
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["type", "number"],
        "properties": {
            "type": member(kind, json!({ "type": "string", "enum": IdentifierKind::WORDS })),
            "country": member(country, json!({ "type": ["string", "null"] })),
            "number": member(number, json!({ "type": "string", "minLength": 1, "maxLength": 200 })),
        },
        "allOf": kinds,
    })
}

/// The form of the numbers of a kind, and whether they need a country.
fn of_kind(kind: IdentifierKind) -> Value {
    use IdentifierKind as K;
    let pattern = match kind {
        K::Vin => "^[A-HJ-NPR-Za-hj-npr-z0-9 ./-]{17,}$",
        K::Phone => "^[0-9+ ().-]{8,}$",
        K::Email => "^[^@]+@[^@]+\\.[^@]+$",
        K::Account => "^[^:]+:[\\s\\S]+$",
        K::Url => "^\\s*[Hh][Tt][Tt][Pp][Ss]?://",
        K::Iban => "^\\s*[A-Za-z0-9 ./-]{15,}\\s*$",
        K::Imei => "^\\s*[0-9 ./-]{15,}\\s*$",
        K::CryptoAddress => "^\\s*[A-Za-z0-9:]{20,128}\\s*$",
        _ => "^\\s*[A-Za-z0-9 ./-]{3,}\\s*$",
    };
    let mut then = json!({ "properties": { "number": { "pattern": pattern } } });
    if kind.needs_country() {
        let country = json!({ "type": "string", "pattern": "^\\s*[A-Za-z]{2}\\s*$" });
        then = json!({
            "required": ["country"],
            "properties": { "country": country, "number": { "pattern": pattern } },
        });
    }
    json!({ "if": { "properties": { "type": { "const": kind.as_str() } } }, "then": then })
}

/// Who and what may be in an alert of a category.
fn of_alert(category: Category) -> Value {
    let people = SubjectCategory::ALL.iter().filter(|person| category.permits_subject(**person));
    let people: Vec<&str> = people.map(|person| person.as_str()).collect();
    let mut subject = json!({ "properties": { "category": { "enum": people } } });
    if category == Category::ChildPreventTravel {
        set(&mut subject, "required", json!(["necessity_note"]));
    }
    let subjects =
        if people.is_empty() { json!({ "maxItems": 0 }) } else { json!({ "items": subject }) };
    let objects = if category.permits_objects() { json!({}) } else { json!({ "maxItems": 0 }) };
    json!({
        "if": { "properties": { "category": { "const": category.as_str() } } },
        "then": { "properties": { "subjects": subjects, "objects": objects } },
    })
}

/// What may be kept of a person of a category.
fn of_person(person: SubjectCategory) -> Value {
    let mut members = Map::new();
    for claim in rules::RESTRICTED.iter().filter(|claim| !rules::permits(person, claim)) {
        let many = fields::find("subjects", claim).is_some_and(|field| field.many);
        let none = if many { json!({ "maxItems": 0 }) } else { json!({ "type": "null" }) };
        members.insert((*claim).to_owned(), none);
    }
    if person.protected() {
        let only = json!({ "items": { "const": Warning::SelfHarm.as_str() } });
        members.insert("warnings".to_owned(), only);
    }
    let kinds = IdentifierKind::ALL.into_iter();
    let kinds = kinds.filter(|kind| rules::permits_identifier(person, *kind));
    let kinds: Vec<&str> = kinds.map(IdentifierKind::as_str).collect();
    let kinds = json!({ "items": { "properties": { "type": { "enum": kinds } } } });
    members.insert("identifiers".to_owned(), kinds);
    let mut then = json!({ "properties": members });
    if person.protected() {
        let documents = IdentifierKind::ALL.into_iter().filter(|kind| kind.is_document());
        let documents: Vec<&str> = documents.map(IdentifierKind::as_str).collect();
        let means = json!({ "properties": { "type": { "enum": documents } } });
        let reachable = json!({
            "required": ["identifiers"],
            "properties": { "identifiers": { "contains": { "not": means } } },
        });
        set(&mut then, "if", reachable);
        set(&mut then, "then", json!({ "required": ["consent"] }));
    }
    json!({ "if": { "properties": { "category": { "const": person.as_str() } } }, "then": then })
}
