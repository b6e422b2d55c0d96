//! Ranges of versions: what a node speaks or reads, so that two nodes need not be upgraded at once.

use std::fmt;

/// Versions of one thing that a node can deal with, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The lowest.
    pub min: u32,
    /// The highest.
    pub max: u32,
}

impl Versions {
    /// From the lowest to the highest.
    pub const fn new(min: u32, max: u32) -> Self {
        Self { min, max }
    }

    /// As a peer says them: one from before there were ranges says only one version.
    pub fn said(min: u32, max: u32) -> Self {
        Self { min, max: if max == 0 { min } else { max } }
    }

    /// Whether it can deal with this one.
    pub fn contains(self, version: u32) -> bool {
        (self.min..=self.max).contains(&version)
    }

    /// The highest version that both can deal with.
    pub fn common(self, other: Self) -> Option<u32> {
        let highest = self.max.min(other.max);
        (self.contains(highest) && other.contains(highest)).then_some(highest)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.min == self.max {
            true => write!(f, "{}", self.min),
            false => write!(f, "{} to {}", self.min, self.max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_version_is_chosen() {
        let ours = Versions::new(2, 4);
        for (theirs, common) in [
            ((1, 1), None),
            ((1, 2), Some(2)),
            ((3, 3), Some(3)),
            ((2, 9), Some(4)),
            ((4, 9), Some(4)),
            ((5, 9), None),
            ((0, 0), None),
            // Turned round, as only a fault or an attack does.
            ((4, 1), None),
            ((u32::MAX, u32::MAX), None),
        ] {
            let theirs = Versions::new(theirs.0, theirs.1);
            assert_eq!(ours.common(theirs), common, "{theirs:?}");
            assert_eq!(theirs.common(ours), common, "{theirs:?}");
        }
        assert_eq!(Versions::said(1, 0), Versions::new(1, 1));
        assert_eq!(
            (ours.to_string(), Versions::said(1, 0).to_string()),
            ("2 to 4".into(), "1".into())
        );
    }
}
