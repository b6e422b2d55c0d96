//! Use cases of the federation: offer, receive, acknowledge, retract, recover.
//!
//! A statement goes `feed → plan → Commit{Offered} → batch → Commit{Received} → receipt →
//! Commit{Acknowledged}`. `send` and `receive` are the two ends of a stream and do not know each
//! other; `recover` leads from a loss of state to new epochs; the other files are the ground that
//! they stand on.

mod addressed;
mod batch;
mod greeting;
mod kind;
mod lease;
mod ledger;
mod log_word;
mod parked;
mod peer_log;
mod receive;
mod recover;
mod restores;
mod send;
mod statement;
mod stop;
mod stream;

pub(crate) use addressed::{feed_to, forget_addressed, stop_addressed};
pub use batch::{BATCH_BYTES_MAX, BATCH_ITEMS_MAX, Batch, Item, Statement};
pub use greeting::{Resume, Standing, no_common_protocol};
pub use kind::{Kind, Leaves, Rules};
pub use lease::{Heard, behind, heard, is_silent, lease, lease_of, silent_peers, unheard_peers};
pub use parked::{FUTURE_IAT, retry_parked};
pub use peer_log::log_alarm;
pub use receive::{ReceiveError, Reception, hello};
pub use recover::{
    Approval, RecoverError, RecoveryCursor, any_taken_back, asked, confirm_taken_back, followed,
    heal_fork, keep_recovered, record_restore, restore_due, start_epochs, statements_of,
};
pub use send::{SendError, Sending, key_in_force, next_rule_end, standing_of_log};
pub use statement::{
    HEAD_TYP, Head, Nonce, RECEIPT_TYP, RETRACTION_TYP, Receipt, Refused, Retraction,
};
pub(crate) use stop::is_stopped;
pub use stop::{is_unasked, lost_heads, lost_state, must_ask, own_log_alarm};
pub(crate) use stream::policy_version;
pub use stream::{decide_anew, feed, halt, open_stream, outlived, sweep};

/// Versions of the protocol between nodes that this version speaks; each stream goes by the highest
/// that both its ends do.
///
/// - 1: the first. Receivers of 1 refuse every hello that does not name just 1.
/// - 2: hellos name a range, and receipts the version that was agreed upon.
pub const PROTOCOLS: Versions = Versions::new(1, 2);

use crate::id::Versions;

#[cfg(test)]
mod tests;
