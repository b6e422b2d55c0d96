//! What officers find and see: every type of identifier, names in other letters, and changes as they come.

use entente_node::alert::IdentifierKind;
use entente_proto::desk::desk_client::DeskClient;
use entente_proto::desk::search_response::Message;
use entente_proto::desk::{
    Change, CreateAlertRequest, Hit, Identifier, SearchRequest, UpdateAlertRequest,
    WatchAlertsRequest, WithdrawAlertRequest,
};
use entente_tests::federation::{ALL, Federation};
use serde_json::{Value, json};
use tonic::Streaming;
use tonic::transport::Channel;

type Desk = DeskClient<Channel>;

/// Type, country, as the issuer writes it, as another officer does, and a number of somebody else.
const WRITTEN: [(&str, &str, &str, &str, &str); 14] = [
    ("passport", "UA", "FB123456", "fb 123-456", "FB123457"),
    ("national_id", "UA", "1990041212345", "19900412-12345", "1990041212346"),
    ("residence_permit", "DK", "RP7654321", "rp 765 4321", "RP7654322"),
    ("driving_licence", "UA", "BXC123456", "bxc-123456", "BXC123457"),
    ("travel_document", "DK", "TD998877", "td.998877", "TD998878"),
    ("plate", "FR", "AB123CD", "ab-123-cd", "AB124CD"),
    ("vin", "", "WVWZZZ1JZ3W386752", "wvwzzz1jz3w386752", "WVWZZZ1JZ3W386753"),
    ("phone", "", "+4532123456", "0045 32 12 34 56", "+4532123457"),
    ("email", "", "a.person@example.org", "A.Person@Example.ORG", "b.person@example.org"),
    ("account", "", "example.net:some_one", "Example.net:@Some_One", "example.net:some_two"),
    ("url", "", "https://example.org/A?b", "HTTPS://Example.ORG/A?b", "https://example.org/B"),
    ("iban", "", "DE89370400440532013000", "de89 3704 0044 0532 0130 00", "GB82WEST12345698765432"),
    ("imei", "", "490154203237518", "49-015420-323751-8", "356938035643809"),
    (
        "crypto_address",
        "",
        "0xabcdef0123456789abcdef0123456789abcdef01",
        "0xABCDEF0123456789ABCDEF0123456789ABCDEF01",
        "0xabcdef0123456789abcdef0123456789abcdef02",
    ),
];

fn suspect() -> Value {
    let identifiers: Vec<Value> = WRITTEN
        .iter()
        .map(|(kind, country, number, ..)| match *country {
            "" => json!({ "type": kind, "number": number }),
            country => json!({ "type": kind, "country": country, "number": number }),
        })
        .collect();
    json!({
        "category": "discreet_check", "exploitation": ["labour"], "handling": ["H0"],
        "legal_basis": "act 1", "case_ref": "case 1",
        "subjects": [{
            "category": "suspect",
            "names": [{ "family": "Карпенко", "given": "Илина" }],
            "birth_date": "1978-04-12",
            "identifiers": identifiers,
        }],
    })
}

async fn hits(desk: &mut Desk, asked: SearchRequest) -> anyhow::Result<Vec<Hit>> {
    let asked = SearchRequest {
        case_ref: "case 2".to_owned(),
        offence: "labour".to_owned(),
        subject_category: "suspect".to_owned(),
        aim: "identify".to_owned(),
        ..asked
    };
    let mut answers = desk.search(asked).await?.into_inner();
    let mut hits = Vec::new();
    while let Some(answer) = answers.message().await? {
        match answer.message {
            Some(Message::Hit(hit)) => hits.push(hit),
            Some(Message::Summary(summary)) => assert_eq!(summary.hits as usize, hits.len()),
            None => anyhow::bail!("an empty answer"),
        }
    }
    Ok(hits)
}

fn by_number(kind: &str, country: &str, number: &str) -> SearchRequest {
    let (r#type, country, number) = (kind.to_owned(), country.to_owned(), number.to_owned());
    let identifiers = vec![Identifier { r#type, country, number }];
    SearchRequest { identifiers, ..Default::default() }
}

fn by_name(family: &str, given: &str, birth_date: &str) -> SearchRequest {
    SearchRequest {
        family_name: family.to_owned(),
        given_name: given.to_owned(),
        birth_date: birth_date.to_owned(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_identifier_and_name_is_found_at_home_and_abroad_however_it_is_written()
-> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi", "fr.police-judiciaire"]).await?;
    federation.nodes[0].apply(ALL).await?;
    let id = federation.nodes[0].create(&suspect()).await?.to_string();
    federation.settle().await?;
    assert_eq!(WRITTEN.map(|(kind, ..)| kind), IdentifierKind::ALL.map(IdentifierKind::as_str));
    for (node, own) in federation.nodes.iter().zip([true, false]) {
        let mut officer = DeskClient::new(node.desk("officer").await?);
        for (kind, country, _, otherwise, others) in WRITTEN {
            let found = hits(&mut officer, by_number(kind, country, otherwise)).await?;
            let [hit] = found.as_slice() else { anyhow::bail!("{kind}: {found:?}") };
            assert_eq!(
                (&hit.id, hit.own, hit.matched.as_slice()),
                (&id, own, &[kind.to_owned()][..])
            );
            let found = hits(&mut officer, by_number(kind, country, others)).await?;
            assert!(found.is_empty(), "{kind} of somebody else: {found:?}");
        }
        let abroad = hits(&mut officer, by_number("passport", "RO", "FB123456")).await?;
        assert!(abroad.is_empty(), "the same number of another country: {abroad:?}");
        for (family, given) in [("KARPENKO", "ilina"), ("Ilina", "Karpenko")] {
            let found = hits(&mut officer, by_name(family, given, "1978-04-12")).await?;
            assert_eq!(found.first().map(|hit| hit.id.as_str()), Some(id.as_str()), "{family}");
            let younger = hits(&mut officer, by_name(family, given, "1978-04-13")).await?;
            assert!(younger.is_empty(), "{younger:?}");
        }
    }
    federation.stop().await
}

async fn next(changes: &mut Streaming<Change>) -> anyhow::Result<(String, String, u32)> {
    let change = changes.message().await?;
    let change = change.ok_or_else(|| anyhow::anyhow!("the watch ended"))?;
    Ok((change.kind, change.id, change.version))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_says_what_changes_here_and_at_a_peer() -> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi", "fr.police-judiciaire"]).await?;
    let [dk, fr] = federation.nodes.as_slice() else { anyhow::bail!("two nodes") };
    dk.apply(ALL).await?;
    let mut officer = DeskClient::new(dk.desk("officer").await?);
    let mut here = officer.watch_alerts(WatchAlertsRequest {}).await?.into_inner();
    let mut there = DeskClient::new(fr.desk("officer").await?);
    let mut there = there.watch_alerts(WatchAlertsRequest {}).await?.into_inner();
    assert_eq!(next(&mut here).await?.0, "ready");
    assert_eq!(next(&mut there).await?.0, "ready");
    let draft = suspect().to_string();
    let asked = CreateAlertRequest { draft: draft.clone(), ..Default::default() };
    let id = officer.create_alert(asked).await?.into_inner().id;
    let said = |kind: &str, version| (kind.to_owned(), id.clone(), version);
    assert_eq!(next(&mut here).await?, said("created", 1));
    assert_eq!(next(&mut there).await?, said("received", 1));
    let update = UpdateAlertRequest { id: id.clone(), draft, ..Default::default() };
    officer.update_alert(update).await?;
    assert_eq!(next(&mut here).await?, said("updated", 2));
    assert_eq!(next(&mut there).await?, said("received", 2));
    let reason = "found".to_owned();
    officer.withdraw_alert(WithdrawAlertRequest { id: id.clone(), reason }).await?;
    assert_eq!(next(&mut here).await?, said("withdrawn", 2));
    assert_eq!(next(&mut there).await?, said("withdrawn", 2));
    federation.stop().await
}
