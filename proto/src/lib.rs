//! The wire of Entente, generated from the files in `proto/entente`.

mod codec;

pub use codec::Codec;

/// A status with the stable reason that programs read.
pub fn refusal(code: tonic::Code, reason: &str, message: &str) -> tonic::Status {
    use tonic_types::{ErrorDetails, StatusExt};
    let details =
        ErrorDetails::with_error_info(reason, "entente", std::collections::HashMap::new());
    tonic::Status::with_error_details(code, message, details)
}

/// Node to node.
pub mod exchange {
    tonic::include_proto!("entente.exchange.v1");
}

/// Officers at their own node.
pub mod desk {
    tonic::include_proto!("entente.desk.v1");
}

/// Administrators, coordinators and auditors at their own node.
pub mod admin {
    tonic::include_proto!("entente.admin.v1");
}

/// The descriptors of all three files, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
