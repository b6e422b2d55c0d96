//! What an officer is told about drafts without a node: check, explain, schema.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::process::{Command, Output};

use serde_json::{Value, json};

fn entente(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_entente"))
        .args(words)
        .env_remove("ENTENTE_PROFILE")
        .output()
        .unwrap()
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

fn draft() -> Value {
    json!({
        "category": "missing_protect", "exploitation": ["labour"], "handling": ["H0"],
        "legal_basis": "act 1", "case_ref": "case 7",
        "subjects": [{
            "category": "missing", "birth_date": "1998-04-12",
            "names": [{ "family": "Torvekova", "given": "Ina" }],
        }],
    })
}

#[test]
fn a_check_tells_every_fault_a_line_each_and_creates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("draft.json").display().to_string();
    let put =
        |draft: &Value| fs::write(&path, serde_json::to_string_pretty(draft).unwrap()).unwrap();

    put(&draft());
    let valid = entente(&["alert", "check", &path]);
    assert!(valid.status.success() && said(&valid).0.contains("the draft is valid"), "{valid:?}");

    let mut bad = draft();
    bad["exploitation"] = json!(["labor"]);
    bad["subjects"][0]["identifiers"] = json!([{ "type": "phone", "number": "32123456" }]);
    bad["locations"] = json!([{ "kind": "transit", "nuts3": "DK999" }]);
    put(&bad);
    let refused = entente(&["alert", "check", &path]);
    let (out, err) = said(&refused);
    assert!(refused.status.code() == Some(1) && out.is_empty(), "{out}{err}");
    let lines: Vec<&str> = err.lines().filter(|line| line.contains("fault: ")).collect();
    assert_eq!(lines.len(), 3, "{err}");
    for said in [
        "exploitation[0]: did you mean labour?",
        "subjects[0].identifiers[0]: a phone begins with + and its country code",
        "locations[0].nuts3: there is no such region",
        "3 faults in the draft",
    ] {
        assert!(err.contains(said), "{said}: {err}");
    }
    let refused = entente(&["alert", "check", &path, "--format", "json"]);
    let error: Value = serde_json::from_slice(&refused.stdout).unwrap();
    let faults = error["error"]["faults"].as_array().unwrap();
    assert_eq!(faults.len(), 3, "{error}");
    assert_eq!(faults[0]["path"], "exploitation[0]");
    assert_eq!(faults[0]["reason"], "value_not_permitted");

    let mut adult = draft();
    adult["category"] = json!("child_prevent_travel");
    adult["subjects"][0]["category"] = json!("at_risk");
    put(&adult);
    let (_, err) = said(&entente(&["alert", "check", &path]));
    assert!(err.contains("1 fault in the draft") && err.contains("adult_prevent_travel"), "{err}");

    fs::write(&path, "{\n \"category\": nothing }").unwrap();
    assert!(said(&entente(&["alert", "check", &path])).1.contains("at line 2 column"));

    fs::write(&path, format!("{}\n{bad}\n", draft())).unwrap();
    let refused = entente(&["alert", "check", &path]);
    let err = said(&refused).1;
    assert!(err.contains("line 2: exploitation[0]: ") && !err.contains("line 1"), "{err}");
    assert!(err.contains("drafts: 1 valid, 1 with faults"), "{err}");
    let refused = entente(&["alert", "check", &path, "--format", "json"]);
    let all: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!((&all["items"][0]["ok"], &all["items"][1]["line"]), (&json!(true), &json!(2)));

    let mut lost = draft();
    lost["subjects"][0]["birth_date"] = json!("1998");
    put(&lost);
    let warned = entente(&["alert", "check", &path]);
    assert!(warned.status.success() && said(&warned).1.contains("no search finds subjects[0]"));
}

#[test]
fn samples_are_valid_and_a_template_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("drafts").display().to_string();
    fs::write(&path, entente(&["sample", "--count", "50"]).stdout).unwrap();
    let checked = entente(&["alert", "check", &path]);
    assert!(checked.status.success() && said(&checked).0.contains("drafts: 50 valid"));
    fs::write(&path, entente(&["alert", "template", "discreet_check"]).stdout).unwrap();
    let refused = entente(&["alert", "check", &path]);
    let err = said(&refused).1;
    assert!(refused.status.code() == Some(1) && err.contains("replace the placeholder"), "{err}");
}

#[test]
fn every_field_is_explained_in_lines_of_80_columns() {
    let all = said(&entente(&["alert", "explain"])).0;
    assert!(all.contains("subjects.birth_date") && all.contains("locations.nuts3"));
    let list = entente(&["alert", "explain", "--format", "json"]);
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    let fields = list["items"].as_array().unwrap();
    assert!(fields.len() > 50);
    let mut text = all;
    for field in fields {
        text += &said(&entente(&["alert", "explain", field["field"].as_str().unwrap()])).0;
    }
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let one = said(&entente(&["alert", "explain", "subjects[0].identifiers[1]"])).0;
    assert!(one.contains("phone: a phone begins with + and its country code"), "{one}");
    let unknown = entente(&["alert", "explain", "birthdate"]);
    assert_eq!(unknown.status.code(), Some(64));
    assert!(said(&unknown).1.contains("did you mean birth_date?"));
}

#[test]
fn the_schema_is_json_schema() {
    let printed = entente(&["alert", "schema"]);
    let schema: Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["additionalProperties"], false);
    assert!(schema["properties"]["issued_at"].is_null(), "what the node makes is in no draft");
    let same = entente(&["alert", "schema", "--format", "json"]);
    assert_eq!(schema, serde_json::from_slice::<Value>(&same.stdout).unwrap());
}
