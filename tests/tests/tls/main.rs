//! TLS at the two doors.

mod chains;
mod client;
mod intermediates;
mod profile;
mod protocol;
mod refused;
mod renewal;
mod roots;
mod strangers;
