//! Sealed tokens: what is in a cell, and how it is opened. In front of the token stands a summary,
//! sealed by itself, so that a list of a thousand alerts opens no token.

use bytes::Bytes;

use super::cells::Run;
use super::pack::{pack, unpack};
use super::schema::{SealedToken, SlotId};
use super::seal::{SEAL_BYTES, seal, unseal};
use super::shared::Shared;
use super::slots::Slot;
use super::{Store, StoreError};
use crate::alert::{Category, Urgency, View};

/// Bytes of a summary before it is sealed: always as many, whatever it says.
const SUMMARY_BYTES: usize = 48;

/// Bytes of a summary in front of its token.
const SEALED_SUMMARY_BYTES: usize = SUMMARY_BYTES + SEAL_BYTES;

/// What lists say of an alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Where it is disclosed.
    pub category: Option<Category>,
    /// Where it is disclosed.
    pub urgency: Option<Urgency>,
}

impl Summary {
    /// Of an alert that is read.
    pub fn of(view: &View) -> Self {
        Self { category: view.content.category, urgency: view.content.urgency }
    }

    /// Both words, each with its length in front; an empty one is none.
    fn bytes(self) -> Vec<u8> {
        let category = self.category.map_or("", Category::as_str);
        let urgency = self.urgency.map_or("", Urgency::as_str);
        let mut bytes = Vec::with_capacity(SUMMARY_BYTES);
        for word in [category, urgency] {
            bytes.push(word.len() as u8);
            bytes.extend(word.as_bytes());
        }
        bytes.resize(SUMMARY_BYTES, 0);
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let word = |bytes: &[u8]| {
            let (length, rest) = bytes.split_first()?;
            let (word, rest) = rest.split_at_checked((*length).into())?;
            Some((std::str::from_utf8(word).ok()?.to_owned(), rest.to_vec()))
        };
        let (category, rest) = word(bytes)?;
        let (urgency, _) = word(&rest)?;
        let category = if category.is_empty() { None } else { Some(category.parse().ok()?) };
        let urgency = if urgency.is_empty() { None } else { Some(urgency.parse().ok()?) };
        Some(Self { category, urgency })
    }
}

fn of_summary(associated_data: &[u8]) -> Vec<u8> {
    [associated_data, b"/summary"].concat()
}

fn closed() -> StoreError {
    StoreError::Corrupt("a sealed token does not open".to_owned())
}

impl Store {
    /// Seals a token under the slot's key, AES-256-GCM, and its summary; what they are about is
    /// authenticated with both ([`super::associated_data`]).
    pub fn seal(
        &self,
        slot: &Slot,
        associated_data: &[u8],
        summary: Summary,
        token: &[u8],
    ) -> Bytes {
        let entropy = &self.0.shared.entropy;
        let mut cell = seal(slot.key(), &of_summary(associated_data), &summary.bytes(), entropy);
        cell.extend(seal(slot.key(), associated_data, &pack(token), entropy));
        cell.into()
    }
}

impl Shared {
    /// Opens a token that was sealed under this slot's key.
    pub(super) fn unseal(
        &self,
        id: SlotId,
        associated_data: &[u8],
        sealed: &SealedToken,
    ) -> Result<Vec<u8>, StoreError> {
        let slot = self.slots.read(id, &self.keys)?;
        let opened = match sealed {
            SealedToken::Inline(sealed) => unseal(slot.key(), associated_data, sealed),
            SealedToken::Cell(length) => {
                unseal(slot.key(), associated_data, &self.old_cells.read(id, *length)?)
            }
            SealedToken::Run { first, length } => {
                let length = (*length as usize).saturating_sub(SEALED_SUMMARY_BYTES);
                let sealed = self.cells.read(*first, SEALED_SUMMARY_BYTES, length)?;
                unseal(slot.key(), associated_data, &sealed).and_then(|packed| unpack(&packed))
            }
        };
        opened.ok_or_else(closed)
    }

    /// The summary that was sealed with a token; `None` where an earlier version sealed it, without
    /// one.
    pub(super) fn summary(
        &self,
        id: SlotId,
        associated_data: &[u8],
        sealed: &SealedToken,
    ) -> Result<Option<Summary>, StoreError> {
        let SealedToken::Run { first, .. } = sealed else { return Ok(None) };
        let slot = self.slots.read(id, &self.keys)?;
        let sealed = self.cells.read(*first, 0, SEALED_SUMMARY_BYTES)?;
        let opened = unseal(slot.key(), &of_summary(associated_data), &sealed);
        let summary = opened.and_then(|bytes| Summary::read(&bytes));
        summary.map(Some).ok_or_else(closed)
    }
}

impl SealedToken {
    /// The run of cells that it takes.
    pub(super) fn run(&self) -> Option<Run> {
        match self {
            Self::Run { first, length } => Some(Run::of(*first, *length)),
            Self::Cell(_) | Self::Inline(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_summary_fits_and_comes_back() {
        let categories = Category::ALL.iter().copied().map(Some).chain([None]);
        for category in categories {
            for urgency in Urgency::ALL.iter().copied().map(Some).chain([None]) {
                let summary = Summary { category, urgency };
                assert_eq!(summary.bytes().len(), SUMMARY_BYTES);
                assert_eq!(Summary::read(&summary.bytes()), Some(summary));
            }
        }
        assert_eq!(Summary::read(&[]), None);
        assert_eq!(Summary::read(&[9, 1]), None);
    }
}
