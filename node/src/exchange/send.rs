//! The sender's end of a stream: decide, offer durably, go on after a cut, take receipts.

mod acknowledge;
mod compare;
mod error;
mod offer;
mod plan;
mod replay;
mod resume;
mod rules;

pub use acknowledge::{AcknowledgeError, acknowledge};
pub use error::{DispatchError, ResumeError};
pub use offer::{Dispatcher, Offering};
pub use resume::{Resumed, resume};
pub use rules::{key_in_force, next_rule_end};
