//! The gate before both doors' services: who may call what, what a caller may hold, and when a call
//! ends.

mod authority;
mod judged;
mod memory;
mod messages;
mod raw;
