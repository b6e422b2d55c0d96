//! Many at once, in small spaces, so that they meet: whoever was acknowledged is there afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use entente_node::admin;
use entente_node::audit::{Event, Operation};
use entente_node::desk;
use entente_node::holding::read_held;
use entente_node::home::check;
use entente_node::id::{AlertId, Clock, Entropy};
use entente_node::matching::Query;
use entente_node::roles::Role;
use entente_node::store::{Committed, MatchEntry, Matches, Own, StoreError};
use entente_tests::federation::{Federation, person};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Numbers that alerts are drawn from, and callers that draw at once.
const NUMBERS: u32 = 100;
const AT_ONCE: u64 = 48;

async fn crowded() -> anyhow::Result<Federation> {
    let mut federation = Federation::start(&["dk.politi"]).await?;
    let node = &mut federation.nodes[0];
    node.stop().await?;
    node.entropy = Entropy::os().with_alert_numbers(NUMBERS);
    node.start().await?;
    Ok(federation)
}

fn draft(number: u64) -> Value {
    json!({
        "category": "missing_protect", "exploitation": ["labour"], "handling": ["H0"],
        "legal_basis": "act 1", "case_ref": format!("case {number}"),
        "subjects": [{
            "category": "missing",
            "names": [{ "family": "Hansen", "given": "Anna" }],
            "birth_date": "1990-01-31",
            "identifiers": [
                { "type": "passport", "country": "DK", "number": format!("P{number:06}") },
            ],
        }],
    })
}

/// The id is in the signed token, so two that draw the same number at once must not both be
/// acknowledged with it.
#[tokio::test(flavor = "multi_thread")]
async fn two_that_draw_the_same_number_at_once_both_stay() -> anyhow::Result<()> {
    let federation = crowded().await?;
    let node = federation.nodes[0].node();
    let mut creating = JoinSet::new();
    for number in 0..AT_ONCE {
        let node = node.clone();
        creating.spawn(async move {
            let draft = draft(number).to_string();
            let made = match number % 2 {
                0 => desk::create(&node, &draft, "", &person(Role::Officer))
                    .await
                    .map(|made| made.id),
                _ => {
                    let line = desk::Line { draft, ..Default::default() };
                    desk::import(&node, &line, &person(Role::Officer)).await.map(
                        |made| match made {
                            desk::Imported::Created(made) => made.id,
                            desk::Imported::Existing(id) => id,
                        },
                    )
                }
            };
            made.map(|id| (id, number))
        });
    }
    let mut made: BTreeMap<AlertId, u64> = BTreeMap::new();
    while let Some(done) = creating.join_next().await {
        let (id, number) = done??;
        assert_eq!(made.insert(id.clone(), number), None, "{id} was given twice");
    }
    for (id, number) in &made {
        let held = node.store.read_blocking(|now| read_held(now, id))?;
        let (view, own) = held.expect("it was acknowledged");
        let passport = view.content.subjects[0].identifiers[0].number();
        assert!(own && passport == format!("P{number:06}"), "{id} holds another's content");
    }
    assert_eq!(node.store.count::<Own>(), AT_ONCE);
    let (store, key) = (node.store.clone(), node.log_key.public());
    let report = tokio::task::spawn_blocking(move || store.fsck(&key)).await??;
    assert_eq!(report.problems, []);
    federation.stop().await
}

fn passport(number: &str) -> anyhow::Result<Query> {
    Ok(Query::parse(&[("passport".to_owned(), "DK".to_owned(), number.to_owned())], "", "", "")?)
}

async fn found(federation: &Federation, number: &str) -> anyhow::Result<Vec<AlertId>> {
    let why = desk::Justification {
        case_ref: "case".to_owned(),
        offence: "labour".parse().map_err(anyhow::Error::msg)?,
        subject: None,
        aim: desk::Aim::Identify,
    };
    let (node, query) = (federation.nodes[0].node(), passport(number)?);
    let found = desk::search(node, &query, &why, &person(Role::Officer)).await?;
    Ok(found.hits.into_iter().map(|hit| hit.id).collect())
}

/// The store as an overwritten alert left it: the index still says what only the first of the two
/// said.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_overwritten_alert_left_is_never_a_hit_and_check_says_who_lost_it()
-> anyhow::Result<()> {
    let mut federation = Federation::start(&["dk.politi"]).await?;
    let node = federation.nodes[0].node().clone();
    let kept = desk::create(&node, &draft(2).to_string(), "", &person(Role::Officer)).await?.id;
    let left = node.store.index_key(&passport("P000001")?.keys()[0].bytes());
    let id = kept.clone();
    let entered = node.store.commit(move |tx| {
        let entry = MatchEntry { field: "passport".to_owned(), own: true };
        tx.put::<Matches>(&(left, id.clone()), &entry);
        let event = Event::new(Operation::Collect, "alert.created", "officer").alert(&id);
        Ok::<_, StoreError>(Committed::new((), event))
    });
    entered.await?;
    assert_eq!(found(&federation, "P000002").await?, std::slice::from_ref(&kept));
    assert_eq!(found(&federation, "P000001").await?, []);
    drop(node);
    federation.nodes[0].stop().await?;
    let findings = check(&federation.nodes[0].home, &Clock::system());
    let said = format!("{:?}", findings.last());
    for part in [
        format!("two alerts were created as {kept}, and the first is lost"),
        "of the audit log".to_owned(),
        "have it created again".to_owned(),
        format!("the index names {kept} for what it does not say"),
    ] {
        assert!(said.contains(&part), "{part}: {said}");
    }
    assert!(!said.contains("set the folder aside"), "{said}");
    federation.stop().await
}

/// Nothing writes over a record that was not taken out before.
#[tokio::test(flavor = "multi_thread")]
async fn no_transaction_overwrites_an_alert() -> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi"]).await?;
    let node = federation.nodes[0].node().clone();
    let mut ids = Vec::new();
    for number in 0..2 {
        let made =
            desk::create(&node, &draft(number).to_string(), "", &person(Role::Officer)).await?;
        ids.push(made.id);
    }
    let other = node.store.get::<Own>(&ids[1])?.expect("created");
    let id = ids[0].clone();
    let refused = node.store.commit(move |tx| {
        tx.insert::<Own>(&id, &other);
        let event = Event::new(Operation::Key, "test", "test");
        Ok::<_, StoreError>(Committed::new((), event))
    });
    let refused = refused.await.expect_err("it is occupied");
    assert!(matches!(refused, entente_node::store::CommitError::Store(StoreError::Occupied)));
    let held = node.store.read_blocking(|now| read_held(now, &ids[0]))?;
    let (view, _) = held.expect("it stayed");
    assert_eq!(view.content.subjects[0].identifiers[0].number(), "P000000");
    drop(node);
    federation.stop().await
}

/// What was put in force stays in force, however many read peers, users and policy anew at once.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_policy_never_comes_back_into_force() -> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi"]).await?;
    let node = federation.nodes[0].node().clone();
    let done = Arc::new(AtomicBool::new(false));
    let (held, ended) = (node.clone(), Arc::clone(&done));
    let watching = std::thread::spawn(move || {
        let (mut newest, mut went_back) = (0, false);
        while !ended.load(Ordering::SeqCst) {
            let version = held.policy.load().0;
            went_back |= version < newest;
            newest = newest.max(version);
            std::thread::yield_now();
        }
        went_back
    });
    let refreshing: Vec<_> = (0..3)
        .map(|_| {
            let (node, done) = (node.clone(), Arc::clone(&done));
            std::thread::spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    node.refresh().expect("it can be read");
                }
            })
        })
        .collect();
    for number in 0..60 {
        // Long, so that reading it takes a while.
        let rules = (0..100).map(|rule| {
            format!("[[rule]]\nname = 'n{number}-{rule}'\nlevel = 'none'\npeers = ['*']\n")
        });
        let source: String = rules.collect();
        admin::apply(&node, &source, false, &person(Role::Administrator)).await?;
    }
    done.store(true, Ordering::SeqCst);
    refreshing.into_iter().for_each(|thread| thread.join().expect("it ended"));
    assert!(!watching.join().expect("it ended"), "an older policy came back");
    drop(node);
    federation.stop().await
}
