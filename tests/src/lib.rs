//! Real nodes over real TLS on loopback, with a proxy in between that can be cut, slowed and reset.

pub mod disk;
pub mod federation;
pub mod fuzz;
pub mod kept;
pub mod marks;
pub mod processes;
pub mod proxy;
pub mod simulation;
