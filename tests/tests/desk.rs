//! What officers find and see: every type of identifier, names in other letters, and changes as
//! they come.

use entente_node::alert::IdentifierKind;
use entente_node::audit::Entry;
use entente_node::desk::{self, Line};
use entente_node::roles::Role;
use entente_proto::admin::ListEntriesRequest;
use entente_proto::admin::audit_client::AuditClient;
use entente_proto::desk::desk_client::DeskClient;
use entente_proto::desk::import_result::Outcome;
use entente_proto::desk::search_response::Message;
use entente_proto::desk::{
    Alert, Change, CreateAlertRequest, GetAlertRequest, Hit, Identifier, ImportLine, ImportResult,
    ListAlertsRequest, SearchRequest, UpdateAlertRequest, WatchAlertsRequest, WithdrawAlertRequest,
};
use entente_tests::federation::{ALL, Federation, TestNode, person};
use serde_json::{Value, json};
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use tonic_types::StatusExt;

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
    hits_of(desk, "suspect", asked).await
}

async fn hits_of(desk: &mut Desk, sought: &str, asked: SearchRequest) -> anyhow::Result<Vec<Hit>> {
    let asked = SearchRequest {
        case_ref: "case 2".to_owned(),
        offence: "labour".to_owned(),
        subject_category: sought.to_owned(),
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
    let mut here = officer.watch_alerts(WatchAlertsRequest::default()).await?.into_inner();
    let mut there = DeskClient::new(fr.desk("officer").await?);
    let mut there = there.watch_alerts(WatchAlertsRequest::default()).await?.into_inner();
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

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

fn asked(draft: &Value, override_reason: &str) -> CreateAlertRequest {
    CreateAlertRequest { draft: draft.to_string(), override_reason: override_reason.to_owned() }
}

/// What the log of a node says in events of this kind, oldest first.
async fn logged(node: &TestNode, kind: &str) -> anyhow::Result<Vec<Value>> {
    let mut auditor = AuditClient::new(node.desk("auditor").await?);
    let mut entries = auditor.list_entries(ListEntriesRequest::default()).await?.into_inner();
    let mut found = Vec::new();
    while let Some(entry) = entries.message().await? {
        let entry = Entry::parse(&entry.leaf)?;
        if entry.kind == kind {
            found.push(Value::Object(entry.facts));
        }
    }
    Ok(found)
}

/// An alert on a missing person who has one passport.
fn missing(case: &str, passport: &str) -> Value {
    json!({
        "category": "missing_protect", "exploitation": ["labour"], "handling": ["H0"],
        "legal_basis": "act 1", "case_ref": case,
        "subjects": [{
            "category": "missing",
            "identifiers": [{ "type": "passport", "country": "UA", "number": passport }],
        }],
    })
}

fn vehicle(case: &str, identifier: &Value) -> Value {
    json!({
        "category": "object_check", "exploitation": ["labour"], "handling": ["H0"],
        "legal_basis": "act 1", "case_ref": case,
        "objects": [{ "kind": "vehicle", "identifiers": [identifier] }],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_document_vin_or_plate_in_an_own_alert_is_said_and_confirmed_with_a_reason()
-> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi"]).await?;
    let node = &federation.nodes[0];
    let mut officer = DeskClient::new(node.desk("officer").await?);
    let plate = json!({ "type": "plate", "country": "DK", "number": "AB 12345" });
    let vin = json!({ "type": "vin", "number": "WVWZZZ1JZ3W386752" });
    let phone = json!({ "type": "phone", "number": "+4532123456" });
    for (field, first, second) in [
        ("passport", missing("1", "FB123456"), missing("2", "fb-123456")),
        ("plate", vehicle("1", &plate), vehicle("2", &plate)),
        ("vin", vehicle("1", &vin), vehicle("2", &vin)),
    ] {
        let id = officer.create_alert(asked(&first, "")).await?.into_inner().id;
        let refused = officer.create_alert(asked(&second, "")).await.expect_err(field);
        assert_eq!(reason(&refused), "same_identifier", "{refused:?}");
        let says = refused.message();
        assert!(says.contains(field) && says.contains(&id) && !says.contains("123456"), "{says}");
        let created = officer.create_alert(asked(&second, "another case, agreed")).await?;
        let created = created.into_inner();
        let told = created.warnings.iter().any(|w| w.contains(field) && w.contains(&id));
        assert!(told, "{:?}", created.warnings);
        // What was confirmed once is not asked for again, nor is what two alerts may share.
        let update =
            UpdateAlertRequest { id: created.id, draft: second.to_string(), ..Default::default() };
        officer.update_alert(update).await?;
    }
    for case in ["1", "2"] {
        officer.create_alert(asked(&vehicle(case, &phone), "")).await?;
    }
    let confirmed = logged(node, "alert.created").await?;
    let confirmed = confirmed.iter().filter(|event| event["same_identifier_as"].is_string());
    let reasons: Vec<&Value> = confirmed.map(|event| &event["override_reason"]).collect();
    assert_eq!(reasons, [&json!("another case, agreed"); 3]);
    federation.stop().await
}

async fn import(desk: &mut Desk, lines: Vec<ImportLine>) -> anyhow::Result<Vec<ImportResult>> {
    let mut results = desk.import_alerts(tokio_stream::iter(lines)).await?.into_inner();
    let mut all = Vec::new();
    while let Some(result) = results.message().await? {
        all.push(result);
    }
    Ok(all)
}

fn line(draft: &Value) -> ImportLine {
    ImportLine { line: 1, draft: draft.to_string(), ..Default::default() }
}

fn created(result: &ImportResult) -> anyhow::Result<String> {
    match &result.outcome {
        Some(Outcome::Created(id)) => Ok(id.clone()),
        other => anyhow::bail!("{other:?}"),
    }
}

fn refused(result: &ImportResult) -> anyhow::Result<(String, String)> {
    match &result.outcome {
        Some(Outcome::Refused(refusal)) => Ok((refusal.reason.clone(), refusal.message.clone())),
        other => anyhow::bail!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_says_what_is_there_already_and_loses_nobody_who_disappears_again()
-> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi"]).await?;
    let mut officer = DeskClient::new(federation.nodes[0].desk("officer").await?);
    let draft = missing("1", "FB123456");
    let first = created(&import(&mut officer, vec![line(&draft)]).await?[0])?;
    let again = &import(&mut officer, vec![line(&draft)]).await?[0];
    assert_eq!(again.outcome, Some(Outcome::Existing(first.clone())));

    // The same passport in another case.
    let other = line(&missing("2", "FB123456"));
    let (why, says) = refused(&import(&mut officer, vec![other.clone()]).await?[0])?;
    assert!(why == "same_identifier" && says.contains(&first), "{why}: {says}");
    let confirmed = ImportLine { override_reason: "a second case".to_owned(), ..other };
    let result = &import(&mut officer, vec![confirmed]).await?[0];
    let second = created(result)?;
    assert!(result.warnings[0].contains(&first), "{:?}", result.warnings);
    officer.withdraw_alert(WithdrawAlertRequest { id: second, reason: "closed".into() }).await?;

    // A reason given for many lines does not confirm the check of a protected person.
    let mut check = suspect();
    check["subjects"][0]["identifiers"] = draft["subjects"][0]["identifiers"].clone();
    let check = ImportLine { override_reason: "whatever".to_owned(), ..line(&check) };
    assert_eq!(refused(&import(&mut officer, vec![check]).await?[0])?.0, "incompatible");

    // Found, then gone once more.
    let found = WithdrawAlertRequest { id: first.clone(), reason: "found".into() };
    officer.withdraw_alert(found).await?;
    let (why, says) = refused(&import(&mut officer, vec![line(&draft)]).await?[0])?;
    assert_eq!(why, "import_ended");
    let day = federation.nodes[0].clock.now().date().to_string();
    let all = ["withdrawn", first.as_str(), day.as_str(), "--recreate"];
    assert!(all.iter().all(|word| says.contains(word)), "{says}");
    let recreated = ImportLine { recreate: true, ..line(&draft) };
    let anew = created(&import(&mut officer, vec![recreated.clone()]).await?[0])?;
    assert_ne!(anew, first);
    let repeated = &import(&mut officer, vec![recreated]).await?[0];
    assert_eq!(repeated.outcome, Some(Outcome::Existing(anew.clone())), "live: nothing new");
    let events = logged(&federation.nodes[0], "alert.created").await?;
    let last = events.last().expect("an event");
    assert_eq!(last["again_after"], json!(first), "{last}");

    // Its time is over, though it was not swept yet.
    let clock = &federation.nodes[0].clock;
    clock.shift(6 * 365 * 86_400);
    if let Some(doubt) = clock.doubt() {
        clock.believe(&doubt);
    }
    let line = Line { draft: draft.to_string(), ..Line::default() };
    let late = desk::import(federation.nodes[0].node(), &line, &person(Role::Officer)).await;
    let says = late.expect_err("expired").to_string();
    assert!(says.contains(&anew) && says.contains("expired"), "{says}");
    federation.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_whom_no_search_finds_is_named_at_creation() -> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi"]).await?;
    let mut officer = DeskClient::new(federation.nodes[0].desk("officer").await?);
    let mut draft = missing("1", "FB123456");
    let subject = json!({
        "category": "missing", "birth_date": "1998",
        "names": [{ "family": "Torvekova", "given": "Ina" }],
    });
    draft["subjects"] = json!([draft["subjects"][0], subject]);
    let alert = officer.create_alert(asked(&draft, "")).await?.into_inner();
    let [warning] = alert.warnings.as_slice() else { anyhow::bail!("{:?}", alert.warnings) };
    assert!(warning.contains("no search finds subjects[1]") && !warning.contains("Torvekova"));
    draft["case_ref"] = json!("2");
    draft["subjects"] = json!([draft["subjects"][1]]);
    let result = &import(&mut officer, vec![line(&draft)]).await?[0];
    assert!(result.warnings[0].contains("subjects[0]"), "{:?}", result.warnings);
    draft["case_ref"] = json!("3");
    draft["subjects"][0]["birth_date"] = json!("1998-04-12");
    let alert = officer.create_alert(asked(&draft, "")).await?.into_inner();
    assert!(alert.warnings.is_empty(), "{:?}", alert.warnings);
    federation.stop().await
}

async fn opened(
    desk: &mut Desk,
    id: &str,
    export: bool,
    export_reason: &str,
) -> Result<Alert, Status> {
    let (id, justification) = (id.to_owned(), "hit of a search".to_owned());
    let export_reason = export_reason.to_owned();
    let asked = GetAlertRequest { id, justification, export, export_reason };
    Ok(desk.get_alert(asked).await?.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn handling_codes_bind_a_receiver_and_not_the_issuer() -> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi", "fr.police-judiciaire"]).await?;
    let [dk, fr] = federation.nodes.as_slice() else { anyhow::bail!("two nodes") };
    dk.apply(ALL).await?;
    let mut here = DeskClient::new(dk.desk("officer").await?);
    let mut there = DeskClient::new(fr.desk("officer").await?);
    for (number, (codes, barred, reasoned)) in [
        (vec!["H0"], false, false),
        (vec!["H2"], true, false),
        (vec!["H1", "H2"], true, false),
        (vec!["H1"], false, true),
        (vec!["H0", "H3"], false, true),
    ]
    .into_iter()
    .enumerate()
    {
        let mut draft = missing(&number.to_string(), &format!("FB{number:06}"));
        draft["handling"] = json!(codes);
        if codes.contains(&"H3") {
            draft["handling_text"] = json!("tell nobody at the border");
        }
        let id = here.create_alert(asked(&draft, "")).await?.into_inner().id;
        federation.settle().await?;

        let own = opened(&mut here, &id, true, "").await?;
        assert!(!own.token.is_empty() && own.token_withheld.is_empty(), "{codes:?}");
        let read = opened(&mut there, &id, false, "").await?;
        assert!(read.token.is_empty() && read.content.contains("FB"), "{codes:?}");
        assert_eq!(!read.token_withheld.is_empty(), barred, "{codes:?}");
        let said = codes.iter().filter(|code| **code != "H0");
        for code in said {
            assert!(read.warnings.iter().any(|w| w.starts_with(code)), "{:?}", read.warnings);
        }
        let bare = opened(&mut there, &id, true, "").await;
        let with_reason = opened(&mut there, &id, true, "permitted by DK on the phone").await;
        if barred {
            assert_eq!(reason(&bare.expect_err("barred")), "export_barred", "{codes:?}");
            assert_eq!(reason(&with_reason.expect_err("barred")), "export_barred", "{codes:?}");
            continue;
        }
        assert!(!with_reason?.token.is_empty(), "{codes:?}");
        match bare {
            Ok(alert) => assert!(!reasoned && !alert.token.is_empty(), "{codes:?}"),
            Err(status) => {
                assert!(reasoned && reason(&status) == "export_reason_missing", "{status:?}");
            }
        }
    }
    let exported = logged(fr, "alert.exported").await?;
    let reasons = exported.iter().map(|event| event["reason"].as_str());
    let given = Some("permitted by DK on the phone");
    assert_eq!(reasons.collect::<Vec<_>>(), [None, given, given, given], "{exported:?}");
    let codes = exported.iter().map(|event| event["handling"].as_str().unwrap_or_default());
    assert_eq!(codes.collect::<Vec<_>>(), ["", "", "H1", "H3"], "{exported:?}");
    federation.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspect_who_is_a_victim_elsewhere_and_the_reverse_carries_the_non_punishment_warning()
-> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi", "fr.police-judiciaire"]).await?;
    let [dk, fr] = federation.nodes.as_slice() else { anyhow::bail!("two nodes") };
    dk.apply(ALL).await?;
    let mut here = DeskClient::new(dk.desk("officer").await?);
    let mut victim = missing("1", "VV111111");
    victim["subjects"][0]["category"] = json!("victim_presumed");
    let mut accused = suspect();
    accused["subjects"][0]["identifiers"] =
        json!([{ "type": "passport", "country": "UA", "number": "SS222222" }]);
    let mut notice = accused.clone();
    notice["category"] = json!("intelligence_notice");
    notice["subjects"][0]["category"] = json!("contact");
    notice["subjects"][0]["identifiers"] = json!([{ "type": "phone", "number": "+4532123456" }]);
    for draft in [&victim, &accused, &notice] {
        here.create_alert(asked(draft, "")).await?;
    }
    federation.settle().await?;
    let (victim, accused) = ("passport:UA:VV111111", "passport:UA:SS222222");
    for node in [dk, fr] {
        let mut officer = DeskClient::new(node.desk("officer").await?);
        for (sought, number, shown_as, warned) in [
            ("suspect", victim, "victim_presumed", true),
            ("convicted", victim, "victim_presumed", true),
            ("victim_identified", accused, "suspect", true),
            ("missing", accused, "suspect", true),
            ("suspect", accused, "suspect", false),
            ("missing", victim, "victim_presumed", false),
            ("witness", victim, "victim_presumed", false),
            ("object", victim, "victim_presumed", false),
            ("suspect", "phone::+4532123456", "contact", false),
        ] {
            let parts: Vec<&str> = number.split(':').collect();
            let asked = by_number(parts[0], parts[1], parts[2]);
            let found = hits_of(&mut officer, sought, asked).await?;
            let [hit] = found.as_slice() else { anyhow::bail!("{sought} {number}: {found:?}") };
            assert_eq!(hit.subject_categories, [shown_as], "{sought} {number}");
            let says = &hit.non_punishment;
            assert_eq!(!says.is_empty(), warned, "{sought} {number}: {says}");
            assert!(
                !warned || says.contains("2011/36 Art. 8") && says.contains(shown_as),
                "{says}"
            );
        }
    }
    federation.stop().await
}

type Listed = Vec<(String, String)>;

/// Ids and urgencies of a list, page by page.
async fn listed(desk: &mut Desk, mut asked: ListAlertsRequest) -> anyhow::Result<Listed> {
    let mut found = Vec::new();
    loop {
        let page = desk.list_alerts(asked.clone()).await?.into_inner();
        anyhow::ensure!(
            page.alerts.len() <= asked.page_size.max(1) as usize || asked.page_size == 0
        );
        let times: Vec<i64> = page.alerts.iter().map(|alert| alert.changed_at).collect();
        anyhow::ensure!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
        found.extend(page.alerts.into_iter().map(|alert| (alert.id, alert.urgency)));
        if page.next_page_token.is_empty() {
            return Ok(found);
        }
        asked.page_token = page.next_page_token;
    }
}

fn ids(listed: Listed) -> Vec<String> {
    listed.into_iter().map(|(id, _)| id).collect()
}

/// An alert about one suspect, with its own number.
fn numbered(number: u32, case_ref: &str, urgent: bool) -> Value {
    let mut draft = json!({
        "category": "discreet_check", "exploitation": ["labour"], "handling": ["H0"],
        "legal_basis": "act 1", "case_ref": case_ref,
        "subjects": [{
            "category": "suspect",
            "names": [{ "family": "Karpenko", "given": format!("Number {number}") }],
            "birth_date": "1978-04-12",
            "identifiers": [
                { "type": "passport", "country": "UA", "number": format!("FB{number:06}") },
            ],
        }],
    });
    if urgent {
        draft["urgency"] = "urgent".into();
        draft["urgency_reason"] = "flight tonight".into();
    }
    draft
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_shows_the_newest_change_first_and_is_narrowed_at_the_node() -> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi", "fr.police-judiciaire"]).await?;
    let [dk, fr] = federation.nodes.as_slice() else { anyhow::bail!("two nodes") };
    dk.apply(ALL).await?;
    let mut officer = DeskClient::new(dk.desk("officer").await?);
    let mut made = Vec::new();
    for number in 0..7 {
        let case = if number % 2 == 0 { "Case A/1" } else { "case B" };
        made.push(dk.create(&numbered(number, case, number == 3)).await?.to_string());
    }
    let all = ListAlertsRequest { page_size: 2, ..Default::default() };
    let newest_first: Vec<String> = made.iter().rev().cloned().collect();
    assert_eq!(ids(listed(&mut officer, all.clone()).await?), newest_first);

    let draft = numbered(1, "case B", false).to_string();
    let asked = UpdateAlertRequest { id: made[1].clone(), draft, ..Default::default() };
    officer.update_alert(asked).await?;
    let asked = WithdrawAlertRequest { id: made[5].clone(), reason: "found".to_owned() };
    officer.withdraw_alert(asked).await?;
    let order = [1, 6, 4, 3, 2, 0].map(|index| made[index].clone());
    assert_eq!(ids(listed(&mut officer, all.clone()).await?), order);
    let case_b = ListAlertsRequest { case_ref: " CASE b ".to_owned(), ..all.clone() };
    let order = [1, 3].map(|index| made[index].clone());
    assert_eq!(ids(listed(&mut officer, case_b.clone()).await?), order);
    let urgent = ListAlertsRequest { urgency: "urgent".to_owned(), ..all.clone() };
    let expected = vec![(made[3].clone(), "urgent".to_owned())];
    assert_eq!(listed(&mut officer, urgent).await?, expected);
    let gone = ListAlertsRequest { state: "withdrawn".to_owned(), ..all.clone() };
    assert_eq!(ids(listed(&mut officer, gone.clone()).await?), [made[5].clone()]);
    let gone_case = ListAlertsRequest { state: "withdrawn".to_owned(), ..case_b };
    let refused = officer.list_alerts(gone_case).await.expect_err("has no case");
    assert_eq!(
        refused.get_details_error_info().map(|info| info.reason),
        Some("case_of_erased".to_owned())
    );

    let mine = ListAlertsRequest { mine: true, ..all.clone() };
    assert_eq!(listed(&mut officer, mine.clone()).await?.len(), 6);
    assert_eq!(
        ids(listed(&mut officer, ListAlertsRequest { mine: true, ..gone }).await?),
        [made[5].clone()]
    );
    let now = dk.node().clock.now().seconds();
    for (since, until, count) in
        [(now - 60, 0, 6), (now + 60, 0, 0), (0, now - 60, 0), (0, now + 60, 6)]
    {
        let asked = ListAlertsRequest { since, until, ..all.clone() };
        assert_eq!(listed(&mut officer, asked).await?.len(), count, "{since} {until}");
    }

    federation.settle().await?;
    let mut there = DeskClient::new(fr.desk("officer").await?);
    let here = listed(&mut officer, all.clone()).await?;
    let mut copies = listed(&mut there, all.clone()).await?;
    assert!(listed(&mut there, mine).await?.is_empty());
    // The policy gives no case away, so that none can be looked for.
    let of_case = ListAlertsRequest { case_ref: "case B".to_owned(), ..all };
    assert!(listed(&mut there, of_case).await?.is_empty());
    copies.sort();
    let mut expected = here;
    expected.sort();
    assert_eq!(copies, expected);
    let report = dk.node().store.fsck(&dk.node().log_key.public())?;
    assert_eq!(report.problems, []);
    federation.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_where_it_was_whoever_was_restarted() -> anyhow::Result<()> {
    let mut federation = Federation::start(&["dk.politi"]).await?;
    let create = async |node: &TestNode, number, urgent| -> anyhow::Result<String> {
        Ok(node.create(&numbered(number, "case A", urgent)).await?.to_string())
    };
    let watch = async |node: &TestNode, from: &str| -> anyhow::Result<Streaming<Change>> {
        let mut officer = DeskClient::new(node.desk("officer").await?);
        let asked = WatchAlertsRequest { from: from.to_owned(), notices: false };
        Ok(officer.watch_alerts(asked).await?.into_inner())
    };
    let one = create(&federation.nodes[0], 1, false).await?;
    let mut officer = DeskClient::new(federation.nodes[0].desk("officer").await?);
    let page = officer.list_alerts(ListAlertsRequest::default()).await?.into_inner();
    let mut changes = watch(&federation.nodes[0], "").await?;
    assert_eq!(next(&mut changes).await?.0, "ready");
    let two = create(&federation.nodes[0], 2, true).await?;
    let seen = changes.message().await?.ok_or_else(|| anyhow::anyhow!("the watch ended"))?;
    assert_eq!(
        (seen.id.as_str(), seen.category.as_str(), seen.urgency.as_str()),
        (two.as_str(), "discreet_check", "urgent")
    );
    drop(changes);

    let three = create(&federation.nodes[0], 3, false).await?;
    federation.nodes[0].stop().await?;
    federation.nodes[0].start().await?;
    let four = create(&federation.nodes[0], 4, false).await?;
    let node = &federation.nodes[0];
    for (from, expected) in
        [(&seen.place, vec![&three, &four]), (&page.place, vec![&two, &three, &four])]
    {
        let mut changes = watch(node, from).await?;
        for id in expected {
            assert_eq!(next(&mut changes).await?, ("created".to_owned(), id.clone(), 1));
        }
        assert_eq!(next(&mut changes).await?.0, "ready");
    }
    let mut changes = watch(node, &page.place).await?;
    desk::withdraw(node.node(), &one.parse()?, "found", &person(Role::Officer)).await?;
    for _ in 0..3 {
        assert_eq!(next(&mut changes).await?.0, "created");
    }
    let mut left = [next(&mut changes).await?.0, next(&mut changes).await?.0];
    left.sort();
    assert_eq!(left, ["ready", "withdrawn"]);
    let (index, hash) = seen.place.split_once('-').ok_or_else(|| anyhow::anyhow!("a place"))?;
    for unknown in [format!("{index}-0000000000000000"), format!("9{index}-{hash}"), "x".to_owned()]
    {
        let refused =
            watch(node, &unknown).await.err().ok_or_else(|| anyhow::anyhow!("{unknown}"))?;
        let status = refused.downcast::<Status>()?;
        assert_eq!(
            status.get_details_error_info().map(|info| info.reason),
            Some("place_unknown".to_owned()),
            "{unknown}"
        );
    }
    federation.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_draft_carries_every_fault_for_programs() -> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi"]).await?;
    let mut officer = DeskClient::new(federation.nodes[0].desk("officer").await?);
    let mut draft = missing("1", "FB123456");
    draft["exploitation"] = json!(["labor"]);
    draft["legal_basis"] = json!("<legal basis>");
    draft["subjects"][0]["identifiers"][0]["country"] = json!("UKR");
    let status = officer.create_alert(asked(&draft, "")).await.expect_err("three faults");
    let expected = [
        ("exploitation[0]", "value_not_permitted", "labour"),
        ("legal_basis", "placeholder", "replace the placeholder"),
        ("subjects[0].identifiers[0].country", "value_not_permitted", "UA"),
    ];
    let violations = status.get_details_bad_request().expect("violations").field_violations;
    let found = violations.iter().map(|v| (v.field.as_str(), v.reason.as_str()));
    assert_eq!(found.collect::<Vec<_>>(), expected.map(|(path, why, _)| (path, why)));
    for (violation, (.., said)) in violations.iter().zip(expected) {
        assert!(violation.description.contains(said), "{violation:?}");
    }
    assert!(status.message().starts_with("3 faults: exploitation[0]: "), "{}", status.message());
    let result = import(&mut officer, vec![line(&draft)]).await?.remove(0);
    let Some(Outcome::Refused(refusal)) = result.outcome else { anyhow::bail!("{result:?}") };
    let found = refusal.faults.iter().map(|f| (f.path.as_str(), f.reason.as_str()));
    assert_eq!(found.collect::<Vec<_>>(), expected.map(|(path, why, _)| (path, why)));
    // As many as a refusal can carry, of a draft that is wrong from end to end.
    let names = (0..1000).map(|number| (format!("field{number}"), json!(1)));
    let wrong = Value::Object(names.collect());
    let status = officer.create_alert(asked(&wrong, "")).await.expect_err("all of it");
    let violations = status.get_details_bad_request().expect("violations").field_violations;
    assert_eq!(violations.len(), 32);
    assert!(status.message().starts_with("10"), "{}", status.message());
    federation.stop().await
}
