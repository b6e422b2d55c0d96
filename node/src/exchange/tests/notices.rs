//! Notices: they arrive once, whatever is cut or restored, and what is wrong with one is refused.

use super::TestNode;
use super::link::{Cut, Link};
use super::nodes::{join, person, trust};
use crate::desk::{self, DeskError, NoticeState, OpenedNotice, Outgoing};
use crate::exchange::{Batch, Head, Item, Kind, Statement};
use crate::holding::{NOTICES_A_DAY_MAX, NOTICES_OPEN_MAX};
use crate::id::{Digest, NoticeId, Versions};
use crate::notice::{Acknowledgement, NOTICE_KEPT_S, Notice};
use crate::store::{Feed, NoticeTallies, Notices, Offers, Read, Scan, StreamOut, Subject, Tally};
use crate::trust::PeerState;
use crate::{admin, exchange};

const TEXT: &str = "The vehicle was seen on the ferry.\nPlease call us.";

impl TestNode {
    async fn send(&self, to: &Self, text: &str) -> Result<NoticeId, DeskError> {
        self.send_by(to, text, "").await.map(|(id, _)| id)
    }

    async fn send_by(
        &self,
        to: &Self,
        text: &str,
        key: &str,
    ) -> Result<(NoticeId, bool), DeskError> {
        let outgoing = Outgoing { to: &to.node.authority, text, about: None, key };
        desk::send_notice(&self.node, outgoing, &person("officer")).await
    }

    async fn notice(&self, id: &NoticeId) -> Option<OpenedNotice> {
        match desk::get_notice(&self.node, id, &person("coordinator")).await {
            Ok(opened) => Some(opened),
            Err(DeskError::NoticeUnknown(_)) => None,
            Err(error) => panic!("{error}"),
        }
    }

    async fn state(&self, id: &NoticeId) -> NoticeState {
        self.notice(id).await.expect("a notice").listed.state
    }

    async fn acknowledge(&self, id: &NoticeId, who: &str) -> Result<bool, DeskError> {
        desk::acknowledge_notice(&self.node, id, who, &person("officer")).await
    }

    fn received(&self, from: &Self) -> Tally {
        let tallies = self.node.store.get::<NoticeTallies>(&from.node.authority).unwrap();
        tallies.unwrap_or_default().received
    }

    fn sent(&self, to: &Self) -> Tally {
        let tallies = self.node.store.get::<NoticeTallies>(&to.node.authority).unwrap();
        tallies.unwrap_or_default().sent
    }

    fn logged(&self, kind: &str) -> usize {
        let leaves = self.node.store.leaves(0, usize::MAX).unwrap();
        let entries = leaves.iter().map(|(_, leaf)| crate::audit::Entry::parse(leaf).unwrap());
        entries.filter(|entry| entry.kind == kind).count()
    }

    /// Whether any entry of the log holds this text.
    fn log_says(&self, text: &str) -> bool {
        let leaves = self.node.store.leaves(0, usize::MAX).unwrap();
        leaves.iter().any(|(_, leaf)| String::from_utf8_lossy(leaf).contains(text))
    }
}

async fn pair() -> (TestNode, TestNode) {
    let (dk, fr) = (TestNode::new("dk.politi", 1), TestNode::new("fr.police-judiciaire", 2));
    join(&dk, &fr).await;
    (dk, fr)
}

async fn run(from: &TestNode, to: &TestNode) {
    Link::open(from, to).await.run().await;
}

#[tokio::test]
async fn a_notice_arrives_without_any_policy_and_its_sender_sees_that_it_was_read() {
    let (dk, fr) = pair().await;
    let de = TestNode::new("de.bka", 3);
    join(&dk, &de).await;
    let id = dk.send(&fr, TEXT).await.unwrap();
    assert_eq!(dk.state(&id).await, NoticeState::Waiting);
    run(&dk, &de).await;
    run(&dk, &fr).await;
    assert!(de.notice(&id).await.is_none(), "it is for one peer");
    assert_eq!(dk.state(&id).await, NoticeState::Open);
    let got = fr.notice(&id).await.unwrap();
    assert_eq!((got.notice.text.as_str(), got.listed.state), (TEXT, NoticeState::Open));
    assert_eq!(desk::open_notices(&fr.node).unwrap(), 1);

    assert!(fr.acknowledge(&id, "night desk").await.unwrap());
    assert!(!fr.acknowledge(&id, "night desk").await.unwrap(), "the same again is no fault");
    assert!(matches!(fr.acknowledge(&id, "day desk").await, Err(DeskError::NoticeAcknowledged(_))));
    assert!(matches!(dk.acknowledge(&id, "us").await, Err(DeskError::OwnNotice(_))));
    run(&fr, &dk).await;
    let read = dk.notice(&id).await.unwrap();
    assert_eq!(read.listed.state, NoticeState::Acknowledged);
    assert_eq!(read.acknowledgement.unwrap().who, "night desk");
    assert_eq!(desk::open_notices(&fr.node).unwrap(), 0);
    for (node, text) in [(&dk, "ferry"), (&fr, "ferry"), (&dk, "night desk"), (&fr, "night desk")] {
        assert!(!node.log_says(text), "the log holds no text of a notice");
    }
}

#[tokio::test]
async fn a_notice_arrives_once_wherever_the_stream_is_cut() {
    for cut in [Cut::Sending, Cut::Commit, Cut::Receipt] {
        let (dk, fr) = pair().await;
        let id = dk.send(&fr, TEXT).await.unwrap();
        Link::open(&dk, &fr).await.cut(cut).await;
        run(&dk, &fr).await;
        assert_eq!(fr.logged("notice.received"), 1, "{cut:?}");
        fr.acknowledge(&id, "night desk").await.unwrap();
        Link::open(&fr, &dk).await.cut(cut).await;
        run(&fr, &dk).await;
        assert_eq!(dk.logged("notice.acknowledgement_received"), 1, "{cut:?}");
        assert_eq!(dk.state(&id).await, NoticeState::Acknowledged);
        assert_eq!((fr.received(&dk).open, dk.sent(&fr).open), (0, 0));
    }
}

#[tokio::test]
async fn under_one_key_a_notice_is_sent_once() {
    let (dk, fr) = pair().await;
    let (first, new) = dk.send_by(&fr, TEXT, "0123").await.unwrap();
    assert!(new);
    assert_eq!(dk.send_by(&fr, TEXT, "0123").await.unwrap(), (first.clone(), false));
    assert!(matches!(dk.send_by(&fr, "Other.", "0123").await, Err(DeskError::NoticeKeyUsed)));
    assert_ne!(dk.send_by(&fr, TEXT, "4567").await.unwrap().0, first);
    assert_ne!(dk.send_by(&fr, TEXT, "").await.unwrap().0, first);
}

#[tokio::test]
async fn a_receiver_that_was_restored_gets_notices_again_and_none_twice() {
    let (dk, mut fr) = pair().await;
    let first = dk.send(&fr, TEXT).await.unwrap();
    run(&dk, &fr).await;
    let backup = fr.backup();
    let second = dk.send(&fr, "Another.").await.unwrap();
    run(&dk, &fr).await;
    fr.acknowledge(&second, "night desk").await.unwrap();
    run(&fr, &dk).await;
    fr.restore(&backup);
    assert!(fr.notice(&second).await.is_none());
    run(&dk, &fr).await;
    assert_eq!(fr.notice(&second).await.unwrap().notice.text, "Another.");
    assert_eq!((fr.logged("notice.received"), fr.logged("notice.repeated")), (2, 1));
    assert_eq!(fr.received(&dk), Tally { held: 2, open: 2, ..fr.received(&dk) });
    assert_eq!(fr.state(&first).await, NoticeState::Open);
    assert_eq!(dk.state(&second).await, NoticeState::Acknowledged, "that was said, and stands");
}

#[tokio::test]
async fn a_sender_that_was_restored_fetches_its_notices_back() {
    let (mut dk, fr) = pair().await;
    let backup = dk.backup();
    let id = dk.send(&fr, TEXT).await.unwrap();
    run(&dk, &fr).await;
    dk.restore(&backup);
    assert!(Link::try_open(&dk, &fr).await.is_err(), "it finds out, and stops");
    assert!(matches!(dk.send(&fr, "More.").await, Err(DeskError::LostState)));
    let mut after = exchange::RecoveryCursor::Notices(None);
    let mut given = vec![];
    loop {
        let me = &dk.node.authority;
        let (page, next) = exchange::statements_of(&fr.node, me, &after, 2).unwrap();
        given.extend(page);
        let Some(next) = next else { break };
        after = next;
    }
    let last_words = exchange::RecoveryCursor::Words(None);
    let old = exchange::statements_of(&fr.node, &dk.node.authority, &last_words, 1).unwrap();
    assert_eq!(old.1, None, "who speaks protocol 1 is handed none");
    assert_eq!(given.len(), 1);
    let from = &fr.node.authority;
    assert!(exchange::keep_recovered(&dk.node, from, &given[0]).await.unwrap());
    assert!(!exchange::keep_recovered(&dk.node, from, &given[0]).await.unwrap());
    let other = "de.bka".parse().unwrap();
    assert!(exchange::keep_recovered(&dk.node, &other, &given[0]).await.is_err());
    assert_eq!(dk.notice(&id).await.unwrap().notice.text, TEXT);
    assert_eq!(dk.state(&id).await, NoticeState::Open, "it was taken");
}

#[tokio::test]
async fn a_notice_that_was_handed_back_is_not_offered_again_in_the_present_epoch() {
    let (dk, fr) = pair().await;
    dk.send(&fr, TEXT).await.unwrap();
    run(&dk, &fr).await;
    let forgotten = forged(&dk, &fr).sign(&dk.node.statement_key).unwrap();
    let from = &fr.node.authority;
    assert!(exchange::keep_recovered(&dk.node, from, &forgotten).await.unwrap());
    assert!(Link::open(&dk, &fr).await.offer().await.items.is_empty());
}

#[tokio::test]
async fn a_notice_is_erased_after_a_year_at_both_ends() {
    let (dk, fr) = pair().await;
    let id = dk.send(&fr, TEXT).await.unwrap();
    let late = dk.send(&fr, "Never taken.").await.unwrap();
    let mut link = Link::open(&dk, &fr).await;
    let batch = link.offer().await;
    let (receipt, nonce) = link.give(batch).await.unwrap();
    link.take(&receipt, nonce).await.unwrap();
    fr.acknowledge(&id, "night desk").await.unwrap();
    for node in [&dk, &fr] {
        node.pass(NOTICE_KEPT_S - 1);
        desk::expire(&node.node).await.unwrap();
        assert!(node.notice(&id).await.is_some());
        node.pass(1);
        assert_eq!(desk::expire(&node.node).await.unwrap(), 2);
        assert!(node.notice(&id).await.is_none() && node.notice(&late).await.is_none());
        let left = node.node.store.scan(Scan::<Notices>::all(), 10).unwrap();
        assert!(left.is_empty());
        assert!(node.node.store.scan(Scan::<Feed>::all(), 10).unwrap().is_empty());
    }
    assert_eq!((fr.received(&dk).held, fr.received(&dk).open), (0, 0));
    assert_eq!((dk.sent(&fr).held, dk.sent(&fr).open), (0, 0));
}

#[tokio::test]
async fn what_was_offered_and_is_erased_since_does_not_stop_the_stream() {
    let (dk, fr) = pair().await;
    let id = dk.send(&fr, TEXT).await.unwrap();
    Link::open(&dk, &fr).await.cut(Cut::Sending).await;
    let offers = |dk: &TestNode| dk.node.store.scan(Scan::<Offers>::all(), 10).unwrap().len();
    assert_eq!(offers(&dk), 1);
    dk.pass(NOTICE_KEPT_S);
    fr.pass(NOTICE_KEPT_S);
    desk::expire(&dk.node).await.unwrap();
    let next = dk.send(&fr, "Another.").await.unwrap();
    run(&dk, &fr).await;
    assert_eq!((offers(&dk), dk.stream(&fr).epoch > 1), (0, true), "a new epoch goes on");
    assert!(fr.notice(&id).await.is_none() && fr.notice(&next).await.is_some());
}

#[tokio::test]
async fn a_removed_peer_gets_no_notice_that_waited_for_it() {
    let (dk, fr) = pair().await;
    let taken = dk.send(&fr, "Taken.").await.unwrap();
    run(&dk, &fr).await;
    let waiting = dk.send(&fr, "Waiting.").await.unwrap();
    Link::open(&dk, &fr).await.cut(Cut::Sending).await;
    let by = person("administrator");
    let peer = &fr.node.authority;
    admin::change_peer(&dk.node, peer, PeerState::Removed, "no longer", &by).await.unwrap();
    assert_eq!(dk.state(&waiting).await, NoticeState::Stopped);
    assert!(matches!(dk.send(&fr, "More.").await, Err(DeskError::NotAPeer(_))));
    trust(&dk, &fr, 2).await;
    run(&dk, &fr).await;
    assert!(fr.notice(&waiting).await.is_none(), "it was for whoever was removed");
    assert!(fr.notice(&taken).await.is_some());
    assert_eq!(dk.sent(&fr).open, 0);
}

#[tokio::test]
async fn a_notice_that_was_stopped_and_is_acknowledged_all_the_same_ends_its_wait_once() {
    let (dk, fr) = pair().await;
    let stopped = dk.send(&fr, TEXT).await.unwrap();
    // It arrives, and the sender does not learn that before it removes the peer.
    Link::open(&dk, &fr).await.cut(Cut::Receipt).await;
    let (peer, by) = (&fr.node.authority, person("administrator"));
    admin::change_peer(&dk.node, peer, PeerState::Removed, "no longer", &by).await.unwrap();
    trust(&dk, &fr, 2).await;
    dk.send(&fr, "Another.").await.unwrap();
    fr.acknowledge(&stopped, "night desk").await.unwrap();
    run(&fr, &dk).await;
    assert_eq!(dk.state(&stopped).await, NoticeState::Acknowledged);
    assert_eq!(dk.sent(&fr).open, 1, "the other one waits still");
}

#[tokio::test]
async fn under_one_key_two_calls_at_once_send_one_notice() {
    let (dk, fr) = pair().await;
    let de = TestNode::new("de.bka", 3);
    join(&dk, &de).await;
    for key in ["0", "1", "2", "3"] {
        let (one, other) = tokio::join!(dk.send_by(&fr, TEXT, key), dk.send_by(&de, TEXT, key));
        let refused = [one, other].into_iter().filter_map(Result::err).collect::<Vec<_>>();
        assert!(matches!(refused[..], [DeskError::NoticeKeyUsed]), "{refused:?}");
    }
    assert_eq!(dk.sent(&fr).held + dk.sent(&de).held, 4);
}

#[tokio::test]
async fn a_sender_and_a_receiver_have_bounds() {
    let (dk, fr) = pair().await;
    for _ in 0..NOTICES_A_DAY_MAX {
        dk.send(&fr, TEXT).await.unwrap();
    }
    assert!(matches!(dk.send(&fr, TEXT).await, Err(DeskError::TooManyNotices(_))));
    run(&dk, &fr).await;
    assert_eq!(fr.received(&dk).open, NOTICES_A_DAY_MAX);
    // A sender that keeps to no bound of its own.
    forget_tally(&dk, &fr).await;
    let more = dk.send(&fr, "One more.").await.unwrap();
    run(&dk, &fr).await;
    assert!(fr.notice(&more).await.is_none());
    let refused = dk.notice(&more).await.unwrap().listed;
    assert_eq!(
        (refused.state, refused.reason.as_str()),
        (NoticeState::Refused, "too_many_notices")
    );
    // It is offered again by itself, and a day later there is room.
    for node in [&dk, &fr] {
        node.pass(24 * 3600);
    }
    run(&dk, &fr).await;
    assert_eq!(fr.notice(&more).await.unwrap().notice.text, "One more.");
    assert_eq!(dk.state(&more).await, NoticeState::Open);
    const { assert!(NOTICES_OPEN_MAX > NOTICES_A_DAY_MAX) };
}

async fn forget_tally(of: &TestNode, to: &TestNode) {
    let peer = to.node.authority.clone();
    let committed = of.node.store.commit(move |tx| {
        tx.delete::<NoticeTallies>(&peer);
        let event = crate::audit::Event::new(crate::audit::Operation::Key, "test", "test");
        Ok::<_, crate::store::StoreError>(crate::store::Committed::new((), event))
    });
    committed.await.unwrap();
}

/// A notice as `dk` would sign it for `to`, that nobody entered.
fn forged(dk: &TestNode, to: &TestNode) -> Notice {
    Notice {
        iss: dk.node.authority.clone(),
        aud: to.node.authority.clone(),
        jti: NoticeId::new(dk.node.authority.clone(), [7; 6]),
        iat: dk.node.clock.now().seconds(),
        text: TEXT.to_owned(),
        about: None,
    }
}

/// A peer that signs whatever it likes, and keeps the stream whole.
struct Forger<'a> {
    from: &'a TestNode,
    link: Link<'a>,
    head: Head,
    acknowledged: u64,
}

impl<'a> Forger<'a> {
    async fn open(from: &'a TestNode, to: &'a TestNode) -> Self {
        let mut link = Link::open(from, to).await;
        let Batch { head, acknowledged, .. } = link.offer().await;
        let head: Head = crate::jose::peek(exchange::HEAD_TYP, &head).unwrap();
        let StreamOut { acked, acked_chain, .. } = from.stream(to);
        Self { from, link, head: Head { seq: acked, chain: acked_chain, ..head }, acknowledged }
    }

    /// Sends these; returns why statements of the batch were refused.
    async fn give(&mut self, statements: Vec<(Kind, String)>) -> Vec<String> {
        // The place, and with it the chain, must be the one that the head is signed for.
        let mut items = vec![];
        let before = self.head.seq;
        for (kind, jws) in statements {
            let (seq, digest) = (self.head.seq + 1, Digest::of(jws.as_bytes()));
            let chain = exchange::batch::chain_next(&self.head.chain, seq, &digest);
            self.head = Head { seq, chain, ..self.head.clone() };
            items.push(Item { seq, digest, statement: Statement::new(kind, jws) });
        }
        let key = &self.from.node.statement_key;
        let head = crate::jose::sign(exchange::HEAD_TYP, &self.head, key).unwrap();
        let batch = Batch { items, head, acknowledged: self.acknowledged };
        let (receipt, _) = self.link.give(batch).await.unwrap();
        let receipt: exchange::Receipt =
            crate::jose::peek(exchange::RECEIPT_TYP, &receipt).unwrap();
        self.acknowledged = receipt.seq;
        let ours = receipt.refused.into_iter().filter(|refused| refused.seq > before);
        ours.map(|refused| refused.reason).collect()
    }
}

/// What a receiver answers to a batch with this one notice.
async fn refusal(dk: &TestNode, fr: &TestNode, jws: String) -> String {
    let reasons = Forger::open(dk, fr).await.give(vec![(Kind::Notice, jws)]).await;
    reasons.into_iter().next().expect("a refusal")
}

#[tokio::test]
async fn a_hostile_peer_is_refused_with_a_reason() {
    let other = TestNode::new("de.bka", 3);
    type Forge = fn(&TestNode, &TestNode, &TestNode) -> String;
    let cases: [(&str, Forge); 6] = [
        ("not_for_this_receiver", |dk, _, de| forged(dk, de).sign(&dk.node.statement_key).unwrap()),
        ("unknown_key", |dk, fr, de| forged(dk, fr).sign(&de.node.statement_key).unwrap()),
        ("not_the_issuer", |dk, fr, de| {
            let iss = de.node.authority.clone();
            Notice { iss, ..forged(dk, fr) }.sign(&dk.node.statement_key).unwrap()
        }),
        ("notice_text_refused", |dk, fr, _| {
            let text = "\u{202e}hidden".to_owned();
            Notice { text, ..forged(dk, fr) }.sign(&dk.node.statement_key).unwrap()
        }),
        ("notice_text_refused", |dk, fr, _| {
            Notice { text: "a".repeat(2001), ..forged(dk, fr) }
                .sign(&dk.node.statement_key)
                .unwrap()
        }),
        ("statement_too_long", |dk, fr, _| {
            Notice { text: "a".repeat(20_000), ..forged(dk, fr) }
                .sign(&dk.node.statement_key)
                .unwrap()
        }),
    ];
    for (reason, forge) in cases {
        let (dk, fr) = pair().await;
        dk.send(&fr, TEXT).await.unwrap();
        let jws = forge(&dk, &fr, &other);
        assert_eq!(refusal(&dk, &fr, jws).await, reason);
        assert!(fr.node.store.scan(Scan::<Notices>::all(), 1).unwrap().is_empty());
        let parked = admin::parked(&fr.node, &dk.node.authority).unwrap();
        let named: Vec<_> = parked.iter().map(|(theirs, subject, _)| (*theirs, subject)).collect();
        let id = NoticeId::new(dk.node.authority.clone(), [7; 6]);
        assert_eq!(named, [(true, &Subject::Notice(id))], "{reason}: people see it");
    }
}

#[tokio::test]
async fn another_notice_under_an_id_that_is_held_is_an_alarm() {
    let (dk, fr) = pair().await;
    let id = dk.send(&fr, TEXT).await.unwrap();
    run(&dk, &fr).await;
    dk.send(&fr, "Another.").await.unwrap();
    let two = Notice { jti: id.clone(), text: "Two.".to_owned(), ..forged(&dk, &fr) };
    let jws = two.sign(&dk.node.statement_key).unwrap();
    assert_eq!(refusal(&dk, &fr, jws).await, "equivocation");
    assert_eq!(fr.logged("alarm.equivocation"), 1);
    assert_eq!(fr.notice(&id).await.unwrap().notice.text, TEXT);
}

#[tokio::test]
async fn a_peer_of_protocol_1_is_sent_no_notice_before_it_speaks_2() {
    let (dk, fr) = pair().await;
    let id = dk.send(&fr, TEXT).await.unwrap();
    Link::open_speaking(&dk, &fr, 1).await.run().await;
    let held_back = dk.notice(&id).await.unwrap().listed;
    assert_eq!(held_back.state, NoticeState::Refused);
    assert_eq!(held_back.reason, "peer_lacks_protocol");
    run(&dk, &fr).await;
    assert_eq!(fr.notice(&id).await.unwrap().notice.text, TEXT);
    // Offered, not acknowledged, and the peer goes back to the version before.
    let second = dk.send(&fr, "Another.").await.unwrap();
    Link::open(&dk, &fr).await.cut(Cut::Sending).await;
    Link::open_speaking(&dk, &fr, 1).await.run().await;
    assert!(fr.notice(&second).await.is_none());
    run(&dk, &fr).await;
    assert_eq!(fr.logged("notice.received"), 2);
    assert!(fr.notice(&second).await.is_some());
}

#[tokio::test]
async fn a_notice_on_a_stream_of_protocol_1_is_refused() {
    let (dk, fr) = pair().await;
    let id = dk.send(&fr, TEXT).await.unwrap();
    let (sender, receiver) = (&dk.node.authority, &fr.node.authority);
    let held = exchange::standing_of_log(&dk.node).unwrap();
    let standing = exchange::Standing { protocols: Versions::new(1, 1), ..held };
    let (mut reception, agreed) = exchange::hello(&fr.node, sender, &standing).await.unwrap();
    assert_eq!(agreed.protocol, 1);
    // A sender that does not keep to what was agreed.
    let other = exchange::Resume { protocol: 2, ..agreed };
    let sending = exchange::Sending::resume(&dk.node, receiver, &other).await.unwrap();
    let batch = sending.next(&dk.node, false).await.unwrap().unwrap();
    assert_eq!(batch.items.len(), 1);
    let (receipt, _) = reception.receive(&fr.node, batch).await.unwrap();
    let receipt: exchange::Receipt = crate::jose::peek(exchange::RECEIPT_TYP, &receipt).unwrap();
    let reasons: Vec<_> = receipt.refused.iter().map(|refused| refused.reason.as_str()).collect();
    assert_eq!(reasons, ["peer_lacks_protocol"]);
    assert!(fr.notice(&id).await.is_none());
}

#[tokio::test]
async fn a_notice_that_a_peer_repeats_is_logged_once_for_a_batch() {
    let (dk, fr) = pair().await;
    dk.send(&fr, TEXT).await.unwrap();
    let jws = forged(&dk, &fr).sign(&dk.node.statement_key).unwrap();
    let mut forger = Forger::open(&dk, &fr).await;
    let refused = forger.give(vec![(Kind::Notice, jws); 60]).await;
    assert!(refused.is_empty(), "{refused:?}");
    assert_eq!((fr.logged("notice.received"), fr.logged("notice.repeated")), (1, 1));
    assert!(fr.log_says("\"count\":59"));
    assert_eq!(fr.received(&dk).held, 1);
}

#[tokio::test]
async fn words_that_replace_one_another_have_a_bound_and_an_older_one_changes_nothing() {
    let (dk, fr) = pair().await;
    let id = dk.send(&fr, TEXT).await.unwrap();
    run(&dk, &fr).await;
    let start = dk.node.clock.now().seconds() - 1000;
    let word = |seconds: i64| {
        let said = Acknowledgement {
            iss: fr.node.authority.clone(),
            aud: dk.node.authority.clone(),
            jti: id.clone(),
            iat: start + seconds,
            who: format!("desk {seconds}"),
        };
        (Kind::Acknowledgement, said.sign(&fr.node.statement_key).unwrap())
    };
    let mut forger = Forger::open(&fr, &dk).await;
    // The first, and as many as replace it in a day.
    let last = i64::from(NOTICES_A_DAY_MAX);
    for from in (0..=last).step_by(50) {
        let words = (from..(from + 50).min(last + 1)).map(word).collect();
        assert_eq!(forger.give(words).await, [""; 0]);
    }
    let entered = || dk.logged("notice.acknowledgement_received");
    let took = u32::try_from(entered()).unwrap();
    assert_eq!(took, NOTICES_A_DAY_MAX + 1);
    assert_eq!(forger.give(vec![word(last + 1)]).await, ["too_many_notices"]);
    // The same again, older ones, and another one of the same second.
    let other = {
        let who = "another desk".to_owned();
        let (iss, aud) = (fr.node.authority.clone(), dk.node.authority.clone());
        let said = Acknowledgement { iss, aud, jti: id.clone(), iat: start + last, who };
        (Kind::Acknowledgement, said.sign(&fr.node.statement_key).unwrap())
    };
    assert_eq!(forger.give(vec![word(last), word(0), word(1), other]).await, [""; 0]);
    assert_eq!(dk.logged("notice.acknowledgement_repeated"), 1);
    let who = || async { dk.notice(&id).await.unwrap().acknowledgement.unwrap().who };
    assert_eq!(who().await, format!("desk {last}"));
    dk.pass(24 * 3600);
    fr.pass(24 * 3600);
    assert_eq!(forger.give(vec![word(last + 1)]).await, [""; 0]);
    assert_eq!(who().await, format!("desk {}", last + 1));
}

#[tokio::test]
async fn refused_notices_take_no_place_from_refused_alerts() {
    let (dk, fr) = pair().await;
    let mut forger = Forger::open(&dk, &fr).await;
    for batch in 0..4 {
        let notice = |n: u8| {
            let jti = NoticeId::new(dk.node.authority.clone(), [batch, n, 0, 0, 0, 0]);
            let text = "\u{202e}hidden".to_owned();
            let notice = Notice { jti, text, ..forged(&dk, &fr) };
            (Kind::Notice, notice.sign(&dk.node.statement_key).unwrap())
        };
        let refused = forger.give((0..50).map(notice).collect()).await;
        assert_eq!(refused, ["notice_text_refused"; 50]);
    }
    let parked = admin::parked(&fr.node, &dk.node.authority).unwrap();
    assert_eq!(parked.len(), 128);
    // A withdrawal that does not verify is still shown.
    let said = serde_json::json!({
        "iss": "dk.politi", "jti": "dk.politi:2026-481920375", "ver": 1, "iat": 0,
    });
    let typ = Kind::Withdrawal.rules().typ;
    let jws = crate::jose::sign(typ, &said, &fr.node.statement_key).unwrap();
    assert_eq!(forger.give(vec![(Kind::Withdrawal, jws)]).await.len(), 1);
    assert_eq!(admin::parked(&fr.node, &dk.node.authority).unwrap().len(), 129);
}
