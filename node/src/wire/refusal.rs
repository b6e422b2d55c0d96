//! Refusals as they leave every door: a status with a reason for programs and a sentence for
//! people.

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::reason::Reason;
use crate::store::StoreError;

/// A status with the reason that programs read and a sentence for people.
pub fn refusal(code: Code, reason: Reason, message: &str) -> Status {
    entente_proto::refusal(code, reason.as_str(), message)
}

/// Whether a peer's status names this reason.
pub fn is_for(status: &Status, reason: Reason) -> bool {
    let info = status.get_details_error_info();
    info.is_some_and(|info| info.reason == reason.as_str())
}

/// A message that does not say what its type promises; names the field.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the field {0} is missing or malformed")]
pub struct Malformed(pub &'static str);

impl From<Malformed> for Status {
    fn from(error: Malformed) -> Self {
        refusal(Code::InvalidArgument, Reason::MalformedMessage, &error.to_string())
    }
}

/// A full disk is the caller's to know; anything else is tried again later.
pub(super) fn store_code(error: &StoreError) -> Code {
    match error {
        StoreError::Full | StoreError::TooLarge(_) => Code::ResourceExhausted,
        StoreError::Corrupt(_) | StoreError::WrongKey | StoreError::Erased => Code::DataLoss,
        StoreError::Occupied | StoreError::Panicked(_) => Code::Internal,
        _ => Code::Unavailable,
    }
}
