//! The time that is noted in the store now and then, with which a start compares its clock.

use crate::id::Timestamp;
use crate::store::{Meta, Store, StoreError, Tx};

/// Key in [`Meta`] of the time last noted, seconds as eight big-endian bytes.
const CLOCK_KEY: &str = "clock";

/// The time that was noted before the start.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn noted(store: &Store) -> Result<Option<Timestamp>, StoreError> {
    let noted = store.get::<Meta>(&CLOCK_KEY.to_owned())?;
    let seconds = noted.and_then(|bytes| bytes.try_into().ok()).map(i64::from_be_bytes);
    Ok(seconds.map(Timestamp::from_seconds))
}

pub(crate) fn note(tx: &mut Tx<'_>, time: Timestamp) {
    tx.put::<Meta>(&CLOCK_KEY.to_owned(), &time.seconds().to_be_bytes().to_vec());
}
