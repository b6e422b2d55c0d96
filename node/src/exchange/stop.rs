//! The stop of a node that lost state: nothing is issued until two people have reviewed what is in
//! force.

use crate::id::AuthorityId;
use crate::node::Node;
use crate::store::{
    Change, LostHead, LostHeads, Meta, Read, Scan, StoreError, StreamsOut, Tx, Unasked,
};

/// Key in [`Meta`] of the stop: present while this node may not issue.
const STOP_KEY: &str = "lost_state";

/// Most peers whose records are walked at once: ten times as many as a node is sized for.
pub(super) const PEERS_MAX: usize = 1024;

/// Whether the node found that it lost state (a peer showed later heads of its own): it issues
/// nothing then, and lets in only those who review what is in force.
///
/// # Errors
/// When the store cannot be read.
pub fn lost_state(node: &Node) -> Result<bool, StoreError> {
    is_stopped(&node.store)
}

/// As [`lost_state`], in a snapshot or inside a transaction.
pub(crate) fn is_stopped(from: &impl Read) -> Result<bool, StoreError> {
    Ok(from.get::<Meta>(&STOP_KEY.to_owned())?.is_some())
}

pub(super) fn begin_stop(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    if !is_stopped(tx)? {
        tx.put::<Meta>(&STOP_KEY.to_owned(), &tx.now().seconds().to_be_bytes().to_vec());
        for (peer, _) in tx.scan(Scan::<StreamsOut>::all(), PEERS_MAX)? {
            tx.put::<Unasked>(&peer, &());
        }
        // Open calls are judged again, and streams end.
        tx.announce(Change::Users);
        tx.announce(Change::Peers);
    }
    Ok(())
}

/// Ends the stop.
pub(super) fn end_stop(tx: &mut Tx<'_>) {
    tx.delete::<Meta>(&STOP_KEY.to_owned());
}

/// The heads that peers showed and that this node's log lacks, the largest first.
///
/// # Errors
/// When the store cannot be read.
pub fn lost_heads(node: &Node) -> Result<Vec<(AuthorityId, LostHead)>, StoreError> {
    let mut heads = node.store.scan(Scan::<LostHeads>::all(), PEERS_MAX)?;
    heads.sort_by_key(|(_, head)| (!head.both, std::cmp::Reverse(head.size)));
    Ok(heads)
}

/// What is wrong with this node's own log, in a sentence for people; `None` when nothing is known
/// to be.
///
/// # Errors
/// When the store cannot be read.
pub fn own_log_alarm(node: &Node) -> Result<Option<String>, StoreError> {
    let (heads, stopped) = (lost_heads(node)?, lost_state(node)?);
    let size = node.store.log().size();
    Ok(heads.first().map(|(peer, head)| told(peer, head, size, stopped)))
}

pub(super) fn told(peer: &AuthorityId, head: &LostHead, size: u64, stopped: bool) -> String {
    let LostHead { size: lost, signed_at, kept, both, .. } = head;
    if *both {
        return format!(
            "two nodes run with this authority's keys: what {peer} has seen of the other's log \
             grows while this node stands, and had {lost} entries on {signed_at}; end one of the \
             two"
        );
    }
    if stopped {
        return format!(
            "this node was restored from an old state: {peer} holds a head of its log with {lost} \
             entries, signed on {signed_at}; of those entries at most {kept} are in the log here, \
             which has {size}"
        );
    }
    format!(
        "two nodes run with this authority's keys, or an old state of this one was started and \
         given up: {peer} was shown another log, with {lost} entries, on {signed_at}"
    )
}

/// Whether a peer must be asked what it holds of ours before anything is sent to it, because it was
/// not reached while the node was stopped.
///
/// # Errors
/// When the store cannot be read.
pub fn must_ask(node: &Node, peer: &AuthorityId) -> Result<bool, StoreError> {
    Ok(!lost_state(node)? && is_unasked(node, peer)?)
}

/// Whether a peer has not been asked, since state was lost, what it holds of ours.
///
/// # Errors
/// When the store cannot be read.
pub fn is_unasked(node: &Node, peer: &AuthorityId) -> Result<bool, StoreError> {
    Ok(node.store.get::<Unasked>(peer)?.is_some())
}
