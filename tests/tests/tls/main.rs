//! TLS at the two doors.

mod client;
mod profile;
mod protocol;
mod renewal;
mod roots;
