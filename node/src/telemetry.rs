//! What the node reports while it works: log lines without personal data, and counters.

mod accept;
mod calls;
mod counters;
mod log;

pub use accept::AcceptFailures;
pub use calls::{CallsLayer, CountCalls, CountedBody};
pub(crate) use counters::panicked;
pub(crate) use counters::recorder;
pub use counters::{index_fault, refused, reloaded};
pub use log::init_log;
