//! proto ↔ domain: the only parser of what others send; errors → `Status`.

pub mod admin;
pub mod desk;
pub mod exchange;
pub mod refusal;
