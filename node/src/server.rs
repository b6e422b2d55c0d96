//! What others start: both doors, their limits, and who is calling.

pub mod desk;
pub mod admin;
pub mod door;
pub mod exchange;
