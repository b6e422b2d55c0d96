//! Scans: which records of a table, in the order of their keys, page by page.

use std::marker::PhantomData;

use super::keys::KeyPrefix;
use super::table::key_bytes;
use super::{StoreError, Table};

/// Records read at a time where each is looked at by itself.
pub const PAGE: usize = 256;

/// Key and value of a record.
pub type RecordOf<T> = (<T as Table>::Key, <T as Table>::Value);

/// Whatever records are read from: a [`Store`](super::Store) as it is now, a
/// [`Snapshot`](super::Snapshot) of it, a transaction.
pub trait Read {
    /// Reads one record.
    ///
    /// # Errors
    /// When it cannot be read.
    fn get<T: Table>(&self, key: &T::Key) -> Result<Option<T::Value>, StoreError>;

    /// Reads the first records of a scan, at most `limit`.
    ///
    /// # Errors
    /// When one cannot be read.
    fn scan<T: Table>(&self, scan: Scan<T>, limit: usize) -> Result<Vec<RecordOf<T>>, StoreError>;
}

/// Records of a table in the order of their keys: all of them, or those whose keys begin alike.
///
/// ```
/// use entente_node::id::AuthorityId;
/// use entente_node::store::{Ledger, Offers, Scan};
///
/// let peer: AuthorityId = "fr.police".parse().unwrap();
/// let offers_after_the_seventh = Scan::<Offers>::of(&peer).after(&(peer.clone(), 7));
/// let everything = Scan::<Ledger>::all();
/// ```
pub struct Scan<T> {
    pub(super) prefix: Vec<u8>,
    pub(super) start: Vec<u8>,
    table: PhantomData<T>,
}

impl<T: Table> Scan<T> {
    /// Every record.
    pub fn all() -> Self {
        Self::within(vec![T::PREFIX])
    }

    /// The records whose keys begin with `part`.
    pub fn of(part: &impl KeyPrefix<T::Key>) -> Self {
        let mut prefix = vec![T::PREFIX];
        part.encode(&mut prefix);
        Self::within(prefix)
    }

    fn within(prefix: Vec<u8>) -> Self {
        Self { start: prefix.clone(), prefix, table: PhantomData }
    }

    /// Only those after this key, which need not be there; `None` leaves the scan as it is.
    #[must_use]
    pub fn after<'a>(mut self, key: impl Into<Option<&'a T::Key>>) -> Self
    where
        T::Key: 'a,
    {
        if let Some(key) = key.into() {
            self.start_behind(&key_bytes::<T>(key));
        }
        self
    }

    /// As [`Self::after`], of a key as the database holds it; from the first record where it is
    /// empty.
    pub(super) fn after_bytes(mut self, key: &[u8]) -> Self {
        if !key.is_empty() {
            self.start_behind(key);
        }
        self
    }

    fn start_behind(&mut self, key: &[u8]) {
        // No key is the beginning of another: this is the next one that there can be.
        let start = [key, &[0]].concat();
        if start > self.start {
            self.start = start;
        }
    }

    /// The same records, at most `size` of them at a time.
    pub fn pages(self, size: usize) -> Pages<T> {
        Pages { scan: Some(self), size }
    }

    /// Calls `f` with each record, of which few are in memory at a time.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn for_each(
        self,
        from: &impl Read,
        mut f: impl FnMut(T::Key, T::Value),
    ) -> Result<(), StoreError> {
        let mut pages = self.pages(PAGE);
        while let Some(page) = pages.next(from)? {
            page.into_iter().for_each(|(key, value)| f(key, value));
        }
        Ok(())
    }
}

impl<T> Clone for Scan<T> {
    fn clone(&self) -> Self {
        Self { prefix: self.prefix.clone(), start: self.start.clone(), table: PhantomData }
    }
}

/// The pages of a [`Scan`]. Each may be read of another state, and between two of them records may
/// be written: a record that stays is seen once.
pub struct Pages<T> {
    scan: Option<Scan<T>>,
    size: usize,
}

impl<T> Clone for Pages<T> {
    fn clone(&self) -> Self {
        Self { scan: self.scan.clone(), size: self.size }
    }
}

impl<T: Table> Pages<T> {
    /// The next page; `None` behind the last one.
    ///
    /// # Errors
    /// When a record cannot be read.
    pub fn next(&mut self, from: &impl Read) -> Result<Option<Vec<RecordOf<T>>>, StoreError> {
        let Some(scan) = self.scan.take() else { return Ok(None) };
        let page = from.scan(scan.clone(), self.size)?;
        match page.last() {
            Some((last, _)) if page.len() == self.size => self.scan = Some(scan.after(last)),
            Some(_) => {}
            None => return Ok(None),
        }
        Ok(Some(page))
    }
}
