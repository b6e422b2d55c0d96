//! Two nodes joined without a network: every step of a stream by hand, so that it can be cut
//! anywhere.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod link;
mod nodes;
mod notices;
mod opened;
mod panics;
mod races;
mod signing;
mod stop;
mod versions;

use link::{Cut, Link};
use nodes::{TestNode, join};

use crate::alert::SCHEMA;
use crate::audit::{Event, Operation};
use crate::desk;
use crate::id::{AlertId, CLOCK_TOLERANCE_S};
use crate::jose;
use crate::node::{ClockWatch, clock_doubt, look_at_clock};
use crate::reason::Reason;
use crate::store::{
    Committed, Copies, Erased, Ledger, Own, ParkedIn, ParkedOut, StoreError, StreamsIn, StreamsOut,
};

const ALL: &str = "[[rule]]\nname = 'all'\npeers = ['*']\nlevel = 'view'\nclaims = ['*']\n";
const LITTLE: &str =
    "[[rule]]\nname = 'little'\npeers = ['*']\nlevel = 'view'\nclaims = ['subjects.birth_year']\n";
const CORE: &str = "[[rule]]\nname = 'core'\npeers = ['*']\nlevel = 'view'\nclaims = []\n";
const NOTHING: &str = "";

/// DK, FR and the alert that DK issued under `policy`; FR has received it.
async fn delivered(policy: &str) -> (TestNode, TestNode, AlertId) {
    let (dk, fr) = (TestNode::new("dk.politi", 1), TestNode::new("fr.police-judiciaire", 2));
    join(&dk, &fr).await;
    dk.apply(policy).await;
    let id = dk.create(7).await;
    Link::open(&dk, &fr).await.run().await;
    (dk, fr, id)
}

#[tokio::test]
async fn an_alert_arrives_with_the_claims_that_policy_names() {
    for (policy, name_held) in [(ALL, true), (LITTLE, false)] {
        let (_dk, fr, id) = delivered(policy).await;
        let view = fr.copy(&id).expect("the view arrived");
        assert_eq!(view.claims.names().contains(&"subjects.names"), name_held, "{policy}");
        assert!(view.claims.names().contains(&"category"));
    }
    let (_dk, fr, id) = delivered(NOTHING).await;
    assert!(fr.copy(&id).is_none());
}

#[tokio::test]
async fn an_update_replaces_the_version_held() {
    let (dk, fr, id) = delivered(ALL).await;
    dk.update(&id, 8).await;
    Link::open(&dk, &fr).await.run().await;
    assert_eq!(fr.copy(&id).unwrap().head.version, 2);
}

#[tokio::test]
async fn a_narrower_policy_takes_back_what_it_withholds() {
    let (dk, fr, id) = delivered(ALL).await;
    dk.apply(LITTLE).await;
    Link::open(&dk, &fr).await.run().await;
    assert!(!fr.copy(&id).unwrap().claims.names().contains(&"subjects.names"));
    dk.apply(NOTHING).await;
    Link::open(&dk, &fr).await.run().await;
    assert!(fr.copy(&id).is_none());
    assert_eq!(fr.tombstone(&id).unwrap().erased, Erased::Retracted);
    assert!(dk.ledger(&fr, &id).erased);
    dk.apply(ALL).await;
    Link::open(&dk, &fr).await.run().await;
    assert!(fr.copy(&id).is_some(), "a retraction is not for ever");
}

#[tokio::test]
async fn a_withdrawal_is_for_ever() {
    let (dk, fr, id) = delivered(ALL).await;
    dk.withdraw(&id).await;
    Link::open(&dk, &fr).await.run().await;
    assert!(fr.copy(&id).is_none());
    assert_eq!(fr.tombstone(&id).unwrap().erased, Erased::Withdrawn);
    assert!(dk.ledger(&fr, &id).erased);
}

/// Wherever a stream is cut, going on delivers everything once and the two ends agree.
#[tokio::test]
async fn a_cut_stream_goes_on_where_it_was() {
    for cut in [Cut::Sending, Cut::Commit, Cut::Receipt] {
        let (dk, fr, first) = delivered(ALL).await;
        let second = dk.create(9).await;
        Link::open(&dk, &fr).await.cut(cut).await;
        Link::open(&dk, &fr).await.run().await;
        for id in [&first, &second] {
            assert!(fr.copy(id).is_some(), "{cut:?}");
            let ledger = dk.ledger(&fr, id);
            assert!(ledger.held.is_some() && ledger.possible.is_empty(), "{cut:?}");
        }
        let stream = dk.node.store.get::<StreamsOut>(&fr.node.authority).unwrap().unwrap();
        assert_eq!((stream.acked, stream.tail, stream.epoch), (2, 2, 1), "{cut:?}");
    }
}

#[tokio::test]
async fn an_offer_whose_right_ended_is_replaced_in_its_place() {
    for cut in [Cut::Sending, Cut::Commit, Cut::Receipt] {
        let (dk, fr, _) = delivered(ALL).await;
        let id = dk.create(9).await;
        Link::open(&dk, &fr).await.cut(cut).await;
        dk.apply(NOTHING).await;
        Link::open(&dk, &fr).await.run().await;
        assert!(fr.copy(&id).is_none(), "{cut:?}");
        assert!(dk.ledger(&fr, &id).erased, "{cut:?}");
    }
}

#[tokio::test]
async fn an_offer_decided_under_an_older_policy_is_refused_by_the_writer() {
    let (dk, fr, _) = delivered(ALL).await;
    let id = dk.create(9).await;
    dk.apply_without_refresh(NOTHING).await;
    Link::open(&dk, &fr).await.run().await;
    assert!(fr.copy(&id).is_none());
    let key = (fr.node.authority.clone(), id.into());
    assert!(dk.node.store.get::<Ledger>(&key).unwrap().is_none(), "nothing was ever offered");
}

#[tokio::test]
async fn a_receiver_restored_from_a_backup_gets_the_present_view_whole() {
    let (dk, mut fr, kept) = delivered(ALL).await;
    let backup = fr.backup();
    let withdrawn = kept;
    let later = dk.create(9).await;
    dk.withdraw(&withdrawn).await;
    Link::open(&dk, &fr).await.run().await;
    fr.restore(&backup);
    assert!(fr.copy(&withdrawn).is_some(), "the backup holds what was withdrawn since");
    Link::open(&dk, &fr).await.run().await;
    assert!(fr.copy(&withdrawn).is_none());
    assert!(fr.copy(&later).is_some());
    let stream = dk.node.store.get::<StreamsOut>(&fr.node.authority).unwrap().unwrap();
    assert!(stream.epoch > 1 && stream.acked == stream.tail);
}

#[tokio::test]
async fn a_sender_restored_from_a_backup_stops_issuing() {
    let (mut dk, fr, _) = delivered(ALL).await;
    let backup = dk.backup();
    dk.create(9).await;
    Link::open(&dk, &fr).await.run().await;
    dk.restore(&backup);
    let error = Link::try_open(&dk, &fr).await.err().expect("the stream stops");
    assert!(matches!(error, super::SendError::LostStateShown(_)), "{error}");
    assert!(super::lost_state(&dk.node).unwrap());
}

#[tokio::test]
async fn copies_are_confirmed_by_heads_and_the_lease_runs_out() {
    let (_dk, fr, id) = delivered(ALL).await;
    let issuer = id.authority();
    assert!(super::lease(&fr.node, issuer).0);
    let now = fr.node.clock.now();
    let longer = fr.node.copy_lease_s + 1;
    fr.node.clock.pass(longer);
    assert!(!super::lease(&fr.node, issuer).0);
    fr.node.clock.pass(-longer);
    fr.node.clock.set(now.plus(-10));
    assert!(!super::lease(&fr.node, issuer).0, "a clock set back confirms nothing");
}

/// Moves the clocks of both.
fn later(nodes: [&TestNode; 2], seconds: i64) {
    for node in nodes {
        node.node.clock.pass(seconds);
    }
}

#[tokio::test]
async fn a_withdrawal_that_was_refused_is_offered_again() {
    let (dk, fr, id) = delivered(ALL).await;
    dk.node.clock.set(dk.node.clock.now().plus(500));
    dk.withdraw(&id).await;
    for cut in [true, false] {
        let link = Link::open(&dk, &fr).await;
        if cut { link.cut(Cut::Receipt).await } else { link.run().await }
    }
    assert!(fr.copy(&id).is_some(), "the receiver takes it for a word from the future");
    assert!(!dk.ledger(&fr, &id).erased, "and the sender knows");
    assert_eq!(dk.parked(&fr), [(id.clone(), "future_iat".to_owned())]);
    // Both clocks are right, and the tolerance has passed since the sender's wrong time.
    dk.node.clock.set(fr.node.clock.now());
    later([&dk, &fr], 500 + CLOCK_TOLERANCE_S);
    Link::open(&dk, &fr).await.run().await;
    assert!(fr.copy(&id).is_none());
    assert!(dk.ledger(&fr, &id).erased);
    assert!(dk.parked(&fr).is_empty());
}

#[tokio::test]
async fn a_rule_that_ended_while_nothing_was_sent_is_taken_back() {
    let until = "2026-11-24T10:01:40Z";
    let (dk, fr, id) = delivered(&format!("{ALL}until = {until}\n")).await;
    assert!(fr.copy(&id).is_some());
    later([&dk, &fr], 200);
    Link::open(&dk, &fr).await.run().await;
    assert!(fr.copy(&id).is_none());
    assert!(dk.ledger(&fr, &id).erased);
}

#[tokio::test]
async fn a_copy_does_not_outlive_an_alert_whose_shortening_did_not_arrive() {
    for delivered_before in [false, true] {
        let (dk, fr, id) = delivered(ALL).await;
        dk.shorten(&id, 100).await;
        if delivered_before {
            Link::open(&dk, &fr).await.run().await;
        }
        later([&dk, &fr], 200);
        for node in [&dk, &fr] {
            desk::expire(&node.node).await.unwrap();
        }
        assert_eq!(fr.copy(&id).is_none(), delivered_before);
        let before = dk.stream(&fr).tail;
        Link::open(&dk, &fr).await.run().await;
        assert!(fr.copy(&id).is_none());
        let words = dk.stream(&fr).tail - before;
        assert_eq!(words, u64::from(!delivered_before), "a word only where one is needed");
    }
}

#[tokio::test]
async fn an_alert_that_ended_is_not_sent_again_after_a_cut() {
    let (dk, fr, _) = delivered(ALL).await;
    let id = dk.create(9).await;
    dk.shorten(&id, 100).await;
    Link::open(&dk, &fr).await.cut(Cut::Sending).await;
    later([&dk, &fr], 200);
    Link::open(&dk, &fr).await.run().await;
    assert!(fr.copy(&id).is_none());
    assert!(dk.parked(&fr).is_empty(), "nothing was offered that the peer had to refuse");
}

#[tokio::test]
async fn what_a_peer_cannot_read_yet_waits_visibly_and_goes_once_it_can() {
    let (dk, fr, first) = delivered(ALL).await;
    let second = dk.create(9).await;
    let link = Link::try_open_reading(&dk, &fr, SCHEMA - 1).await.unwrap_or_else(|e| panic!("{e}"));
    link.run().await;
    assert!(fr.copy(&first).is_some() && fr.copy(&second).is_none());
    assert_eq!(dk.parked(&fr), [(second.clone(), "peer_lacks_schema".to_owned())]);
    let waiting = || dk.node.streams.status(&fr.node.authority).waiting;
    assert_eq!(waiting().as_deref(), Some("fr.police-judiciaire lacks schema 1"));
    Link::open(&dk, &fr).await.run().await;
    assert!(fr.copy(&second).is_some());
    assert!(dk.parked(&fr).is_empty() && waiting().is_none());
}

/// More refusals than are kept for people to see, and the receipt of some is lost: the sender
/// learns of each.
#[tokio::test]
async fn no_refusal_is_taken_for_an_acknowledgement() {
    let (dk, fr, first) = delivered(ALL).await;
    dk.node.clock.set(dk.node.clock.now().plus(500));
    let mut refused = Vec::new();
    for number in 0..1060 {
        refused.push(dk.create(100 + number).await);
        if number == 999 {
            Link::open(&dk, &fr).await.run().await;
        }
    }
    Link::open(&dk, &fr).await.cut(Cut::Receipt).await;
    Link::open(&dk, &fr).await.run().await;
    assert_eq!(fr.node.store.count::<ParkedIn>(), 1024, "bounded");
    assert_eq!(dk.node.store.count::<ParkedOut>(), 1060);
    assert!(refused.iter().all(|id| dk.ledger(&fr, id).held.is_none()));
    assert!(fr.copy(&first).is_some());
    dk.node.clock.set(fr.node.clock.now());
    later([&dk, &fr], 500 + CLOCK_TOLERANCE_S);
    Link::open(&dk, &fr).await.run().await;
    assert_eq!(fr.node.store.count::<Copies>(), 1061, "all of them arrive once the clocks agree");
    assert_eq!(dk.node.store.count::<ParkedOut>(), 0);
    assert_eq!(fr.node.store.count::<ParkedIn>(), 0);
}

/// What two peers had been given of one alert comes back together, whoever is asked first.
#[tokio::test]
async fn recovery_joins_what_peers_had_been_given() {
    const EACH: &str = "[[rule]]\n\
                        name = 'fr'\n\
                        peers = ['fr.*']\n\
                        level = 'view'\n\
                        claims = ['subjects.names', 'urgency']\n\n\
                        [[rule]]\n\
                        name = 'de'\n\
                        peers = ['de.*']\n\
                        level = 'view'\n\
                        claims = ['subjects.birth_date', 'urgency']\n";
    for turned in [false, true] {
        let mut dk = TestNode::new("dk.politi", 1);
        let (fr, de) = (TestNode::new("fr.police-judiciaire", 2), TestNode::new("de.bka", 3));
        join(&dk, &fr).await;
        join(&dk, &de).await;
        dk.apply(EACH).await;
        let backup = dk.backup();
        let id = dk.create(7).await;
        let mut statements = Vec::new();
        for peer in [&fr, &de] {
            Link::open(&dk, peer).await.run().await;
            let after = super::RecoveryCursor::Alerts(None);
            let given = super::statements_of(&peer.node, id.authority(), &after, 1).unwrap().0;
            statements.extend(given.into_iter().map(|given| (peer.node.authority.clone(), given)));
        }
        dk.restore(&backup);
        if turned {
            statements.reverse();
        }
        for (peer, statement) in &statements {
            assert!(
                super::keep_recovered(&dk.node, peer, statement).await.unwrap(),
                "brings something"
            );
            assert!(
                !super::keep_recovered(&dk.node, peer, statement).await.unwrap(),
                "and only once"
            );
        }
        let own = dk.node.store.get::<Own>(&id).unwrap().unwrap();
        let names = own.claims.names();
        for claim in ["subjects.names", "subjects.birth_date", "urgency", "category"] {
            assert!(names.contains(&claim), "{claim}: {names:?}");
        }
        assert!(!names.contains(&"subjects.sex") && own.recovered);
    }
}

/// A clock that leaps erases nothing, ends no rule, and hides and refuses nothing: neither the
/// issuer's nor a receiver's.
#[tokio::test]
async fn a_clock_that_leaps_ends_nothing() {
    const DAY_S: i64 = 86_400;
    let (dk, fr, long) = delivered(&format!("{ALL}until = 2026-12-01T00:00:00Z\n")).await;
    let short = dk.create(9).await;
    dk.shorten(&short, DAY_S).await;
    Link::open(&dk, &fr).await.run().await;
    let right = dk.node.clock.now();
    for (node, leap) in [(&fr, 2 * DAY_S), (&dk, 29 * DAY_S), (&dk, -29 * DAY_S), (&fr, 700)] {
        node.node.clock.set(right.plus(leap));
        let error = desk::expire(&node.node).await.expect_err("not believed");
        assert_eq!(error.reason(), Reason::ClockInDoubt);
        assert!(error.to_string().contains("entente clock confirm"), "{error}");
        let listed = node.list().await.alerts;
        assert_eq!(listed.len(), 2, "{leap}: nothing is hidden");
        let created = dk.create(100 + leap.unsigned_abs()).await;
        Link::open(&dk, &fr).await.run().await;
        for id in [&long, &short, &created] {
            assert!(fr.copy(id).is_some(), "{leap}: {id}");
            assert!(dk.node.store.get::<Own>(id).unwrap().is_some(), "{leap}: {id}");
        }
        assert!(dk.parked(&fr).is_empty(), "{leap}: what is issued meanwhile is dated right");
        dk.withdraw(&created).await;
        Link::open(&dk, &fr).await.run().await;
        assert!(fr.copy(&created).is_none(), "a word of the issuer is taken as ever");
        node.node.clock.set(right);
        assert_eq!(desk::expire(&node.node).await.unwrap(), 0);
    }
    later([&dk, &fr], 2 * DAY_S);
    for node in [&dk, &fr] {
        assert_eq!(desk::expire(&node.node).await.unwrap(), 1, "what has ended is erased");
    }
    assert!(fr.copy(&short).is_none() && fr.copy(&long).is_some());
}

/// Looks at the clock as a running node does.
async fn look(node: &TestNode, watch: &mut ClockWatch) -> bool {
    look_at_clock(&node.node, watch).await.unwrap()
}

#[tokio::test]
async fn a_clock_is_believed_when_a_peer_or_a_person_says_the_same() {
    const YEAR_S: i64 = 366 * 86_400;
    let (dk, fr, id) = delivered(ALL).await;
    let (mut watch, mut theirs) = Default::default();
    look(&dk, &mut watch).await;
    let right = dk.node.clock.now();
    // Two clocks that leap together do not confirm each other.
    for node in [&dk, &fr] {
        node.node.clock.set(right.plus(12 * YEAR_S));
    }
    for _ in 0..2 {
        Link::open(&fr, &dk).await.run().await;
        Link::open(&dk, &fr).await.run().await;
        look(&dk, &mut watch).await;
        look(&fr, &mut theirs).await;
    }
    for node in [&dk, &fr] {
        let doubt = clock_doubt(&node.node).expect("not believed");
        assert_eq!((doubt.agree.len(), doubt.differ.len()), (0, 1));
        assert_eq!(node.node.clock.now(), right);
    }
    assert!(fr.copy(&id).is_some());
    // A person's word is taken only on the time that the clock shows.
    let by = crate::roles::Actor { name: "administrator".to_owned(), roles: vec![] };
    let wrong = crate::admin::confirm_clock(&dk.node, right, &by).await.expect_err("another time");
    assert_eq!(wrong.reason(), Reason::ClockDiffers);
    let later = right.plus(12 * YEAR_S);
    assert!(crate::admin::confirm_clock(&dk.node, later.plus(200), &by).await.unwrap());
    assert_eq!((dk.node.clock.now(), clock_doubt(&dk.node).is_none()), (later, true));
    assert_eq!(desk::expire(&dk.node).await.unwrap(), 1);
    assert!(!crate::admin::confirm_clock(&dk.node, later, &by).await.unwrap(), "no doubt is left");
    assert!(!look(&dk, &mut watch).await, "forward");
    // And now the peer's head speaks for it.
    Link::open(&dk, &fr).await.run().await;
    assert!(!look(&fr, &mut theirs).await, "forward");
    assert_eq!(fr.node.clock.now(), later);
    assert_eq!(desk::expire(&fr.node).await.unwrap(), 1);
    // Back again, which a head says that was signed before: what was issued in between is dated
    // ahead.
    dk.node.clock.set(right);
    assert!(look(&dk, &mut watch).await, "an earlier time is believed");
    assert_eq!(dk.node.clock.now(), right);
}

/// A start with a clock that is ahead, within what a node may have been off: what is issued then is
/// put right.
#[tokio::test]
async fn what_was_issued_by_a_clock_that_was_ahead_is_issued_anew() {
    const DAY_S: i64 = 86_400;
    let (mut dk, fr, before) = delivered(ALL).await;
    let (mut watch, right) = (ClockWatch::default(), dk.node.clock.now());
    look(&dk, &mut watch).await;
    let backup = dk.backup();
    dk.node.clock.set(right.plus(DAY_S));
    dk.restore(&backup);
    look(&dk, &mut watch).await;
    assert_eq!(dk.node.clock.now(), right.plus(DAY_S), "it may have been off for a day");
    let (stays, gone) = (dk.create(20).await, dk.create(21).await);
    dk.withdraw(&before).await;
    Link::open(&dk, &fr).await.run().await;
    dk.withdraw(&gone).await;
    assert_eq!(dk.parked(&fr).len(), 3, "{:?}", dk.parked(&fr));
    assert!(fr.copy(&stays).is_none() && fr.copy(&before).is_some());
    assert_eq!(desk::reissue(&dk.node, desk::Ahead::All).await.unwrap(), 0, "by its own clock");
    dk.node.clock.set(right);
    Link::open(&fr, &dk).await.run().await;
    assert!(look(&dk, &mut watch).await);
    assert_eq!(desk::reissue(&dk.node, desk::Ahead::All).await.unwrap(), 3);
    assert_eq!(desk::reissue(&dk.node, desk::Ahead::All).await.unwrap(), 0, "once");
    Link::open(&dk, &fr).await.run().await;
    let copy = fr.copy(&stays).expect("it arrives before its first date");
    assert_eq!((copy.head.version, copy.head.issued_at), (2, right));
    assert!(
        copy.content.expires_at.unwrap()
            <= right.plus(copy.content.category.unwrap().retention_s())
    );
    assert!(fr.copy(&before).is_none() && dk.ledger(&fr, &before).erased);
    assert!(dk.parked(&fr).is_empty(), "{:?}", dk.parked(&fr));
}

/// Started in doubt: what may have ended by then is not disclosed, and waits for the right time.
#[tokio::test]
async fn a_start_in_doubt_discloses_nothing_that_may_have_ended() {
    const DAYS_S: i64 = 3 * 86_400;
    for was_off in [false, true] {
        let mut dk = TestNode::new("dk.politi", 1);
        let fr = TestNode::new("fr.police-judiciaire", 2);
        join(&dk, &fr).await;
        dk.apply(&format!("{ALL}until = 2026-11-26T10:00:00Z\n")).await;
        look(&dk, &mut ClockWatch::default()).await;
        let (id, right) = (dk.create(9).await, dk.node.clock.now());
        let backup = dk.backup();
        dk.node.clock.set(right.plus(DAYS_S));
        dk.restore(&backup);
        Link::open(&dk, &fr).await.run().await;
        assert!(fr.copy(&id).is_none(), "its rule may have ended");
        assert_eq!(dk.parked(&fr), [(id.clone(), "clock_in_doubt".to_owned())]);
        if was_off {
            let by = crate::roles::Actor { name: "administrator".to_owned(), roles: vec![] };
            let shown = dk.node.clock.shown();
            assert!(crate::admin::confirm_clock(&dk.node, shown, &by).await.unwrap());
        } else {
            dk.node.clock.set(right);
            later([&dk, &fr], CLOCK_TOLERANCE_S);
        }
        Link::open(&dk, &fr).await.run().await;
        assert_eq!(fr.copy(&id).is_some(), !was_off);
        assert!(dk.parked(&fr).is_empty());
    }
}

/// An alert whose newer version was refused: shown as not confirmed, and kept when the stream
/// begins anew.
#[tokio::test]
async fn a_copy_whose_next_version_is_refused_stays_and_is_not_confirmed() {
    let (dk, fr, id) = delivered(ALL).await;
    let leased = |version| super::lease_of(&fr.node, &fr.node.store, &id, version).unwrap().0;
    assert!(leased(1));
    let right = dk.node.clock.now();
    dk.node.clock.set(right.plus(CLOCK_TOLERANCE_S + 100));
    dk.update(&id, 8).await;
    dk.node.clock.set(right);
    Link::open(&dk, &fr).await.run().await;
    assert_eq!(dk.parked(&fr), [(id.clone(), "future_iat".to_owned())]);
    assert!(!leased(1), "its issuer has replaced it");
    let listed = fr.list().await.alerts;
    assert_eq!(listed.iter().map(|copy| copy.confirmed).collect::<Vec<_>>(), [false]);
    let me = dk.node.authority.clone();
    let renewed = dk.node.store.commit(move |tx| {
        super::start_epochs(tx, &me)?;
        let event = Event::new(Operation::Key, "epoch.started", "test");
        Ok::<_, StoreError>(Committed::new((), event))
    });
    renewed.await.map_err(|error| error.to_string()).unwrap();
    Link::open(&dk, &fr).await.run().await;
    assert_eq!(fr.copy(&id).map(|view| view.head.version), Some(1));
    let stream = fr.node.store.get::<StreamsIn>(&dk.node.authority).unwrap().unwrap();
    assert!(!stream.snapshot, "the snapshot was completed");
}

/// A refusal of more claims does not stand before fewer.
#[tokio::test]
async fn what_is_narrowed_after_a_refusal_is_taken_back() {
    let (dk, fr, id) = delivered(LITTLE).await;
    dk.apply(ALL).await;
    let mut link = Link::open(&dk, &fr).await;
    let head: super::Head = jose::peek(super::HEAD_TYP, &link.offer().await.head).unwrap();
    let receipt = super::Receipt {
        iss: fr.node.authority.clone(),
        aud: dk.node.authority.clone(),
        epoch: head.epoch,
        seq: head.seq,
        chain: head.chain,
        iat: dk.node.clock.now().seconds(),
        refused: vec![super::Refused { seq: head.seq, reason: "too_many_match_keys".to_owned() }],
        protocol: Some(super::PROTOCOLS.max),
    };
    let receipt = jose::sign(super::RECEIPT_TYP, &receipt, &fr.node.statement_key).unwrap();
    link.take(&receipt, head.nonce).await.unwrap();
    assert!(link.offer().await.items.is_empty(), "not again by itself");
    dk.apply(CORE).await;
    let mut offered = 0;
    loop {
        let items = link.offer().await.items;
        offered += items.len();
        if items.is_empty() {
            break;
        }
    }
    assert_eq!(offered, 1);
    assert_eq!(dk.parked(&fr), []);
    let last = dk.ledger(&fr, &id).possible.last().map(|last| last.claims.names());
    assert!(last.is_some_and(|claims| !claims.contains(&"subjects.birth_year")));
}

/// Whoever issues many alerts on one document hides nobody else's.
#[tokio::test]
async fn many_alerts_of_one_issuer_hide_no_others() {
    let (dk, fr) = (TestNode::new("dk.politi", 1), TestNode::new("fr.police-judiciaire", 2));
    join(&dk, &fr).await;
    dk.apply(ALL).await;
    let own = fr.create(7).await;
    for _ in 0..66 {
        dk.create(7).await;
    }
    Link::open(&dk, &fr).await.run().await;
    let found = fr.search_passport("P0000007").await;
    assert!(found.more && found.hits.iter().any(|hit| hit.id == own), "{} hits", found.hits.len());
    assert!(found.hits.iter().any(|hit| hit.id != own));
}
