//! The commands, one file for each noun.

pub(crate) mod alert;
pub(crate) mod audit;
pub(crate) mod certs;
pub(crate) mod clock;
pub(crate) mod demo;
pub(crate) mod epoch;
pub(crate) mod identity;
pub(crate) mod node;
pub(crate) mod notice;
pub(crate) mod peer;
pub(crate) mod policy;
pub(crate) mod profile;
pub(crate) mod sample;
pub(crate) mod search;
pub(crate) mod user;
