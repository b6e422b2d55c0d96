//! The node of an authority: it keeps, signs, minimises and exchanges alerts about trafficking in
//! human beings. The modules are declared in the order of the map below.
#![doc = ""]
#![doc = include_str!("../../ARCHITECTURE.md")]

/// Version of the programs, the commit they are built from, and how: `0.1.0 (commit 22c1542ab12f,
/// release build)`.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("ENTENTE_BUILD"), ")");

pub mod reason;
pub mod id;
pub mod text;
mod toml_line;
pub mod jose;
pub mod alert;
pub mod pki;
pub mod notice;
pub mod trust;
pub mod roles;
pub mod policy;
pub mod matching;
pub mod sample;
pub mod audit;
pub mod config;
pub mod tls;
pub mod telemetry;
pub mod worker;
pub mod store;
pub mod precedence;
pub mod node;
pub mod home;
pub mod holding;
pub mod exchange;
pub mod readiness;
pub mod desk;
pub mod admin;
pub mod shutdown;
pub mod wire;
pub mod outbound;
pub mod server;
pub mod observe;
pub mod run;
pub mod command;
