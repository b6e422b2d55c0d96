//! The commands that README's way does not take, at the nodes that `entente demo --keep` leaves
//! running.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod kept;

use kept::keep;

fn filled(template: &str) -> String {
    [
        ("<form of exploitation>", "labour"),
        ("<act>", "transport"),
        ("<means>", "deception"),
        ("<evaluation>", "B3"),
        ("<legal basis>", "act 12, section 3"),
        ("<case>", "DK-2026-1"),
        ("<victim_presumed or victim_identified or missing>", "missing"),
        ("<family name>", "Familyname"),
        ("<given name>", "Givenname"),
        ("<birth date>", "1990-01-31"),
        ("<sex>", "female"),
        ("<nationality>", "DK"),
        ("<what happened there>", "transit"),
        ("<region>", "DK011"),
    ]
    .iter()
    .fold(template.to_owned(), |draft, (placeholder, value)| draft.replace(placeholder, value))
}

#[test]
fn what_people_do_at_a_node_has_a_command_that_works() {
    let folder = tempfile::tempdir().unwrap();
    let kept = keep(folder.path());
    let officer = |words: &[&str]| kept.run("dk.politi", "officer", 0, words);
    let administrator = |words: &[&str]| kept.run("dk.politi", "administrator", 0, words);
    let coordinator = |words: &[&str]| kept.run("dk.politi", "coordinator", 0, words);

    let template = officer(&["alert", "template", "missing_protect"]);
    std::fs::write(kept.folder.join("draft.json"), &template).unwrap();
    let refused = kept.run("dk.politi", "officer", 1, &["alert", "create", "draft.json"]);
    let places = ["case_ref: ", "subjects[0].names[0].family: ", "locations[0].nuts3: "];
    assert!(places.iter().all(|place| refused.contains(place)), "{refused}");
    std::fs::write(kept.folder.join("draft.json"), filled(&template)).unwrap();
    let created = officer(&["alert", "create", "draft.json"]);
    let start = created.find("dk.politi:2").expect(&created);
    let id = &created[start..start + "dk.politi:2026-481920375".len()];
    let shown = officer(&["alert", "show", id, "--token", "alert.jwt"]);
    assert!(shown.contains("missing_protect") && shown.contains("Familyname"), "{shown}");
    let (dk, fr) = ("dk.politi/descriptor.jws", "fr.police-judiciaire/descriptor.jws");
    assert!(officer(&["alert", "verify", "alert.jwt", "--descriptor", dk]).contains(id));
    kept.run("dk.politi", "officer", 1, &["alert", "verify", "alert.jwt", "--descriptor", fr]);
    officer(&["alert", "update", id, "draft.json", "--expected-version", "1"]);
    let moved = ["alert", "update", id, "draft.json", "--expected-version", "1"];
    assert!(kept.run("dk.politi", "officer", 1, &moved).contains("version"));
    let why = administrator(&["policy", "explain", id, "fr.police-judiciaire"]);
    assert!(why.contains("claims") && !why.contains("Familyname"), "{why}");
    officer(&["alert", "withdraw", id, "--reason", "found safe"]);
    kept.run("dk.politi", "officer", 1, &moved);

    let peer = "fr.police-judiciaire";
    assert!(coordinator(&["peer", "list"]).contains(peer));
    administrator(&["peer", "suspend", peer, "--reason", "incident 12"]);
    assert!(coordinator(&["peer", "show", peer]).contains("suspended"));
    let again = ["peer", "suspend", peer, "--reason", "incident 12"];
    let again = kept.run("dk.politi", "administrator", 1, &again);
    assert!(again.contains("the peer is suspended already"), "{again}");
    coordinator(&["peer", "resume", peer, "--reason", "incident 12 closed"]);
    let shown = coordinator(&["peer", "show", peer]);
    assert!(shown.contains("active") && shown.contains("the same machine only"), "{shown}");
    administrator(&["peer", "export", "--out", "dk.descriptor"]);
    let fingerprint = |file| coordinator(&["identity", "fingerprint", file]);
    assert_eq!(fingerprint("dk.descriptor"), fingerprint(dk));
    administrator(&["peer", "remove", "de.bka", "--reason", "agreement ended"]);
    assert!(coordinator(&["peer", "show", "de.bka"]).contains("removed"));
}

/// A missing person with this case, passport and handling code.
fn missing(case: &str, passport: &str, handling: &str) -> String {
    serde_json::json!({
        "category": "missing_protect", "exploitation": ["labour"], "handling": [handling],
        "legal_basis": "act 1", "case_ref": case,
        "subjects": [{
            "category": "missing",
            "identifiers": [{ "type": "passport", "country": "UA", "number": passport }],
        }],
    })
    .to_string()
}

#[test]
fn an_officer_is_told_what_other_alerts_and_handling_codes_say() {
    let folder = tempfile::tempdir().unwrap();
    let kept = keep(folder.path());
    let put = |name: &str, text: String| std::fs::write(kept.folder.join(name), text).unwrap();
    let dk = |code: i32, words: &[&str]| kept.run("dk.politi", "officer", code, words);
    let fr = |code: i32, words: &[&str]| kept.run("fr.police-judiciaire", "officer", code, words);
    put("one.json", missing("1", "QX777001", "H2"));
    put("two.json", missing("2", "QX777001", "H0"));
    let created = dk(0, &["alert", "create", "one.json", "--format", "json"]);
    let created: serde_json::Value = serde_json::from_str(&created).unwrap();
    let id = created["id"].as_str().unwrap();

    let refused = dk(1, &["alert", "create", "two.json"]);
    assert!(refused.contains("the same passport") && refused.contains(id), "{refused}");
    let confirmed = dk(0, &["alert", "create", "two.json", "--override-reason", "another case"]);
    assert!(confirmed.contains("the same passport") && confirmed.contains(id), "{confirmed}");

    let search = [
        "search",
        "--case",
        "9",
        "--offence",
        "labour",
        "--sought",
        "suspect",
        "--identifier",
        "passport:UA:QX777001",
    ];
    for _ in 0..100 {
        if fr(0, &search).contains(id) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    for officer in [&dk as &dyn Fn(i32, &[&str]) -> String, &fr] {
        let found = officer(0, &search);
        let warned = found.lines().filter(|line| line.contains("non-punishment [2011/36 Art. 8]"));
        assert_eq!(warned.filter(|line| line.contains(id)).count(), 1, "{found}");
        let json = officer(0, &[&search[..], &["--format", "json"]].concat());
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let hits = json["items"].as_array().unwrap();
        assert_eq!(hits.len(), 2, "{json}");
        for hit in hits {
            assert!(hit["non_punishment"].as_str().unwrap().contains("non-punishment"), "{hit}");
            assert_eq!(hit["subject_categories"], serde_json::json!(["missing"]));
        }
    }

    let show = ["alert", "show", id, "--justification", "hit"];
    assert!(fr(0, &show).contains("H2: no dissemination"));
    let export = [&show[..], &["--token", "copy.jwt", "--export-reason", "asked for"]].concat();
    assert!(fr(1, &export).contains("H2 stands on"));
    assert!(!kept.folder.join("copy.jwt").exists());
    dk(0, &export);

    put("lines.jsonl", missing("3", "QX777003", "H0") + "\n");
    let import = ["alert", "import", "lines.jsonl"];
    assert!(dk(0, &import).contains("1 created"));
    assert!(dk(0, &import).contains("1 there already"));
    let found = dk(0, &["alert", "list", "--limit", "1", "--format", "json"]);
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    let newest = found["items"][0]["id"].as_str().unwrap();
    dk(0, &["alert", "withdraw", newest, "--reason", "found safe"]);
    let ended = dk(1, &import);
    assert!(ended.contains(newest) && ended.contains("was withdrawn on"), "{ended}");
    assert!(dk(0, &[&import[..], &["--recreate"]].concat()).contains("1 created"));
}
