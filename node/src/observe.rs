//! Metrics and health for monitoring, on a loopback port.

mod gauges;
mod serve;

pub use serve::serve;
