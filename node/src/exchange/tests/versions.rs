//! Nodes of two versions: each stream goes by the highest that both speak.

use super::{ALL, delivered};
use crate::exchange::{
    self, PROTOCOLS, RECEIPT_TYP, Receipt, ReceiveError, Resume, SendError, Sending, Standing,
};
use crate::id::Versions;
use crate::jose;

#[tokio::test]
async fn a_receipt_has_the_form_of_the_version_that_both_speak() {
    let (dk, fr, _) = delivered(ALL).await;
    let (sender, receiver) = (&dk.node.authority, &fr.node.authority);
    let newest = PROTOCOLS.max;
    for (number, (min, max, agreed)) in
        (20..).zip([(1, 1, 1), (1, newest, newest), (newest, newest + 1, newest)])
    {
        dk.create(number).await;
        let held = exchange::standing_of_log(&dk.node).unwrap();
        let standing = Standing { protocols: Versions::new(min, max), ..held };
        let (mut reception, resume) = exchange::hello(&fr.node, sender, &standing).await.unwrap();
        assert_eq!(resume.protocol, agreed, "{min} to {max}");
        let sending = Sending::resume(&dk.node, receiver, &resume).await.unwrap();
        let batch = sending.next(&dk.node, false).await.unwrap().unwrap();
        let (jws, nonce) = reception.receive(&fr.node, batch).await.unwrap();
        let receipt: Receipt = jose::peek(RECEIPT_TYP, &jws).unwrap();
        assert_eq!(receipt.protocol, (agreed > 1).then_some(agreed), "1 knows no such field");
        // A sender that goes by another version refuses it.
        let other = Resume { protocol: if agreed == 1 { newest } else { 1 }, ..resume };
        let other = Sending::resume(&dk.node, receiver, &other).await.unwrap();
        let refused = other.take(&dk.node, &jws, nonce).await;
        assert!(matches!(refused, Err(SendError::ReceiptForm(_))), "{refused:?}");
        sending.take(&dk.node, &jws, nonce).await.unwrap();
        assert_eq!(dk.stream(&fr).acked, receipt.seq);
    }
}

#[tokio::test]
async fn a_sender_without_a_common_version_is_told_who_must_upgrade() {
    let (dk, fr, _) = delivered(ALL).await;
    for (theirs, older) in [(Versions::new(7, 9), "this node"), (Versions::new(0, 0), "the sender")]
    {
        let standing = Standing { protocols: theirs, ..Standing::default() };
        let refused = exchange::hello(&fr.node, &dk.node.authority, &standing).await.err().unwrap();
        assert!(matches!(&refused, ReceiveError::NoCommonProtocol(said) if *said == theirs));
        let said = format!("speaks protocol {PROTOCOLS}, the sender {theirs}: upgrade {older}");
        assert!(refused.to_string().ends_with(&said), "{refused}");
    }
}
