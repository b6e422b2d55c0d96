//! What others start: the two doors, who is calling, whether they may and for how long, and how
//! much a call may use.

pub mod admin;
pub mod audit;
pub mod desk;
pub mod door;
pub mod doors;
pub mod exchange;
pub mod gate;
pub mod notices;
pub mod serve;
