//! Tables as bytes: a prefix before every key, records in postcard.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StoreError;
use super::keys::TableKey;

/// Largest value, in bytes: sled moves larger ones to files that the flush does not cover.
pub const VALUE_BYTES_MAX: usize = 256 * 1024;

/// A table: one key prefix, typed keys and values.
pub trait Table {
    /// First byte of every key; unique.
    const PREFIX: u8;
    /// Its keys.
    type Key: TableKey;
    /// Its values.
    type Value: Serialize + DeserializeOwned + Send;
}

pub(super) fn key_bytes<T: Table>(key: &T::Key) -> Vec<u8> {
    let mut bytes = vec![T::PREFIX];
    key.encode(&mut bytes);
    bytes
}

pub(super) fn decode<T: Table>(bytes: &[u8]) -> Result<T::Value, StoreError> {
    postcard::from_bytes(bytes).map_err(|_| unreadable::<T>())
}

pub(super) fn decode_record<T: Table>(
    key: &[u8],
    value: &[u8],
) -> Result<(T::Key, T::Value), StoreError> {
    let mut rest = key.get(1..).unwrap_or_default();
    let key = T::Key::take(&mut rest).filter(|_| rest.is_empty()).ok_or_else(unreadable::<T>)?;
    Ok((key, decode::<T>(value)?))
}

pub(super) fn unreadable<T: Table>() -> StoreError {
    StoreError::Corrupt(format!("a record of table {:#04x} cannot be read", T::PREFIX))
}
