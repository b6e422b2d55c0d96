//! The bodies of the fuzz targets over any bytes, and over valid inputs that were changed a little:
//! those get further.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use entente_node::alert::{self, Draft, withdraw};
use entente_node::exchange::{HEAD_TYP, PROTOCOLS, Standing};
use entente_node::id::Entropy;
use entente_node::jose::{self, SdJwt};
use entente_node::sample::Samples;
use entente_node::wire::exchange::FromSender;
use entente_proto::{DESCRIPTORS, desk, exchange};
use entente_tests::federation::{ALL, search_by_passport};
use entente_tests::fuzz::{self, MESSAGES, TARGETS, now, signer};
use proptest::prelude::*;
use prost::Message;
use serde_json::json;

/// Inputs that are valid, for each target.
fn valid(target: &str) -> Vec<Vec<u8>> {
    let drafts: Vec<String> = Samples::new(1).take(8).map(|draft| draft.to_string()).collect();
    let text = |text: String| text.into_bytes();
    match target {
        "jws" => vec![text(head()), text(withdraw_one())],
        "sd_jwt" => drafts.iter().map(|draft| text(token(draft))).collect(),
        "draft" => drafts.into_iter().map(text).collect(),
        "policy" => vec![ALL.as_bytes().to_vec(), POLICY.as_bytes().to_vec()],
        _ => messages(&token(&drafts[0])),
    }
}

const POLICY: &str = "[[rule]]\n\
                      name = 'one'\n\
                      peers = ['fr.*', 'de.bka']\n\
                      level = 'view'\n\
                      claims = ['subjects.*', 'urgency']\n\
                      until = 2027-01-31T00:00:00Z\n\
                      when = { category = ['missing_protect'], handling = ['H0'] }\n\
                      [[rule]]\n\
                      name = 'two'\n\
                      peers = ['*']\n\
                      level = 'none'\n";

fn head() -> String {
    let head = json!({ "iss": "dk.politi", "seq": 7, "text": "ä" });
    jose::sign(HEAD_TYP, &head, &signer()).expect("a key in memory signs")
}

fn withdraw_one() -> String {
    let id = "dk.politi:2026-481920375".parse().expect("an id");
    withdraw(&id, 2, now(), &signer()).expect("a key in memory signs")
}

fn token(draft: &str) -> String {
    let id = "dk.politi:2026-481920375".parse().expect("an id");
    let draft = Draft::parse(draft, now()).expect("a sample is a draft");
    let entropy = Entropy::seeded(3);
    let issued = alert::issue(&draft, id, 1, None, now(), &signer(), &entropy);
    issued.expect("a sample can be issued").token
}

fn messages(token: &str) -> Vec<Vec<u8>> {
    let item = exchange::Item {
        seq: 1,
        digest: vec![7; 32],
        statement: Some(exchange::item::Statement::Alert(token.to_owned())),
    };
    let batch = exchange::Batch { items: vec![item], head: head(), acknowledged: 1 };
    let sent = exchange::FromSender { message: Some(batch_of(batch)) };
    let standing = Standing { protocols: PROTOCOLS, ..Standing::default() };
    let hello = exchange::FromSender::from(FromSender::Hello(standing));
    let line = desk::ImportLine { line: 1, draft: "{}".to_owned(), ..Default::default() };
    vec![
        sent.encode_to_vec(),
        hello.encode_to_vec(),
        search_by_passport().encode_to_vec(),
        line.encode_to_vec(),
    ]
}

fn batch_of(batch: exchange::Batch) -> exchange::from_sender::Message {
    exchange::from_sender::Message::Batch(batch)
}

/// What is done to bytes: where, what, and with which byte.
type Change = (u16, u8, u8);

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for (at, what, with) in changes.iter().copied() {
        if bytes.is_empty() {
            break;
        }
        let at = usize::from(at) % bytes.len();
        match what % 5 {
            0 => bytes[at] = with,
            1 => bytes[at] ^= 1 << (with % 8),
            2 => bytes.insert(at, with),
            3 => bytes.truncate(at),
            _ => {
                let end = (at + usize::from(with)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

#[test]
fn valid_inputs_are_taken() {
    for (name, run) in TARGETS {
        valid(name).iter().for_each(|bytes| run(bytes));
    }
    for bytes in valid("sd_jwt") {
        let text = String::from_utf8(bytes).expect("text");
        assert!(alert::verify(&text, |_, _| Some(signer().public()), now()).is_ok());
        assert!(SdJwt::parse(&text).is_ok());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes_are_read_in_bounds(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        for (_, run) in TARGETS {
            run(&bytes);
        }
    }

    #[test]
    fn any_text_is_read_in_bounds(text in "[\\PC\u{1b}\n]{0,300}") {
        for (_, run) in TARGETS {
            run(text.as_bytes());
        }
    }

    #[test]
    fn what_was_valid_and_then_changed_is_read_in_bounds(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec(any::<Change>(), 1..6),
    ) {
        for (name, run) in TARGETS {
            let all = valid(name);
            run(&changed(which.get(&all).clone(), &changes));
        }
    }

    /// A signature is for one text: any other is refused.
    #[test]
    fn nothing_that_was_changed_verifies(changes in prop::collection::vec(any::<Change>(), 1..3)) {
        let signed = head();
        let other = changed(signed.clone().into_bytes(), &changes);
        if let Ok(other) = String::from_utf8(other) {
            let key = Some(signer().public());
            let verified = jose::verify::<serde_json::Value>(HEAD_TYP, &other, |_| key);
            prop_assert!(verified.is_err() || other == signed, "{other}");
        }
    }
}

/// A message that is missing from the list would not be fuzzed.
#[test]
fn every_message_of_the_wire_is_in_the_list() {
    let files = prost_types::FileDescriptorSet::decode(DESCRIPTORS).expect("descriptors");
    let mut declared = BTreeSet::new();
    for file in &files.file {
        let package = file.package().split('.').nth(1).unwrap_or_default();
        let names = file.message_type.iter().map(|message| message.name());
        declared.extend(names.map(|name| (package.to_owned(), name.to_owned())));
    }
    let own = |(package, _): &(String, String)| ["exchange", "desk", "admin"].contains(&&**package);
    declared.retain(own);
    let listed = MESSAGES.iter().map(|(package, name)| ((*package).to_owned(), (*name).to_owned()));
    assert_eq!(declared, listed.collect());
}

#[test]
fn every_body_has_a_program() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("the manifest");
    assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
        let program = folder.join(format!("fuzz_targets/{name}.rs"));
        let program = fs::read_to_string(program).expect("a program");
        assert!(program.contains(&format!("fuzz::{name}(data)")), "{name}");
    }
    fuzz::wire(&[]);
}
