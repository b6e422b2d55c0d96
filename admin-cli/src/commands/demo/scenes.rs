//! The scenes, in the order they are shown.

use std::collections::HashSet;
use std::pin::Pin;

use entente_node::alert;
use entente_node::id::Clock;
use entente_node::sample::Samples;
use entente_proto::admin::{
    ApplyPolicyRequest, ApprovePeerRequest, ApprovePolicyRequest, ExplainPolicyRequest,
    ImportPeerRequest,
};
use entente_proto::desk::import_result::Outcome as Line;
use entente_proto::desk::search_response::Message;
use entente_proto::desk::{
    Alert, GetAlertRequest, Identifier, ImportLine, ListAlertsRequest, SearchRequest,
    UpdateAlertRequest, WithdrawAlertRequest,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::Shown;
use super::federation::{DE, DK, FR, Federation, Node, until};
use super::notice::notice;
use super::tamper::forgeries;
use crate::commands::audit;
use crate::output::{Failure, Format, table};

type Scene = for<'a> fn(&'a mut Federation) -> Playing<'a>;
type Playing<'a> = Pin<Box<dyn Future<Output = Result<Shown, Failure>> + Send + 'a>>;

/// Name and scene.
pub const SCENES: [(&str, Scene); 14] = [
    ("start three nodes", |f| Box::pin(start(f))),
    ("peer them both ways", |f| Box::pin(peer(f))),
    ("a policy for each pair", |f| Box::pin(policies(f))),
    ("DK imports alerts", |f| Box::pin(import(f))),
    ("what FR sees", |f| Box::pin(view_fr(f))),
    ("what DE sees", |f| Box::pin(view_de(f))),
    ("an update arrives", |f| Box::pin(update(f))),
    ("FR searches", |f| Box::pin(search(f))),
    ("DK narrows its policy", |f| Box::pin(narrow(f))),
    ("a tampered alert is refused", |f| Box::pin(tampered(f))),
    ("a notice from desk to desk", |f| Box::pin(notice(f))),
    ("DK withdraws the alert", |f| Box::pin(withdraw(f))),
    ("DK is killed under load", |f| Box::pin(kill(f))),
    ("the audit log of DK verifies", |f| Box::pin(verify(f))),
];

/// Alerts imported first: each category five times and more.
const ALERTS: usize = 60;

/// Alerts imported while the node is killed.
const LOAD: usize = 400;

/// The node is killed after so many were acknowledged.
const KILLED_AFTER: usize = 100;

const PASSPORT: &str = "D12345678";

const WIDE: &str = "[[rule]]\n\
                    name = \"France sees all but the place in words\"\n\
                    peers = [\"fr.*\"]\n\
                    level = \"view\"\n\
                    claims = [\"*\"]\n\n";

const SMALL: &str = "[[rule]]\n\
                     name = \"Germany sees the years\"\n\
                     peers = [\"de.bka\"]\n\
                     level = \"view\"\n\
                     claims = [\"exploitation\", \"urgency\", \"subjects.birth_year\", \
                     \"subjects.nationalities\", \"locations.country\"]\n";

const PERSON_HIDDEN: &str = "[[rule]]\n\
                             name = \"no missing persons to Germany\"\n\
                             peers = [\"de.bka\"]\n\
                             when = { subject_category = [\"missing\"] }\n\
                             level = \"none\"\n\n";

async fn start(f: &mut Federation) -> Result<Shown, Failure> {
    for node in f.nodes_mut() {
        node.start().await?;
    }
    let rows = f.nodes().iter().map(|node| {
        let endpoint = node.descriptor().descriptor().endpoints.join(", ");
        vec![node.authority.to_string(), endpoint, node.descriptor().fingerprint().to_string()]
    });
    Ok(Shown {
        proves: "each authority runs its own node, with its own keys, store and certificates"
            .to_owned(),
        table: table(&["authority", "exchange door", "fingerprint"], rows.collect()),
    })
}

async fn peer(f: &mut Federation) -> Result<Shown, Failure> {
    let mut rows = Vec::new();
    for here in f.nodes() {
        for there in f.nodes().iter().filter(|there| there.authority != here.authority) {
            let descriptor = there.descriptor().jws().to_owned();
            here.administrator().await?.import_peer(ImportPeerRequest { descriptor }).await?;
            let asked = ApprovePeerRequest {
                authority: there.authority.to_string(),
                fingerprint: there.descriptor().fingerprint().to_string(),
            };
            let peer = here.coordinator().await?.approve_peer(asked).await?.into_inner();
            rows.push(vec![
                here.authority.to_string(),
                peer.authority,
                peer.imported_by,
                peer.approved_by,
                peer.state,
            ]);
        }
    }
    Ok(Shown {
        proves: "a peer is active only after a second person compared its fingerprint".to_owned(),
        table: table(&["at", "peer", "imported by", "approved by", "state"], rows),
    })
}

async fn apply(node: &Node, source: &str) -> Result<(u64, bool), Failure> {
    let asked = ApplyPolicyRequest { source: source.to_owned(), dry_run: false };
    let applied = node.administrator().await?.apply_policy(asked).await?.into_inner();
    if applied.proposal == 0 {
        return Ok((applied.version, false));
    }
    let asked = ApprovePolicyRequest { proposal: applied.proposal };
    let approved = node.coordinator().await?.approve_policy(asked).await?.into_inner();
    Ok((approved.version, true))
}

async fn policies(f: &mut Federation) -> Result<Shown, Failure> {
    let own = [
        "",
        "[[rule]]\n\
         name = \"Denmark sees all\"\n\
         peers = [\"dk.*\"]\n\
         level = \"view\"\n\
         claims = [\"*\"]\n",
        "[[rule]]\n\
         name = \"urgent ones\"\n\
         peers = [\"*\"]\n\
         when = { urgency = [\"urgent\"] }\n\
         level = \"view\"\n\
         claims = [\"subjects.*\"]\n",
    ];
    let mut rows = Vec::new();
    for (node, own) in f.nodes().iter().zip(own) {
        let source = if own.is_empty() { format!("{WIDE}{SMALL}") } else { own.to_owned() };
        let (version, by_two) = apply(node, &source).await?;
        let rules = source.lines().filter_map(|line| line.strip_prefix("name = "));
        let rules: Vec<&str> = rules.map(|name| name.trim_matches('"')).collect();
        let by = if by_two { "two people" } else { "one person" };
        rows.push(vec![
            node.authority.to_string(),
            version.to_string(),
            rules.join("; "),
            by.to_owned(),
        ]);
    }
    Ok(Shown {
        proves: "each authority alone decides what each peer may see; what widens takes two people"
            .to_owned(),
        table: table(&["authority", "version", "rules", "in force by"], rows),
    })
}

/// The alert that the scenes follow: a missing person.
fn followed(marks: &str) -> Value {
    json!({
        "category": "missing_protect",
        "exploitation": ["labour"],
        "act": ["transport"],
        "means": ["deception"],
        "control": ["withholds_documents"],
        "urgency": "normal",
        "handling": ["H0"],
        "evaluation": "B2",
        "legal_basis": "national act on trafficking, section 1",
        "case_ref": "DEMO-1",
        "subjects": [{
            "category": "missing",
            "names": [
                { "family": "Торвекова", "given": "Ина" },
                { "kind": "alias", "family": "Torvekova", "given": "Ina" },
            ],
            "birth_date": "1998-04-12",
            "sex": "female",
            "nationalities": ["UA"],
            "marks": [marks],
            "identifiers": [{ "type": "passport", "country": "UA", "number": PASSPORT }],
        }],
        "locations": [{ "kind": "sighting", "nuts3": "DK011", "text": "at the ferry" }],
    })
}

async fn import(f: &mut Federation) -> Result<Shown, Failure> {
    let dk = f.node(DK)?;
    let drafts: Vec<Value> =
        std::iter::once(followed("a scar")).chain(Samples::new(1).take(ALERTS - 1)).collect();
    let results = import_all(dk, drafts.clone(), usize::MAX).await?;
    if results.len() != ALERTS {
        return Err(Failure::new(format!("{} of {ALERTS} were created", results.len())));
    }
    let rows = results.iter().zip(&drafts).take(6).map(|(id, draft)| {
        let people =
            draft.pointer("/subjects/0/category").and_then(Value::as_str).unwrap_or("object");
        let category = draft.get("category").and_then(Value::as_str).unwrap_or_default();
        vec![id.clone(), category.to_owned(), people.to_owned()]
    });
    let table = table(&["alert", "category", "about"], rows.collect());
    f.followed = results.first().cloned().unwrap_or_default();
    f.live = results.get(1).cloned().unwrap_or_default();
    for there in [FR, DE] {
        wait_for_copies(f.node(there)?, ALERTS).await?;
    }
    Ok(Shown {
        proves: format!("{ALERTS} alerts are signed once, durable, and at both peers"),
        table: format!("{table}… and {} more\n", ALERTS - 6),
    })
}

/// Imports drafts and gives the ids acknowledged; stops after `until` of them, or where the node
/// ends.
async fn import_all(node: &Node, drafts: Vec<Value>, until: usize) -> Result<Vec<String>, Failure> {
    let (sender, lines) = mpsc::channel(64);
    tokio::spawn(async move {
        for (line, draft) in (1..).zip(drafts) {
            if sender
                .send(ImportLine { line, draft: draft.to_string(), ..Default::default() })
                .await
                .is_err()
            {
                return;
            }
        }
    });
    let answer = node.officer().await?.import_alerts(ReceiverStream::new(lines)).await?;
    let mut results = answer.into_inner();
    let mut ids = Vec::new();
    while ids.len() < until {
        match results.message().await {
            Ok(Some(result)) => match result.outcome {
                Some(Line::Created(id) | Line::Existing(id)) => ids.push(id),
                Some(Line::Refused(refused)) => return Err(Failure::new(refused.message)),
                None => {}
            },
            Ok(None) => break,
            Err(status) if until == usize::MAX => return Err(status.into()),
            Err(_) => break,
        }
    }
    Ok(ids)
}

async fn held_ids(node: &Node) -> Result<HashSet<String>, Failure> {
    let mut officer = node.officer().await?;
    let mut ids = HashSet::new();
    let mut asked = ListAlertsRequest { page_size: 500, ..ListAlertsRequest::default() };
    loop {
        let page = officer.list_alerts(asked.clone()).await?.into_inner();
        ids.extend(page.alerts.into_iter().map(|alert| alert.id));
        if page.next_page_token.is_empty() {
            return Ok(ids);
        }
        asked.page_token = page.next_page_token;
    }
}

async fn wait_for_copies(node: &Node, count: usize) -> Result<(), Failure> {
    until(&format!("{count} copies at {}", node.authority), || async {
        Ok((held_ids(node).await?.len() >= count).then_some(()))
    })
    .await
}

async fn open(node: &Node, id: &str) -> Result<Alert, Failure> {
    let (id, justification) = (id.to_owned(), "the demonstration".to_owned());
    let export_reason = "the demonstration".to_owned();
    let asked = GetAlertRequest { id, justification, export: true, export_reason };
    Ok(node.officer().await?.get_alert(asked).await?.into_inner())
}

async fn view_fr(f: &mut Federation) -> Result<Shown, Failure> {
    let (own, view) =
        (open(f.node(DK)?, &f.followed).await?, open(f.node(FR)?, &f.followed).await?);
    let hidden = view.claims.iter().any(|claim| claim == "locations.text" || claim == "case_ref");
    if hidden || view.content.contains("ferry") {
        return Err(Failure::new("FR sees what no rule names"));
    }
    Ok(Shown {
        proves: "one signature, fewer claims: FR verifies DK's own signature over what it sees"
            .to_owned(),
        table: compared(&own, &view),
    })
}

async fn view_de(f: &mut Federation) -> Result<Shown, Failure> {
    let (own, view) =
        (open(f.node(DK)?, &f.followed).await?, open(f.node(DE)?, &f.followed).await?);
    if view.content.contains("Torvekova") || view.content.contains("1998-04-12") {
        return Err(Failure::new("DE sees what its rule withholds"));
    }
    let asked = ExplainPolicyRequest { alert: f.followed.clone(), peer: "de.bka".to_owned() };
    let why = f.node(DK)?.administrator().await?.explain_policy(asked).await?.into_inner();
    Ok(Shown {
        proves: format!(
            "DE gets less of the same signed alert, by rule {} ({})",
            why.rule_number, why.rule
        ),
        table: compared(&own, &view),
    })
}

/// The values of both, claim by claim.
fn compared(own: &Alert, view: &Alert) -> String {
    let parse = |alert: &Alert| serde_json::from_str::<Value>(&alert.content).unwrap_or_default();
    let (own, view) = (parse(own), parse(view));
    let mut rows = Vec::new();
    rows_of("", &own, &view, &mut rows);
    table(&["claim", "issued by DK", "seen"], rows)
}

fn rows_of(name: &str, own: &Value, view: &Value, rows: &mut Vec<Vec<String>>) {
    match own {
        Value::Object(members) => {
            for (member, value) in members {
                let path =
                    if name.is_empty() { member.clone() } else { format!("{name}.{member}") };
                rows_of(&path, value, view.get(member).unwrap_or(&Value::Null), rows);
            }
        }
        Value::Array(elements)
            if elements.len() == 1 && matches!(elements.first(), Some(Value::Object(_))) =>
        {
            let (own, view) = (elements.first(), view.get(0));
            rows_of(name, own.unwrap_or(&Value::Null), view.unwrap_or(&Value::Null), rows);
        }
        value => rows.push(vec![name.to_owned(), short(value), short(view)]),
    }
}

/// Characters of a value that the demo shows: what was issued and what is seen stand beside each
/// other in 80 columns.
const CELL_CHARS_MAX: usize = 24;

fn short(value: &Value) -> String {
    let text = match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.chars().count() > CELL_CHARS_MAX {
        return text.chars().take(CELL_CHARS_MAX - 1).chain(['…']).collect();
    }
    text
}

async fn update(f: &mut Federation) -> Result<Shown, Failure> {
    let asked = UpdateAlertRequest {
        id: f.followed.clone(),
        expected_version: 1,
        draft: followed("a scar, and a tattoo of a swallow").to_string(),
        override_reason: String::new(),
    };
    f.node(DK)?.officer().await?.update_alert(asked).await?;
    let fr = f.node(FR)?;
    let view = until("version 2 at FR", || async {
        Ok(Some(open(fr, &f.followed).await?).filter(|alert| alert.version == 2))
    })
    .await?;
    let content: Value = serde_json::from_str(&view.content).unwrap_or_default();
    let marks = content.pointer("/subjects/0/marks").map(ToString::to_string).unwrap_or_default();
    Ok(Shown {
        proves: "a new version follows the one held by its digest, and takes its place".to_owned(),
        table: table(
            &["alert", "version at FR", "marks"],
            vec![vec![view.id, view.version.to_string(), marks]],
        ),
    })
}

async fn search(f: &mut Federation) -> Result<Shown, Failure> {
    let identifier = Identifier {
        r#type: "passport".to_owned(),
        country: "UA".to_owned(),
        number: "d 1234-5678".to_owned(),
    };
    let asked = SearchRequest {
        case_ref: "FR-2026-17".to_owned(),
        offence: "labour".to_owned(),
        subject_category: "missing".to_owned(),
        aim: "identify".to_owned(),
        identifiers: vec![identifier],
        ..SearchRequest::default()
    };
    let mut answer = f.node(FR)?.officer().await?.search(asked).await?.into_inner();
    let mut rows = Vec::new();
    while let Some(message) = answer.message().await? {
        if let Some(Message::Hit(hit)) = message.message {
            rows.push(vec![hit.id, hit.quality, hit.matched.join(", "), hit.action, hit.contact]);
        }
    }
    if !rows.iter().any(|row| row.first() == Some(&f.followed)) {
        return Err(Failure::new("the search did not find the alert"));
    }
    Ok(Shown {
        proves: "an officer finds it by its passport however written; the search is in the log \
                 before the answer"
            .to_owned(),
        table: table(&["alert", "quality", "matched", "action", "call"], rows),
    })
}

async fn narrow(f: &mut Federation) -> Result<Shown, Failure> {
    let before = held_ids(f.node(DE)?).await?.len();
    let (version, by_two) = apply(f.node(DK)?, &format!("{PERSON_HIDDEN}{WIDE}{SMALL}")).await?;
    if by_two {
        return Err(Failure::new("a narrower policy waited for a second person"));
    }
    let de = f.node(DE)?;
    until("the retraction at DE", || async {
        Ok((!held_ids(de).await?.contains(&f.followed)).then_some(()))
    })
    .await?;
    let after = held_ids(de).await?.len();
    let asked = ExplainPolicyRequest { alert: f.followed.clone(), peer: "de.bka".to_owned() };
    let dk = f.node(DK)?;
    let held = until("the confirmation", || async {
        let why = dk.administrator().await?.explain_policy(asked.clone()).await?.into_inner();
        Ok(Some(why.held).filter(|held| held.contains("confirmed")))
    })
    .await?;
    let row =
        vec![version.to_string(), before.to_string(), after.to_string(), format!("DE {held}")];
    Ok(Shown {
        proves: "what policy no longer allows is taken back, and the peer's signed receipt says so"
            .to_owned(),
        table: table(&["policy", "held by DE before", "after", "the ledger"], vec![row]),
    })
}

async fn tampered(f: &mut Federation) -> Result<Shown, Failure> {
    let view = open(f.node(FR)?, &f.followed).await?;
    let issuer = f.node(DK)?.descriptor().descriptor();
    let now = Clock::system().now();
    let verify = |token: &str| {
        alert::verify(
            token,
            |_, kid| {
                let mut keys = issuer.statement_keys.iter();
                keys.find(|dated| dated.key.key_id() == *kid).map(|dated| dated.key.clone())
            },
            now,
        )
    };
    verify(&view.token).map_err(|error| Failure::new(format!("the true one: {error}")))?;
    let mut rows = vec![vec!["nothing changed".to_owned(), "verified".to_owned()]];
    for (what, token) in forgeries(&view.token) {
        match verify(&token) {
            Ok(_) => return Err(Failure::new(format!("{what}, and it verified"))),
            Err(error) => rows.push(vec![what.to_owned(), format!("refused: {}", error.reason())]),
        }
    }
    Ok(Shown {
        proves:
            "no claim can be changed, added or used twice, not even by a peer that holds the alert"
                .to_owned(),
        table: table(&["what was done to it", "outcome"], rows),
    })
}

async fn withdraw(f: &mut Federation) -> Result<Shown, Failure> {
    let asked = WithdrawAlertRequest { id: f.followed.clone(), reason: "found safe".to_owned() };
    f.node(DK)?.officer().await?.withdraw_alert(asked).await?;
    let mut rows = Vec::new();
    for index in [DK, FR] {
        let node = f.node(index)?;
        let tombstone = until("the tombstone", || async {
            let state = "withdrawn".to_owned();
            let asked = ListAlertsRequest { state, ..ListAlertsRequest::default() };
            let page = node.officer().await?.list_alerts(asked).await?.into_inner();
            Ok(page.alerts.into_iter().find(|alert| alert.id == f.followed))
        })
        .await?;
        rows.push(vec![
            node.authority.to_string(),
            tombstone.id,
            tombstone.version.to_string(),
            tombstone.state,
        ]);
    }
    Ok(Shown {
        proves: "the issuer's last word erases the content everywhere; the id is never used again"
            .to_owned(),
        table: table(&["at", "alert", "version", "state"], rows),
    })
}

async fn kill(f: &mut Federation) -> Result<Shown, Failure> {
    let drafts: Vec<Value> = Samples::new(2).take(LOAD).collect();
    let acknowledged = import_all(f.node(DK)?, drafts.clone(), KILLED_AFTER).await?;
    f.node_mut(DK)?.kill().await?;
    f.node_mut(DK)?.start().await?;
    let dk = f.node(DK)?;
    let held = held_ids(dk).await?;
    let lost = acknowledged.iter().filter(|id| !held.contains(*id)).count();
    if lost > 0 {
        return Err(Failure::new(format!("{lost} acknowledged alerts were lost")));
    }
    let again = import_all(dk, drafts, usize::MAX).await?;
    let distinct: HashSet<&String> = again.iter().collect();
    if distinct.len() != LOAD || !acknowledged.iter().all(|id| distinct.contains(id)) {
        return Err(Failure::new("the repeated import made something twice"));
    }
    let fr = f.node(FR)?;
    until("every alert at FR", || async {
        let held = held_ids(fr).await?;
        Ok(again.iter().all(|id| held.contains(id)).then_some(()))
    })
    .await?;
    let row = [acknowledged.len(), lost, held.len(), again.len()].map(|count| count.to_string());
    let headers = [
        "acknowledged before the kill",
        "of them lost",
        "held after the restart",
        "at FR after the import was repeated",
    ];
    Ok(Shown {
        proves: "what was acknowledged survives SIGKILL; an import can be repeated without doubles"
            .to_owned(),
        table: table(&headers, vec![row.to_vec()]),
    })
}

async fn verify(f: &mut Federation) -> Result<Shown, Failure> {
    let dk = f.node(DK)?;
    let command =
        audit::Command::Verify { checkpoints: vec![], descriptor: Some(dk.descriptor_file()) };
    let answer = command.run(dk.profile("auditor").to_str(), Format::Text).await?;
    Ok(Shown {
        proves:
            "the auditor recomputes every entry: not even DK's administrator can rewrite the log"
                .to_owned(),
        table: answer.text,
    })
}
