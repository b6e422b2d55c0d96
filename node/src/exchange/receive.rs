//! The receiver's end of a stream: judges, applies, and says what is durable.

mod apply;
mod error;
mod judge;
mod reception;
mod snapshot;
mod verified;
mod witness;

pub use error::ReceiveError;
pub use reception::{Reception, hello};
