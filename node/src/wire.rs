//! Converts between messages and domain types, and is the only parser of what others send; turns
//! errors into `Status`.

pub mod admin;
pub mod desk;
pub mod exchange;
pub mod notice;
pub mod refusal;
