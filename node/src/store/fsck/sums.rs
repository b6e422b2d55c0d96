//! Sums over what must agree, so that it can be compared without holding it: the order does not
//! matter, and two sums that are equal were made over the same, since nobody knew the salt.

use std::ops::AddAssign;

use serde::Serialize;

use crate::id::Digest;
use crate::store::open::for_each;
use crate::store::recent::backwards;
use crate::store::schema::{Expiries, Feed, LastChanges, Matches, Recent};
use crate::store::{Facet, Store, StoreError};

/// Fresh for each check.
pub(super) type Salt = [u8; 16];

/// Sum of digests.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum(u128);

impl Sum {
    /// Adds one item.
    pub(super) fn add(&mut self, salt: Salt, item: &impl Serialize) {
        let item = postcard::to_allocvec(item).unwrap_or_default();
        let digest = Digest::of_parts(&[&salt, &item]).0;
        let digest = digest.first_chunk().map_or(0, |first| u128::from_be_bytes(*first));
        self.0 = self.0.wrapping_add(digest);
    }
}

/// What records say, and what stands beside them.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// Alerts that are held; those that the list takes for live.
    pub(super) held: Sum,
    /// Match keys of each alert.
    pub(super) indexed: Sum,
    /// When each ends.
    pub(super) expiring: Sum,
    /// Place of each own alert in the feed.
    pub(super) feed: Sum,
    /// Of the list alone: last changes less places in the list. Nothing where they agree.
    pub(super) listed: Sum,
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        let Self { held, indexed, expiring, feed, listed } = self;
        for (sum, other) in [
            (held, other.held),
            (indexed, other.indexed),
            (expiring, other.expiring),
            (feed, other.feed),
            (listed, other.listed),
        ] {
            sum.0 = sum.0.wrapping_add(other.0);
        }
    }
}

impl Store {
    /// Sums over what stands beside the records of alerts.
    pub(super) fn sums_beside(&self, salt: Salt) -> Result<Sums, StoreError> {
        let mut sums = Sums::default();
        for_each::<Matches>(self, |(key, id), entry| {
            sums.indexed.add(salt, &(key, id, entry.own));
        })?;
        for_each::<Expiries>(self, |(at, id), ()| sums.expiring.add(salt, &(at, id)))?;
        for_each::<Feed>(self, |place, entry| {
            if let Some(alert) = entry.subject.alert().filter(|_| !entry.withdrawn) {
                sums.feed.add(salt, &(place, alert));
            }
        })?;
        let mut places = Sum::default();
        for_each::<LastChanges>(self, |id, change| {
            if change.live {
                sums.held.add(salt, &id);
                sums.listed.add(salt, &(id, change.entry));
            }
        })?;
        let live = Facet::Live.key(&self.0.shared.keys);
        for_each::<Recent>(self, |(facet, place), alert| {
            if facet == live {
                places.add(salt, &(alert.id, backwards(place)));
            }
        })?;
        sums.listed = Sum(sums.listed.0.wrapping_sub(places.0));
        Ok(sums)
    }
}
