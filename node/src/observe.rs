//! What whoever watches this machine asks for, on a loopback port: metrics and health.

mod gauges;
mod serve;

pub use serve::serve;
