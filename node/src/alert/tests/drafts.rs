//! What an officer is told about a draft: every fault, with its place and what would do.

use std::sync::LazyLock;

use super::*;
use crate::matching::unsearchable;
use crate::reason::Reason;

/// Of drafts, as `entente alert schema` prints it.
pub(super) static SCHEMA: LazyLock<jsonschema::Validator> =
    LazyLock::new(|| jsonschema::validator_for(&schema()).expect("a JSON Schema"));

fn faults(draft: &Value) -> Vec<Fault> {
    match parsed(&draft.to_string()) {
        Ok(_) => vec![],
        Err(AlertError::Content(faults)) => faults.as_slice().to_vec(),
        Err(other) => panic!("{other}"),
    }
}

fn said(draft: &Value) -> Vec<String> {
    faults(draft).iter().map(ToString::to_string).collect()
}

/// The one fault of a draft: it stands at this path and says these words.
#[track_caller]
fn one_fault(draft: &Value, path: &str, words: &[&str]) {
    let said = said(draft);
    let [fault] = said.as_slice() else { panic!("one fault at {path}: {said:#?}") };
    assert!(fault.starts_with(&format!("{path}: ")), "{path}: {fault}");
    for word in words {
        assert!(fault.contains(word), "{word:?} in {fault}");
    }
}

fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut draft = missing_person();
    change(&mut draft);
    draft
}

#[test]
fn every_fault_of_a_draft_is_told_at_once_with_its_place_and_an_example() {
    let draft = json!({
        "category": "missing_protect", "exploitation": ["labor", "sexual"], "handling": "H0",
        "evaluation": "B9", "case_ref": "case 7", "urgency": "urgent", "colour": "red",
        "subjects": [
            {
                "category": "missing", "birth_date": "12.04.1998", "nationalities": ["Denmark"],
                "identifiers": [
                    { "type": "passport", "country": "DNK", "number": "D12345678" },
                    { "type": "phone", "number": "32123456" },
                    { "type": "iban", "number": "DE89370400440532013000" },
                ],
                "role": "driver", "warnings": ["armed"],
            },
            "somebody",
        ],
        "locations": [{ "kind": "transit", "nuts3": "DK999" }, { "country": "UK" }],
    });
    let said = said(&draft);
    for (path, words) in [
        ("exploitation[0]", &["did you mean labour?", "e.g. \"labour\""][..]),
        ("handling", &["a list", "[\"H0\"]"]),
        ("evaluation", &["a source A, B, C or X", "e.g. \"B3\""]),
        ("colour", &["no such field", "control"][..1]),
        ("legal_basis", &["missing"]),
        ("urgency_reason", &["missing"]),
        ("subjects[0].birth_date", &["YYYY-MM-DD", "e.g. \"1998-04-12\""]),
        ("subjects[0].nationalities[0]", &["did you mean DK (Denmark)?"]),
        ("subjects[0].identifiers[0].country", &["did you mean DK (Denmark)?"]),
        ("subjects[0].identifiers[1]", &["a phone begins with + and its country code", "+45"]),
        ("subjects[0].identifiers[2]", &["type iban is never kept of", "missing", "leave it out"]),
        ("subjects[0].role", &["never kept of", "missing", "leave it out"]),
        ("subjects[0].warnings", &["the value is at fault", "self_harm"]),
        ("subjects[1]", &["an object in braces"]),
        ("locations[0].nuts3", &["no such region in NUTS 2024", "near it: DK"]),
        ("locations[1].country", &["did you mean GB (United Kingdom)?"]),
        ("locations[1].kind", &["missing"]),
    ] {
        let fault = said.iter().find(|fault| fault.starts_with(&format!("{path}: ")));
        let fault = fault.unwrap_or_else(|| panic!("nothing about {path}: {said:#?}"));
        assert!(words.iter().all(|word| fault.contains(word)), "{path}: {fault}");
    }
    assert_eq!(said.len(), 17, "{said:#?}");
}

#[test]
fn no_fault_holds_a_value_that_was_given() {
    let value = "Jensen";
    for draft in [
        json!({ "subjects": [{ "names": value }] }),
        json!({ "act": value, "category": value, "legal_basis": [value], "expires_at": value }),
        json!({ "subjects": value, "objects": [value], "locations": [[value]] }),
        json!({ "subjects": [{ "birth_date": value, "nationalities": [value], "sex": value }] }),
        json!({ "subjects": [{ "identifiers": [{ "type": value, "number": value }] }] }),
        json!({ "subjects": [{ "identifiers": [{ "type": "vin", "number": value }, value] }] }),
        json!({ "subjects": [{ "identifiers": [
            { "type": "passport", "country": value, "number": value },
        ] }] }),
        json!({ "locations": [
            { "nuts2": value, "nuts3": value, "country": value, "kind": value },
        ] }),
        json!({ "subjects": [{ "birth_place": format!("{value}\u{202e}") }] }),
        json!({ "legal_basis": format!("<{value}>") }),
    ] {
        let refused = parsed(&draft.to_string()).err().unwrap();
        assert!(!refused.to_string().contains(value), "{refused}");
        let said = said(&draft);
        assert!(said.iter().all(|fault| !fault.contains(value)), "{said:?}");
    }
    for broken in ["{\"act\": [\"Jensen\"", "{\"act\": Jensen}", "[\"Jensen\"]"] {
        assert!(!parsed(broken).err().unwrap().to_string().contains(value));
    }
}

#[test]
fn what_is_no_json_is_refused_with_line_and_column() {
    for (draft, said) in [
        (
            r#"{"category": "discreet_check",}"#,
            "check quotes, commas and brackets at line 1 column",
        ),
        ("{\n\"act\": [\"a\"", "it ends before its last bracket at line 2 column"),
        ("[]", "one object in braces"),
        ("", "it ends before"),
    ] {
        let refused = parsed(draft).err().unwrap();
        assert!(refused.to_string().contains(said), "{draft}: {refused}");
        assert_eq!(refused.reason(), Reason::JsonMalformed);
    }
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    assert!(parsed(&deep).err().unwrap().to_string().contains("nested too deeply"));
    for twice in [r#"{"act": [], "act": []}"#, r#"{"subjects": [{"sex": "male", "sex": "male"}]}"#]
    {
        assert_eq!(parsed(twice).err().unwrap().reason(), Reason::DuplicateClaim);
    }
}

#[test]
fn a_template_is_refused_until_every_placeholder_is_replaced() {
    for category in Category::ALL {
        let template = Draft::template(*category);
        let draft: Value = serde_json::from_str(&template).unwrap();
        let told = faults(&draft);
        let placeholders = template.matches("\"<").count();
        assert!(placeholders > 8, "{template}");
        let found = told.iter().filter(|fault| fault.kind == FaultKind::Placeholder).count();
        assert_eq!((found, told.len()), (placeholders, placeholders), "{told:#?}");
        assert!(!SCHEMA.is_valid(&draft), "{category}");
        // Filled in by what each fault gives as an example.
        let mut filled = template;
        for fault in &told {
            let example = if fault.path.ends_with(".category") || fault.path.contains("birth_date")
            {
                continue;
            } else {
                &fault.example
            };
            let start = filled.find("\"<").unwrap();
            let end = start + filled[start..].find(">\"").unwrap() + 2;
            filled.replace_range(start..end, example);
        }
        assert!(parsed(&filled).is_err() || !filled.contains('<'), "{filled}");
    }
    let mut draft = missing_person();
    for (path, change) in [
        ("case_ref", (|d, v| d["case_ref"] = v) as fn(&mut Value, Value)),
        ("subjects[0].names[0].family", |d, v| d["subjects"][0]["names"][0]["family"] = v),
        ("subjects[0].identifiers[0].number", |d, v| {
            d["subjects"][0]["identifiers"][0]["number"] = v;
        }),
        ("locations[0].text", |d, v| d["locations"][0]["text"] = v),
    ] {
        let before = draft.clone();
        change(&mut draft, json!(" <anything> "));
        one_fault(&draft, path, &["replace the placeholder"]);
        draft = before;
    }
}

#[test]
fn what_the_category_does_not_permit_says_whether_claim_value_or_category_is_at_fault() {
    let adult = changed(|d| {
        d["category"] = json!("child_prevent_travel");
        d["subjects"][0]["category"] = json!("at_risk");
        d["subjects"][0]["necessity_note"] = json!("needed");
    });
    one_fault(&adult, "subjects[0].birth_date", &["under 18", "adult_prevent_travel"]);
    assert!(!said(&adult)[0].contains("leave"), "the date is what tells a child from an adult");
    let witness = changed(|d| d["subjects"][0]["category"] = json!("witness"));
    let words = ["missing or", "judicial_whereabouts", "does not fit"];
    one_fault(&witness, "subjects[0].category", &words[1..]);
    let object = changed(|d| d["objects"] = json!([{ "kind": "vehicle" }]));
    one_fault(&object, "objects", &["persons only", "object_check"]);
    let person = changed(|d| d["category"] = json!("object_seizure"));
    one_fault(&person, "subjects", &["objects only"]);
    let armed = changed(|d| d["subjects"][0]["warnings"] = json!(["armed"]));
    one_fault(&armed, "subjects[0].warnings", &["value", "self_harm"]);
    let convicted = changed(|d| d["subjects"][0]["convictions"] = json!(["theft"]));
    one_fault(&convicted, "subjects[0].convictions", &["never kept of", "missing"]);
    let phone = changed(|d| {
        d["subjects"][0]["identifiers"] = json!([
            { "type": "nothing", "number": "1" },
            { "type": "phone", "number": "+4532123456" },
        ]);
    });
    let told = said(&phone);
    assert!(told.iter().any(|fault| fault.starts_with("subjects[0].consent: ")), "{told:?}");
}

/// A faulty element is taken out before the rules look; the place they name is the one in the
/// draft.
#[test]
fn a_place_counts_the_elements_that_were_at_fault_too() {
    let draft = changed(|d| {
        d["subjects"][0]["identifiers"] = json!([
            { "type": "phone", "number": "1" },
            { "type": "passport", "country": "UA", "number": "D12345678" },
            7,
            { "type": "iban", "number": "DE89370400440532013000" },
        ]);
    });
    let told = said(&draft);
    for path in [0, 2, 3].map(|number| format!("subjects[0].identifiers[{number}]: ")) {
        assert!(told.iter().any(|fault| fault.starts_with(&path)), "{path} {told:?}");
    }
    assert_eq!(told.len(), 3, "{told:?}");
}

#[test]
fn the_nearest_word_country_and_region_is_named() {
    let near = |change: fn(&mut Value, &str), written: &str, path: &str, meant: &str| {
        let draft = changed(|draft| change(draft, written));
        one_fault(&draft, path, &[meant]);
    };
    let category: fn(&mut Value, &str) = |d, v| d["category"] = json!(v);
    for (written, meant) in [
        ("missing_protected", "missing_protect"),
        ("Missing_Protect", "missing_protect"),
        ("missing-whereabouts", "missing_whereabouts"),
    ] {
        near(category, written, "category", &format!("did you mean {meant}?"));
    }
    let nationality: fn(&mut Value, &str) = |d, v| d["subjects"][0]["nationalities"] = json!([v]);
    for (written, meant) in [
        ("UKR", "UA (Ukraine)"),
        ("Ukraine", "UA (Ukraine)"),
        ("Roumania", "RO (Romania)"),
        ("EL", "GR (Greece)"),
        ("UK", "GB (United Kingdom)"),
        ("D", "two letters"),
        ("ZZ", "two letters"),
    ] {
        near(nationality, written, "subjects[0].nationalities[0]", meant);
    }
    let region: fn(&mut Value, &str) = |d, v| d["locations"][0]["nuts3"] = json!(v);
    for (written, meant) in [
        ("DK999", "DK011"),
        ("DK019", "DK011"),
        ("dk011", "\"DK011\""),
        ("DK0", "DK011"),
        ("US001", "no such region"),
        ("QQ011", "NUTS 2024"),
        ("GR300", "NUTS 2024"),
    ] {
        near(region, written, "locations[0].nuts3", meant);
    }
    let field: fn(&mut Value, &str) = |d, v| d["subjects"][0][v] = json!("x");
    near(field, "birthdate", "subjects[0].birthdate", "did you mean birth_date?");
    let hostile = changed(|d| d["a\u{202e}\u{1b}b"] = json!(1));
    assert!(!said(&hostile)[0].contains(['\u{202e}', '\u{1b}']));
}

/// NUTS 2024 has 244 regions of level 2 and 1165 of level 3 in the Union (2023/674).
#[test]
fn regions_are_those_of_nuts_2024() {
    const UNION: &str =
        "AT BE BG CY CZ DE DK EE EL ES FI FR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK";
    let of_union = |length| {
        let within = |region: &String| UNION.split(' ').any(|country| region.starts_with(country));
        regions::regions(length).filter(within).count()
    };
    assert_eq!((of_union(4), of_union(5)), (244, 1165));
    for (code, length, known) in [
        ("DK011", 5, true),
        ("DK01", 4, true),
        ("FRY10", 5, true),
        ("PT1D", 4, true),
        ("NO0A1", 5, true),
        ("UKI31", 5, true),
        ("DK999", 5, false),
        ("DK99", 4, false),
        ("DK01", 5, false),
        ("DK0111", 5, false),
        ("US011", 5, false),
        ("DK01é", 5, false),
    ] {
        assert_eq!(regions::is_nuts(code, length), known, "{code}");
    }
    assert!(regions::regions(5).all(|code| regions::has_nuts_form(&code, 5)));
}

/// A peer may know regions of a newer edition: what it signed is held to their form only.
#[test]
fn a_signed_alert_may_name_a_region_that_is_not_known_yet() {
    let claims = with(json!(["s5", "locations", [{ "kind": "transit", "nuts3": "DK999" }]]));
    assert_eq!(reason_of(&by_hand(&claims, |_| {})), "verified");
    let claims = with(json!(["s5", "locations", [{ "kind": "transit", "nuts3": "dk011" }]]));
    assert_eq!(reason_of(&by_hand(&claims, |_| {})), "value_not_permitted");
}

/// Spelled otherwise than its issuer must write it, an identifier would be found under one form and
/// shown in another.
#[test]
fn a_signed_identifier_is_in_its_normal_form() {
    let token = |identifier: Value| {
        let mut claims = core();
        claims[0] = json!(["s1", "category", "discreet_check"]);
        let subject = json!({ "category": "suspect", "identifiers": [identifier] });
        claims.push(json!(["s5", "subjects", [subject]]));
        by_hand(&claims, |_| {})
    };
    for (number, reason) in [
        (json!({ "type": "passport", "country": "UA", "number": "D12345678" }), "verified"),
        (
            json!({ "type": "passport", "country": "UA", "number": "d 123-45678" }),
            "value_not_permitted",
        ),
        (
            json!({ "type": "passport", "country": "ua", "number": "D12345678" }),
            "value_not_permitted",
        ),
        (
            json!({ "type": "phone", "country": "UA", "number": "+4532123456" }),
            "value_not_permitted",
        ),
        (
            json!({ "type": "url", "number": "https://example.org/a\u{202e}b" }),
            "value_not_permitted",
        ),
        (json!({ "type": "url", "number": "https://example.org/a" }), "verified"),
        (json!({ "type": "shoe_size", "number": "44" }), "value_not_permitted"),
    ] {
        assert_eq!(reason_of(&token(number.clone())), reason, "{number}");
    }
}

/// A store may hold what an earlier version took.
#[test]
fn what_was_kept_by_an_earlier_version_is_still_read() {
    let kept = json!({ "type": "url", "number": "https://example.org/a\u{202e}b" });
    let subject = json!({ "category": "suspect", "identifiers": [kept] });
    let token = by_hand(&with(json!(["s5", "subjects", [subject]])), |_| {});
    assert_eq!(reason_of(&token), "value_not_permitted");
    assert_eq!(read(&token).unwrap().content.subjects[0].identifiers.len(), 1);
}

/// Characters of numbers, spaces and letters of other alphabets, and some that nobody sees.
const IDENTIFIERS: &str = "[a-zA-Z0-9:@./+ İıßΣÅé\u{301}\u{202e}\u{200b}-]{1,40}";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Brought into its normal form once, an identifier stays as it is; and holds nothing hidden.
    #[test]
    fn a_normal_form_is_its_own(kind in 0usize..14, number in IDENTIFIERS) {
        let kind = IdentifierKind::ALL[kind];
        let number = match kind {
            IdentifierKind::Url => format!("https://example.org/{number}"),
            IdentifierKind::Account => format!("example.net:{number}"),
            _ => number,
        };
        if let Ok(identifier) = Identifier::new(kind, "DK", &number) {
            let again = Identifier::new(kind, "DK", identifier.number()).unwrap();
            prop_assert_eq!(identifier.number(), again.number());
            prop_assert!(!identifier.number().chars().any(crate::id::is_hidden));
        }
    }
}

#[test]
fn no_identifier_of_any_kind_holds_a_hidden_character() {
    for kind in IdentifierKind::ALL {
        let example = kind.example();
        assert!(Identifier::new(kind, "DK", example).is_ok(), "{kind}");
        for hidden in [
            "\u{0}",
            "\n",
            "\t",
            "\u{1b}",
            "\u{85}",
            "\u{ad}",
            "\u{34f}",
            "\u{61c}",
            "\u{180e}",
            "\u{200b}",
            "\u{200d}",
            "\u{200e}",
            "\u{2028}",
            "\u{202e}",
            "\u{2066}",
            "\u{2069}",
            "\u{3164}",
            "\u{fe0f}",
            "\u{feff}",
            "\u{fff9}",
            "\u{ffff}",
            "\u{e0041}",
            "\u{e0100}",
            "\u{e000}",
            "\u{10ffff}",
        ] {
            for at in [0, 1, example.len() / 2, example.len()] {
                let mut number = example.to_owned();
                number.insert_str(at, hidden);
                assert!(Identifier::new(kind, "DK", &number).is_err(), "{kind} {number:?}");
            }
        }
    }
}

/// Drafts that are refused, and whether the schema can say so; what it takes beyond that only a
/// node can tell.
#[test]
fn the_schema_refuses_what_a_schema_can() {
    let schema = schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let subject = |claim: &'static str, value: Value| {
        changed(move |draft| draft["subjects"][0][claim] = value)
    };
    for (draft, by_schema) in [
        (changed(|d| d["category"] = json!("murder")), true),
        (changed(|d| d["category"] = json!(null)), true),
        (changed(|d| d["exploitation"] = json!([])), true),
        (changed(|d| d["exploitation"] = json!("labour")), true),
        (changed(|d| d["handling"] = json!(["H3"])), true),
        (changed(|d| d["handling_text"] = json!("without H3")), true),
        (changed(|d| d["urgency"] = json!("urgent")), true),
        (changed(|d| d["evaluation"] = json!("Z9")), true),
        (changed(|d| d["colour"] = json!("red")), true),
        (changed(|d| d["issued_at"] = json!("2026-11-24T10:00:00Z")), true),
        (changed(|d| d["case_ref"] = json!("<case>")), true),
        (changed(|d| d["subjects"] = json!([])), true),
        (changed(|d| d["objects"] = json!([{ "kind": "vehicle" }])), true),
        (changed(|d| d["category"] = json!("object_seizure")), true),
        (changed(|d| d["locations"] = json!([{ "country": "DK" }])), true),
        (changed(|d| d["locations"][0]["nuts3"] = json!("DK999")), true),
        (subject("category", json!("suspect")), true),
        (subject("age_band", json!("18-24")), true),
        (subject("role", json!("driver")), true),
        (subject("convictions", json!(["theft"])), true),
        (subject("warnings", json!(["armed"])), true),
        (subject("marks", json!(vec!["m"; 17])), true),
        (subject("birth_date", json!("12.04.1998")), true),
        (subject("nationalities", json!(["Denmark"])), true),
        (subject("names", json!([{ "kind": "alias" }])), true),
        (
            subject("identifiers", json!([{ "type": "iban", "number": "DE89370400440532013000" }])),
            true,
        ),
        (subject("identifiers", json!([{ "type": "phone", "number": "+4532123456" }])), true),
        (subject("identifiers", json!([{ "type": "passport", "number": "D12345678" }])), true),
        (subject("identifiers", json!([{ "type": "vin", "number": "short" }])), true),
        (
            changed(|d| {
                d["subjects"][0]["consent"] = json!("consent");
                d["subjects"][0]["identifiers"] =
                    json!([{ "type": "imei", "number": "490154203237517" }]);
            }),
            false,
        ),
        (subject("birth_date", json!("1998-02-30")), false),
        (subject("birth_date", json!("2027-01-01")), false),
        (subject("nationalities", json!(["ZZ"])), false),
        (subject("birth_place", json!("a\u{202e}b")), false),
        (changed(|d| d["locations"][0]["nuts2"] = json!("FR10")), false),
        (changed(|d| d["expires_at"] = json!("2099-01-01T00:00:00Z")), false),
    ] {
        assert!(!faults(&draft).is_empty(), "{draft}");
        assert_eq!(!SCHEMA.is_valid(&draft), by_schema, "{draft}");
    }
    for number in 0..500 {
        let sample = Samples::new(number).next().unwrap();
        assert!(SCHEMA.is_valid(&sample), "{sample}");
    }
    let nulls = changed(|d| {
        d["urgency"] = json!(null);
        d["subjects"][0]["sex"] = json!(null);
        d["subjects"][0]["role"] = json!(null);
    });
    assert!(parsed(&nulls.to_string()).is_ok(), "what is null is left out");
}

/// The table names just the fields of the types, and the catalogue of claims.
#[test]
fn the_table_the_types_and_the_catalogue_agree() {
    let full = schemars::schema_for!(Content).to_value();
    let mut named = Vec::new();
    let mut open = vec![(String::new(), full.clone())];
    while let Some((parent, schema)) = open.pop() {
        for (name, member) in schema["properties"].as_object().unwrap() {
            let name = format!("{parent}{name}");
            let of = member["items"]["$ref"].as_str().and_then(|r| r.strip_prefix("#/$defs/"));
            if let Some(of) = of.filter(|of| full["$defs"][of]["properties"].is_object())
                && !name.ends_with("identifiers")
            {
                open.push((format!("{name}."), full["$defs"][of].clone()));
            }
            named.push(name);
        }
    }
    let mut fields: Vec<String> = explain("").unwrap().into_iter().map(|e| e.name).collect();
    named.sort();
    fields.sort();
    assert_eq!(named, fields);
    for name in fields.iter().filter(|name| !name.starts_with("subjects.names.")) {
        let claim = match name.as_str() {
            "subjects" | "objects" | "locations" => continue,
            name if name.ends_with("identifiers") => format!("{name}.passport"),
            name => name.to_owned(),
        };
        assert!(ClaimSet::parse(&claim).is_ok(), "{claim}");
    }
}

#[test]
fn every_example_of_the_reference_does() {
    for field in explain("").unwrap() {
        let example: Value = serde_json::from_str(&field.example).expect(&field.example);
        assert!(!field.means.is_empty() && !example.is_null(), "{}", field.name);
    }
    assert_eq!(explain("subjects[0].identifiers[1]").unwrap()[0].name, "subjects.identifiers");
    assert_eq!(explain("birth_date").unwrap()[0].name, "subjects.birth_date");
    assert_eq!(explain("names").unwrap().len(), 4);
    assert_eq!(explain("subjects[0].identifiers[1].country").unwrap().len(), 1);
    assert_eq!(explain("birthdate").unwrap_err(), Some("birth_date"));
    let notes = &explain("category").unwrap()[0].notes;
    assert!(notes.iter().any(|note| note.starts_with("child_prevent_travel: prevent_travel")));
}

#[test]
fn a_person_whom_no_search_finds_is_named() {
    let draft = changed(|d| {
        d["subjects"] = json!([
            { "category": "missing", "birth_date": "1998", "names": [{ "family": "Torvekova" }] },
            {
                "category": "missing", "birth_date": "1998-04-12",
                "names": [{ "family": "Torvekova" }],
            },
            d["subjects"][0],
        ]);
    });
    let lost = unsearchable(parsed(&draft.to_string()).unwrap().content());
    assert!(lost.len() == 1 && lost[0].contains("subjects[0]"), "{lost:?}");
}
