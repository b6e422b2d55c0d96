//! What can go wrong with a store, and what to do about it.

use crate::worker::Panicked;

/// Why a commit did not happen.
#[derive(Debug, thiserror::Error)]
pub enum CommitError<E> {
    /// The transaction refused; nothing was written.
    #[error("{0}")]
    Refused(E),
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
}

impl<E: From<StoreError>> CommitError<E> {
    /// The one error, for callers to whom a refusal and a failed store are answers alike.
    pub fn flatten(self) -> E {
        match self {
            Self::Refused(error) => error,
            Self::Store(error) => error.into(),
        }
    }
}

/// What goes wrong with a store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Too little free disk for a copy of what is held.
    #[error(
        "compacting needs up to {} MiB of disk beside the store, and {} MiB are free: free some, \
         or move the home to a larger disk",
        needed.div_ceil(1 << 20),
        free >> 20
    )]
    NoRoom {
        /// Bytes that the copy may take.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// Too little free disk for what grows the store.
    #[error("too little free disk: free some, or lower store.disk_free_bytes_min")]
    Full,
    /// A write failed: nothing is written until the store is open again, which it does by itself.
    #[error(
        "a write to the store failed ({0}): free disk space, or repair the disk; the node goes on \
         by itself once it takes writes"
    )]
    Failed(String),
    /// A file of it could not be read or written.
    #[error(
        "the disk failed ({0}): look at its free space and health, then run `entente-node check`"
    )]
    Io(String),
    /// Its content is damaged.
    #[error("the store is damaged ({0}): set the folder aside and restore a backup")]
    Corrupt(String),
    /// Another process has it open.
    #[error("the store is in use: another node runs on this home")]
    InUse,
    /// Written by an earlier version, and not upgraded.
    #[error("the store was written by an earlier version of Entente: {}", older(*slow))]
    Older {
        /// A start does not do it by itself.
        slow: bool,
    },
    /// Upgraded by a later version.
    #[error(
        "the store was upgraded by Entente {program} to schema {found}; this is Entente {}, which \
         reads schemas up to {known}: run that version or a later one, or restore a backup from \
         before the upgrade",
        crate::VERSION
    )]
    Newer {
        /// The version that opened it last.
        program: String,
        /// Its schema.
        found: u32,
        /// The last that this version reads.
        known: u32,
    },
    /// Of another authority.
    #[error("the store belongs to {0}: check the home folder")]
    OtherOwner(String),
    /// The node key is not the one it was made with.
    #[error("the node key does not open this store: restore keys/node.key that belongs to it")]
    WrongKey,
    /// The content was erased.
    #[error("the content was erased")]
    Erased,
    /// A transaction would have overwritten a record that it had not removed: a fault of this
    /// program.
    #[error(
        "a record is there already, so nothing was written: report this as a fault of the node"
    )]
    Occupied,
    /// A value is larger than [`VALUE_BYTES_MAX`](super::VALUE_BYTES_MAX).
    #[error("a record of {0} bytes is larger than the store takes")]
    TooLarge(usize),
    /// What was run against it panicked: a fault of this program.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// The store was closed.
    #[error("the node is ending; try again later")]
    Closed,
}

/// What to do about a store of an earlier version.
fn older(slow: bool) -> &'static str {
    if slow {
        "end the node, make a backup of its home, then run `entente-node upgrade --home DIR`"
    } else {
        "the next start upgrades it, or `entente-node upgrade --home DIR`"
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

impl From<postcard::Error> for StoreError {
    fn from(error: postcard::Error) -> Self {
        Self::Corrupt(error.to_string())
    }
}
