//! Use cases of the federation: offer, receive, acknowledge, retract, recover.
//!
//! A statement goes `feed → plan → Commit{Offered} → batch → Commit{Received} → receipt →
//! Commit{Acknowledged}`; the files below stand in that order.

mod acknowledge;
mod clock;
mod dispatch;
mod live;
mod lost;
mod parked;
mod plan;
mod receive;
mod recover;
mod resume;
mod statement;
mod stream;
mod witness;

pub use acknowledge::{AcknowledgeError, acknowledge};
pub use clock::{ClockDoubt, ClockWatch, Witness, clock_doubt, look_at_clock};
pub(crate) use clock::{believe_clock, noted};
pub use dispatch::{DispatchError, Dispatcher, Offering, key_in_force, next_rule_end};
pub use live::{
    Heard, Live, StreamStatus, Streams, behind, heard, is_silent, lease, lease_of, silent_peers,
    unheard_peers,
};
pub(crate) use lost::is_stopped;
pub use lost::{
    Approval, Standing, any_taken_back, asked, confirm_taken_back, is_unasked, lost_heads,
    lost_state, must_ask, own_log_alarm, record_restore, standing_of_log,
};
pub use parked::{FUTURE_IAT, retry_parked};
pub use receive::{ReceiveError, Reception, hello};
pub use recover::{Handed, RecoverError, followed, heal_fork, keep_recovered, statements_of};
pub use resume::{Place, Resume, ResumeError, Resumed, batches, resume};
pub use statement::{
    HEAD_TYP, Head, Nonce, RECEIPT_TYP, RETRACTION_TYP, Receipt, Refused, Retraction,
};
pub use stream::{
    BATCH_BYTES_MAX, BATCH_ITEMS_MAX, Batch, Item, Statement, decide_anew, feed, halt, open_stream,
    outlived, start_epochs, sweep,
};
pub(crate) use stream::{may_hold, policy_version, within};
pub use witness::log_alarm;

/// Version of the protocol between nodes.
pub const PROTOCOL: u32 = 1;

#[cfg(test)]
mod tests;
