//! The sender's end of a stream: decides, offers durably, resumes after a cut, takes receipts.

mod acknowledge;
mod compare;
mod error;
mod offer;
mod opened;
mod plan;
mod replay;
mod resume;
mod rules;
mod sending;
mod standing;

pub use error::SendError;
pub use rules::{key_in_force, next_rule_end};
pub use sending::Sending;
pub use standing::standing_of_log;
