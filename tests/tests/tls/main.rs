//! TLS at the two doors.

mod chains;
mod client;
mod profile;
mod protocol;
mod renewal;
mod roots;
