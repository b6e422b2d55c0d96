//! The commands that README's way does not take, at the nodes that `entente demo --keep` leaves running.
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
    officer(&["alert", "update", id, "draft.json", "--version", "1"]);
    let moved = ["alert", "update", id, "draft.json", "--version", "1"];
    assert!(kept.run("dk.politi", "officer", 1, &moved).contains("version"));
    let why = administrator(&["policy", "explain", id, "fr.police-judiciaire"]);
    assert!(why.contains("claims") && !why.contains("Familyname"), "{why}");
    officer(&["alert", "withdraw", id, "--reason", "found safe"]);
    kept.run("dk.politi", "officer", 1, &moved);

    let peer = "fr.police-judiciaire";
    assert!(coordinator(&["peer", "list"]).contains(peer));
    administrator(&["peer", "suspend", peer, "--reason", "incident 12"]);
    assert!(coordinator(&["peer", "show", peer]).contains("suspended"));
    coordinator(&["peer", "resume", peer, "--reason", "incident 12 closed"]);
    let shown = coordinator(&["peer", "show", peer]);
    assert!(shown.contains("active") && shown.contains("the same machine only"), "{shown}");
    administrator(&["peer", "export", "--out", "dk.descriptor"]);
    let fingerprint = |file| coordinator(&["identity", "fingerprint", file]);
    assert_eq!(fingerprint("dk.descriptor"), fingerprint(dk));
    administrator(&["peer", "remove", "de.bka", "--reason", "agreement ended"]);
    assert!(coordinator(&["peer", "show", "de.bka"]).contains("removed"));
}
