//! What is issued, disclosed and verified; and everything that is refused, each with its own
//! reason.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use base64ct::{Base64UrlUnpadded, Encoding};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::id::{AlertId, AuthorityId, Digest, Entropy, KeyId, Secret, Timestamp};
use crate::jose::{PublicKey, SigningKey, sign};
use crate::reason::Reason;
use crate::sample::Samples;

mod drafts;

const ID: &str = "dk.politi:2026-481920375";

fn now() -> Timestamp {
    "2026-11-24T10:00:00Z".parse().unwrap()
}

fn key(seed: u64) -> SigningKey {
    SigningKey::from_seed(Secret::new(Entropy::seeded(seed).bytes()))
}

fn id() -> AlertId {
    ID.parse().unwrap()
}

fn of_dk(issuer: &AuthorityId, kid: &KeyId) -> Option<PublicKey> {
    let public = key(1).public();
    (issuer.as_str() == "dk.politi" && public.key_id() == *kid).then_some(public)
}

/// Parses a draft; the JSON Schema takes whatever the node takes, so that it refuses nothing that
/// the node would take.
fn parsed(draft: &str) -> Result<Draft, AlertError> {
    let parsed = Draft::parse(draft, now());
    if parsed.is_ok() {
        let value: Value = serde_json::from_str(draft).unwrap();
        let faults: Vec<String> =
            drafts::SCHEMA.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(faults.is_empty(), "the schema refuses {draft}\n{faults:?}");
    }
    parsed
}

fn issued(draft: &Value) -> View {
    let draft = parsed(&draft.to_string()).unwrap_or_else(|error| panic!("{error}\n{draft}"));
    issue(&draft, id(), 1, None, now(), &key(1), &Entropy::seeded(9)).unwrap()
}

fn missing_person() -> Value {
    json!({
        "category": "missing_protect", "exploitation": ["labour"], "handling": ["H0"],
        "legal_basis": "act 1", "case_ref": "case 7",
        "subjects": [{
            "category": "missing",
            "names": [{ "family": "Torvekova", "given": "Ina" }],
            "birth_date": "1998-04-12",
            "identifiers": [{ "type": "passport", "country": "UA", "number": "D12345678" }],
        }],
        "locations": [{ "kind": "sighting", "nuts3": "DK011", "text": "at the ferry" }],
    })
}

fn reason_of(token: &str) -> &'static str {
    match verify(token, of_dk, now()) {
        Ok(_) => "verified",
        Err(error) => error.reason().as_str(),
    }
}

fn disclosure(value: &Value) -> String {
    Base64UrlUnpadded::encode_string(value.to_string().as_bytes())
}

/// A token made by hand: disclosures of top-level claims, then `change` to the payload before it is
/// signed.
fn by_hand(disclosures: &[Value], change: impl FnOnce(&mut Value)) -> String {
    let texts: Vec<String> = disclosures.iter().map(disclosure).collect();
    let digests: Vec<Digest> = texts.iter().map(|text| Digest::of(text.as_bytes())).collect();
    let mut payload = json!({
        "iss": "dk.politi", "jti": ID, "ver": 1, "iat": now().seconds(),
        "exp": now().plus(365 * 86_400).end_of_month().seconds(),
        "schema": 1, "_sd": digests, "_sd_alg": "sha-256",
    });
    change(&mut payload);
    let jws = sign(ALERT_TYP, &payload, &key(1)).unwrap();
    texts.iter().fold(format!("{jws}~"), |token, text| format!("{token}{text}~"))
}

fn core() -> Vec<Value> {
    vec![
        json!(["s1", "category", "intelligence_notice"]),
        json!(["s2", "handling", ["H0"]]),
        json!(["s3", "evaluation", "B2"]),
        json!(["s4", "expires_at", now().plus(365 * 86_400).to_string()]),
    ]
}

fn with(extra: Value) -> Vec<Value> {
    let mut all = core();
    all.push(extra);
    all
}

#[test]
fn what_stands_by_itself_verifies() {
    assert_eq!(reason_of(&by_hand(&core(), |_| {})), "verified");
    assert_eq!(reason_of(&issued(&missing_person()).token), "verified");
}

/// Everything that a token can be refused for without history, each by its reason.
#[test]
fn a_token_is_refused_with_its_reason() {
    let set = |name: &'static str, value: Value| move |payload: &mut Value| payload[name] = value;
    let subject = |person: &str, claim: &str, value: Value| {
        let mut claims = core();
        claims[0] = json!(["s1", "category", "discreet_check"]);
        claims.push(json!(["s5", "subjects", [{ "category": person, claim: value }]]));
        by_hand(&claims, |_| {})
    };
    let late = now().plus(crate::id::CLOCK_TOLERANCE_S);
    let beyond = now().plus(Category::IntelligenceNotice.retention_s() + 1);
    let mut longer = core();
    longer[3] = json!(["s4", "expires_at", beyond.to_string()]);
    let too_long = by_hand(&longer, set("exp", json!(beyond.end_of_month().seconds())));
    let again = by_hand(&core(), |payload| {
        let first = payload["_sd"][0].clone();
        payload["_sd"].as_array_mut().unwrap().push(first);
    });
    for (token, reason) in [
        (by_hand(&core(), set("iat", json!(late.seconds()))), "verified"),
        (by_hand(&core(), set("iat", json!(late.plus(1).seconds()))), "future_iat"),
        (by_hand(&core(), set("schema", json!(2))), "unknown_schema"),
        (by_hand(&core(), set("iss", json!("fr.police-judiciaire"))), "unknown_key"),
        (
            by_hand(&core(), set("jti", json!("fr.police-judiciaire:2026-481920375"))),
            "not_the_issuer",
        ),
        (by_hand(&core(), set("ver", json!(0))), "plain_claim_malformed"),
        (by_hand(&core(), set("ver", json!("1"))), "plain_claim_malformed"),
        (by_hand(&core(), set("prev", json!("x"))), "plain_claim_malformed"),
        (by_hand(&core(), set("prev", json!(Digest::of(b"x")))), "plain_claim_malformed"),
        (
            by_hand(&core(), set("exp", json!(now().plus(86_400).seconds()))),
            "plain_claim_malformed",
        ),
        (by_hand(&core(), set("more", json!(1))), "plain_claim_malformed"),
        (too_long, "value_not_permitted"),
        (by_hand(&core(), set("_sd_alg", json!("md5"))), "unknown_sd_alg"),
        (again, "duplicate_digest"),
        (by_hand(&with(json!(["s5", "category", "discreet_check"])), |_| {}), "duplicate_claim"),
        (by_hand(&with(json!(["s5", "iss", "dk.politi"])), |_| {}), "duplicate_claim"),
        (by_hand(&with(json!(["s5", "_sd", []])), |_| {}), "reserved_name"),
        (by_hand(&with(json!(["s5", "...", "x"])), |_| {}), "reserved_name"),
        (by_hand(&with(json!(["s5", "_sd_alg", "sha-256"])), |_| {}), "reserved_name"),
        (by_hand(&with(json!(["s5", "colour", "red"])), |_| {}), "json_malformed"),
        (by_hand(&with(json!(["s5", 7, "red"])), |_| {}), "disclosure_malformed"),
        (by_hand(&with(json!({ "a": 1 })), |_| {}), "disclosure_malformed"),
        (by_hand(&core()[1..], |_| {}), "claim_missing"),
        (by_hand(&core()[..3], |_| {}), "claim_missing"),
        (subject("witness", "role", json!("driver")), "claim_not_permitted"),
        (subject("suspect", "role", json!("driver")), "verified"),
        (subject("missing", "names", json!([])), "claim_not_permitted"),
        (subject("suspect", "role", json!("dri\u{202e}ver")), "value_not_permitted"),
        (subject("suspect", "role", json!(" driver")), "value_not_permitted"),
        (subject("suspect", "role", json!("e\u{301}")), "value_not_permitted"),
        (subject("suspect", "role", json!("x".repeat(201))), "value_not_permitted"),
        (subject("suspect", "birth_date", json!("1990-02-31")), "value_not_permitted"),
        (subject("suspect", "age_band", json!("17")), "value_not_permitted"),
        (subject("suspect", "nationalities", json!(["dk"])), "value_not_permitted"),
        (subject("suspect", "warnings", json!(["armed", "armed"])), "value_not_permitted"),
        (subject("suspect", "marks", json!(vec!["m"; 17])), "value_not_permitted"),
    ] {
        assert_eq!(reason_of(&token), reason, "{reason}: {token:.60}");
    }
    let expired = json!(["s4", "expires_at", now().to_string()]);
    let mut claims = core();
    claims[3] = expired;
    assert_eq!(reason_of(&by_hand(&claims, |_| {})), "expired");
}

/// What the law lets be known of whom: DOMAIN's table, category of person by claim.
#[test]
fn a_claim_that_the_category_of_a_person_does_not_permit_is_refused() {
    let phone = json!([{ "type": "phone", "number": "+4520123456" }]);
    let iban = json!([{ "type": "iban", "number": "DE89370400440532013000" }]);
    for (category, person, claim, value, permitted) in [
        ("discreet_check", "suspect", "role", json!("driver"), true),
        ("discreet_check", "suspect", "warnings", json!(["armed"]), true),
        ("discreet_check", "suspect", "identifiers", iban.clone(), true),
        ("discreet_check", "convicted", "convictions", json!(["theft, 2019"]), true),
        ("discreet_check", "suspect", "finances", json!("pays in cash"), true),
        ("discreet_check", "suspect", "behaviour", json!("waits outside"), true),
        ("missing_protect", "victim_presumed", "convictions", json!(["theft"]), false),
        ("missing_protect", "victim_presumed", "finances", json!("in debt"), false),
        ("adult_prevent_travel", "at_risk", "behaviour", json!("fearful"), false),
        ("judicial_whereabouts", "witness", "convictions", json!(["theft"]), false),
        ("missing_protect", "missing", "based_on", json!("assessment"), true),
        ("missing_protect", "missing", "based_on", json!("rumour"), false),
        ("missing_protect", "missing", "role", json!("driver"), false),
        ("missing_protect", "victim_presumed", "modus_operandi", json!("text"), false),
        ("missing_protect", "victim_identified", "warnings", json!(["armed"]), false),
        ("missing_protect", "victim_identified", "warnings", json!(["self_harm"]), true),
        ("missing_protect", "victim_presumed", "identifiers", iban, false),
        ("missing_protect", "victim_presumed", "identifiers", phone.clone(), false),
        ("judicial_whereabouts", "witness", "marks", json!(["scar"]), false),
        ("judicial_whereabouts", "witness", "identifiers", phone.clone(), false),
        ("intelligence_notice", "contact", "identifiers", phone, true),
        ("intelligence_notice", "contact", "marks", json!(["scar"]), false),
        ("discreet_check", "missing", "sex", json!("female"), false),
        ("object_seizure", "suspect", "sex", json!("male"), false),
    ] {
        let mut draft = missing_person();
        draft["category"] = json!(category);
        draft["subjects"] = json!([{ "category": person, claim: value }]);
        let parsed = parsed(&draft.to_string());
        let error = parsed.as_ref().err().map(ToString::to_string);
        assert_eq!(parsed.is_ok(), permitted, "{category} {person} {claim}: {error:?}");
    }
}

#[test]
fn a_changed_token_is_refused() {
    let token = issued(&missing_person()).token;
    let (jws, rest) = token.split_once('~').unwrap();
    let parts: Vec<&str> = jws.split('.').collect();
    let header = |header: &str| {
        let header = Base64UrlUnpadded::encode_string(header.as_bytes());
        format!("{header}.{}.{}~{rest}", parts[1], parts[2])
    };
    let kid = key(1).key_id();
    let first = rest.split('~').next().unwrap();
    for (token, reason) in [
        (header("{\"alg\":\"none\",\"typ\":\"entente-alert+sd-jwt\"}"), "unknown_alg"),
        (
            header(&format!(
                "{{\"alg\":\"ES256\",\"typ\":\"entente-alert+sd-jwt\",\"kid\":\"{kid}\"}}"
            )),
            "unknown_alg",
        ),
        (
            header(&format!("{{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"kid\":\"{kid}\"}}")),
            "unknown_typ",
        ),
        (
            header(&format!(
                r#"{{"alg":"EdDSA","typ":"entente-alert+sd-jwt","kid":"{kid}","jwk":{{}}}}"#
            )),
            "unknown_header",
        ),
        (format!("{jws}~{first}~{rest}"), "disclosure_reused"),
        (
            format!("{token}{}~", disclosure(&json!(["salt", "urgency", "urgent"]))),
            "orphan_disclosure",
        ),
        (token.trim_end_matches('~').to_owned(), "malformed_token"),
        (format!("~{token}"), "malformed_token"),
        (String::new(), "malformed_token"),
        ("a.b.c~".to_owned(), "base64_not_canonical"),
        (format!("{}{token}", "x".repeat(TOKEN_BYTES_MAX)), "too_large"),
    ] {
        assert_eq!(reason_of(&token), reason, "{token:.80}");
    }
    let other = key(2);
    let draft = parsed(&missing_person().to_string()).unwrap();
    let forged = issue(&draft, id(), 1, None, now(), &other, &Entropy::seeded(9)).unwrap();
    assert_eq!(reason_of(&forged.token), "unknown_key");
    // Any byte of the signature, changed.
    for place in 0..8 {
        let mut signature = Base64UrlUnpadded::decode_vec(parts[2]).unwrap();
        signature[place * 8] ^= 1;
        let signature = Base64UrlUnpadded::encode_string(&signature);
        let token = format!("{}.{}.{signature}~{rest}", parts[0], parts[1]);
        assert_eq!(reason_of(&token), "signature_invalid");
    }
}

#[test]
fn a_version_follows_the_one_held_or_is_refused() {
    let first = issued(&missing_person());
    let draft = parsed(&missing_person().to_string()).unwrap();
    let next = |version, previous, seed| {
        issue(&draft, id(), version, Some(previous), now(), &key(1), &Entropy::seeded(seed))
            .unwrap()
    };
    let second = next(2, first.jwt_digest, 10);
    let held = |view: &View| Some((view.head.version, view.jwt_digest));
    let twin = issue(&draft, id(), 1, None, now(), &key(1), &Entropy::seeded(11)).unwrap();
    for (held, new, expected) in [
        (None, &first, Ok(Succession::First)),
        (held(&first), &first, Ok(Succession::SameVersion)),
        (held(&first), &second, Ok(Succession::Next)),
        (held(&first), &next(3, second.jwt_digest, 12), Ok(Succession::Gap)),
        (held(&first), &next(2, second.jwt_digest, 13), Ok(Succession::Forked)),
        (held(&second), &first, Err(AlertError::OlderVersion)),
        (held(&first), &twin, Err(AlertError::Equivocation)),
    ] {
        assert_eq!(succeeds(held, new), expected);
    }
}

type Put = Box<dyn Fn(&mut Value, Value)>;

/// Fields of texts that only people in checks have.
fn texts_of_suspects() -> [(&'static str, Put); 4] {
    ["role", "modus_operandi", "behaviour", "finances"].map(|claim| {
        let put = move |d: &mut Value, v: Value| {
            d["category"] = json!("discreet_check");
            d["subjects"][0]["category"] = json!("suspect");
            d["subjects"][0][claim] = v;
        };
        (claim, Box::new(put) as Put)
    })
}

#[test]
fn hostile_texts_are_refused_in_every_field() {
    let fields: [(&str, fn(&mut Value, Value)); 14] = [
        ("convictions", |d, v| {
            d["category"] = json!("discreet_check");
            d["subjects"][0]["category"] = json!("suspect");
            d["subjects"][0]["convictions"] = json!([v]);
        }),
        ("description", |d, v| {
            d["category"] = json!("object_check");
            d["subjects"] = json!([]);
            d["objects"] = json!([{ "kind": "vehicle", "description": v }]);
        }),
        ("legal_basis", |d, v| d["legal_basis"] = v),
        ("case_ref", |d, v| d["case_ref"] = v),
        ("urgency_reason", |d, v| d["urgency_reason"] = v),
        ("handling_text", |d, v| {
            d["handling"] = json!(["H3"]);
            d["handling_text"] = v;
        }),
        ("family", |d, v| d["subjects"][0]["names"][0]["family"] = v),
        ("given", |d, v| d["subjects"][0]["names"][0]["given"] = v),
        ("birth_place", |d, v| d["subjects"][0]["birth_place"] = v),
        ("marks", |d, v| d["subjects"][0]["marks"] = json!([v])),
        ("descriptions", |d, v| d["subjects"][0]["descriptions"] = json!([v])),
        ("necessity_note", |d, v| d["subjects"][0]["necessity_note"] = v),
        ("text", |d, v| d["locations"][0]["text"] = v),
        ("number", |d, v| d["subjects"][0]["identifiers"][0]["number"] = v),
    ];
    let heap = format!("a{}", "\u{0301}".repeat(12));
    let long = "x".repeat(2001);
    let hostile = [
        "a\u{0}b",
        "a\nb",
        "a\u{1b}[31m",
        "\u{202e}abc",
        "a\u{200b}b",
        "a\u{2066}b",
        "a\u{feff}",
        "\u{e000}",
        "\u{fdd0}",
        "\u{e0041}",
        "\u{ffff}",
        "\u{ad}x",
        "\u{fe0f}x",
        "a\u{378}",
        "Muham\u{fffd}ed",
        heap.as_str(),
        long.as_str(),
    ];
    let fields = fields.map(|(field, put)| (field, Box::new(put) as Put));
    for (field, put) in fields.into_iter().chain(texts_of_suspects()) {
        for text in hostile {
            let mut draft = missing_person();
            put(&mut draft, json!(text));
            let parsed = parsed(&draft.to_string());
            let error = parsed.err().unwrap_or_else(|| panic!("{field} took {text:?}")).to_string();
            assert!(!error.contains(text), "{field}: the message shows the value");
        }
        let mut draft = missing_person();
        put(&mut draft, json!("P1234567"));
        assert!(parsed(&draft.to_string()).is_ok(), "{field} takes an ordinary text");
    }
}

#[test]
fn drafts_out_of_bounds_are_refused() {
    let change = |change: fn(&mut Value)| {
        let mut draft = missing_person();
        change(&mut draft);
        draft.to_string()
    };
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for draft in [
        " ".repeat(DRAFT_BYTES_MAX + 1),
        deep,
        change(|d| d["subjects"] = json!(vec![json!({ "category": "missing" }); 17])),
        change(|d| d["subjects"][0]["marks"] = json!(vec!["m"; 17])),
        change(|d| d["exploitation"] = json!([])),
        change(|d| d["category"] = json!("murder")),
        change(|d| d["colour"] = json!("red")),
        change(|d| d["issued_at"] = json!("2026-11-24T10:00:00Z")),
        change(|d| d["subjects"][0]["age_band"] = json!("18-24")),
        change(|d| d["subjects"][0]["birth_date"] = json!("1998-02-30")),
        change(|d| d["handling_text"] = json!("text without H3")),
        change(|d| d["urgency"] = json!("urgent")),
        change(|d| d["locations"][0]["nuts2"] = json!("FR10")),
        change(|d| d["locations"] = json!([{ "kind": "sighting", "nuts3": "QQ011" }])),
        change(|d| d["locations"] = json!([{ "kind": "sighting", "country": "EL" }])),
        change(|d| d["subjects"][0]["nationalities"] = json!(["ZZ"])),
        change(|d| d["evaluation"] = json!("Z9")),
    ] {
        assert!(parsed(&draft).is_err(), "{draft:.200}");
    }
}

#[test]
fn issuing_adds_what_follows_from_the_day() {
    let view = issued(&missing_person());
    let subject = &view.content.subjects[0];
    assert_eq!(subject.birth_year, Some(1998));
    assert_eq!(subject.age_band.as_deref(), Some("25-34"));
    assert_eq!(view.content.locations[0].nuts2.as_deref(), Some("DK01"));
    assert_eq!(view.content.locations[0].country.as_deref(), Some("DK"));
    let end = view.content.expires_at.unwrap();
    assert_eq!(end, now().plus(Category::MissingProtect.retention_s()));
    assert_eq!(view.head.expires_at, end.end_of_month());
    let of = |category: Category| Samples::new(3).find(|s| s["category"] == category.as_str());
    for category in Category::ALL {
        let draft = parsed(&of(*category).unwrap().to_string()).unwrap();
        let issue_at =
            |draft: &Draft| issue(draft, id(), 1, None, now(), &key(1), &Entropy::seeded(3));
        assert!(issue_at(&draft).is_ok(), "{category}");
        let longest = now().plus(category.retention_s());
        assert!(issue_at(&draft.clone().ending_at(longest)).is_ok(), "{category}");
        assert!(issue_at(&draft.ending_at(longest.plus(1))).is_err(), "{category}");
    }
}

#[test]
fn nobody_is_born_in_the_future() {
    let mut draft = missing_person();
    for (date, permitted) in [
        ("2026-11-24", true),
        ("2026", true),
        ("2026-11", true),
        ("2026-11-25", true),
        ("2026-11-26", false),
        ("2027", false),
    ] {
        draft["subjects"][0]["birth_date"] = json!(date);
        draft["subjects"][0]["necessity_note"] = json!("a newborn");
        assert_eq!(parsed(&draft.to_string()).is_ok(), permitted, "{date}");
    }
}

#[test]
fn withdrawals_verify_strictly() {
    let jws = withdraw(&id(), 3, now(), &key(1)).unwrap();
    assert_eq!(verify_withdrawal(&jws, of_dk, now()).unwrap().ver, 3);
    let late = now().plus(-crate::id::CLOCK_TOLERANCE_S - 1);
    assert_eq!(verify_withdrawal(&jws, of_dk, late).unwrap_err().reason(), Reason::FutureIat);
    let forged = withdraw(&id(), 3, now(), &key(2)).unwrap();
    assert_eq!(verify_withdrawal(&forged, of_dk, now()).unwrap_err().reason(), Reason::UnknownKey);
    let alert = issued(&missing_person()).token;
    assert!(verify_withdrawal(&alert, of_dk, now()).is_err());
}

/// Every text of a token's disclosures, decoded.
fn disclosed_text(token: &str) -> String {
    let parts = token.split(['~', '.']).filter_map(|part| Base64UrlUnpadded::decode_vec(part).ok());
    parts.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A view has the claims that were asked for and no others, in any byte; and it verifies.
    #[test]
    fn a_view_discloses_just_what_was_asked_for(seed in 0u64..500, bits in any::<u128>()) {
        let view = issued(&Samples::new(seed).nth(seed as usize % 11).unwrap());
        let names = view.claims.names();
        let chosen = names.iter().enumerate().filter(|(n, _)| bits >> (n % 128) & 1 == 1);
        let asked = chosen.fold(ClaimSet::core(), |set, (_, name)| set.union(ClaimSet::one(name)));
        let asked = asked.intersection(view.claims);
        let token = view.disclose(asked).unwrap();
        prop_assert_eq!(&token, &view.disclose(asked).unwrap(), "the same bytes each time");
        let seen = verify(&token, of_dk, now()).unwrap();
        prop_assert_eq!(seen.claims, asked);
        prop_assert_eq!(seen.jwt_digest, view.jwt_digest);
        let text = disclosed_text(&token);
        for subject in &view.content.subjects {
            let withheld = |name: &str| !asked.names().contains(&name);
            let hidden = withheld("subjects.birth_date");
            if let Some(date) = subject.birth_date.as_ref().filter(|_| hidden) {
                prop_assert!(!text.contains(date.as_str()), "the birth date is in the bytes");
            }
            for name in subject.names.iter().filter(|_| withheld("subjects.names")) {
                prop_assert!(!text.contains(&name.family), "the name is in the bytes");
            }
        }
    }

    /// Whatever comes, parsing ends with a verdict.
    #[test]
    fn parsing_is_total(text in ".{0,200}", cut in 0usize..2000) {
        let _ = verify(&text, of_dk, now());
        let _ = parsed(&text);
        let token = issued(&missing_person()).token;
        let cut = token.get(..cut.min(token.len() - 1)).unwrap_or_default();
        prop_assert!(verify(cut, of_dk, now()).is_err());
    }
}

/// The vectors that tests/foreign/check.py verifies with another library; ENTENTE_WRITE_VECTORS=1
/// writes them anew.
#[test]
fn the_vectors_for_the_foreign_library_are_what_we_issue() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/foreign/vectors.json");
    let full = issued(&missing_person());
    let little = ClaimSet::core().union(ClaimSet::one("subjects.birth_year"));
    let vector = |name: &str, token: &str| {
        let view = verify(token, of_dk, now()).unwrap();
        json!({ "name": name, "token": token, "claims": view.content })
    };
    let mut without_case = json!(verify(&full.token, of_dk, now()).unwrap().content);
    assert!(without_case.as_object_mut().unwrap().remove("case_ref").is_some());
    let changed = full.token.split('~').map(|part| {
        let text = Base64UrlUnpadded::decode_vec(part).unwrap_or_default();
        match String::from_utf8(text) {
            Ok(text) if text.contains("case 7") => {
                Base64UrlUnpadded::encode_string(text.replace("case 7", "case 8").as_bytes())
            }
            _ => part.to_owned(),
        }
    });
    let changed = changed.collect::<Vec<_>>().join("~");
    assert_eq!(reason_of(&changed), "orphan_disclosure");
    let draft = parsed(&missing_person().to_string()).unwrap();
    let forged = issue(&draft, id(), 1, None, now(), &key(2), &Entropy::seeded(9)).unwrap();
    assert_eq!(reason_of(&forged.token), "unknown_key");
    let vectors = json!({
        "key": key(1).public(),
        "vectors": [
            vector("full", &full.token),
            vector("minimised", &full.disclose(little).unwrap()),
            vector("core", &full.disclose(ClaimSet::core()).unwrap()),
            { "name": "value_changed", "token": changed, "claims": without_case },
            { "name": "other_signer", "token": forged.token, "claims": null },
        ],
    });
    let text = serde_json::to_string_pretty(&vectors).unwrap() + "\n";
    if std::env::var_os("ENTENTE_WRITE_VECTORS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), text);
}

/// The recorded run of the foreign library is about these very vectors, and agreed with all of
/// them.
#[test]
fn the_foreign_library_agreed() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/foreign");
    let vectors = std::fs::read(format!("{folder}/vectors.json")).unwrap();
    let result = std::fs::read_to_string(format!("{folder}/result.json")).unwrap();
    let result: Value = serde_json::from_str(&result).unwrap();
    assert_eq!(
        result["vectors_sha256"],
        json!(Digest::of(&vectors).0.map(|b| format!("{b:02x}")).concat())
    );
    let verdicts = result["verdicts"].as_array().unwrap();
    assert_eq!(verdicts.len(), 5);
    assert!(verdicts.iter().all(|verdict| verdict["agrees"] == json!(true)), "{result}");
}
