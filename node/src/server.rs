//! What others start: both doors, who is calling, whether they may and for how long, and what a
//! call may hold.

pub mod admin;
pub mod audit;
pub mod desk;
pub mod door;
pub mod exchange;
pub mod gate;
pub mod serve;
