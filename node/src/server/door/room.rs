//! Places for connections that have not shown their identity yet, bounded in total and counted by
//! source. When all are taken a newcomer still gets one, and the oldest connection of the source
//! with the most gives way.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// This many from one source are a crowd: more than the people of one office who connect at the
/// same moment.
const CROWD: usize = 16;

/// The source of connections: an IPv4 address, or the /64 of an IPv6 address, since one stranger
/// easily controls a whole /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Source {
    V4(Ipv4Addr),
    V6([u16; 4]),
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6([a, b, c, d]) => {
                write!(f, "{}/64", Ipv6Addr::new(*a, *b, *c, *d, 0, 0, 0, 0))
            }
        }
    }
}

/// The places of a door.
#[derive(Clone)]
pub(super) struct Room(Arc<Mutex<Guests>>);

struct Guests {
    max: usize,
    count: usize,
    next: u64,
    /// Guests by source, oldest first; dropping a guest's sender tells it to leave.
    of: HashMap<Source, BTreeMap<u64, oneshot::Sender<()>>>,
}

impl Room {
    pub(super) fn new(max: usize) -> Self {
        Self(Arc::new(Mutex::new(Guests { max, count: 0, next: 0, of: HashMap::new() })))
    }

    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a newcomer.
    pub(super) fn enter(&self, source: Source) -> Place {
        let mut guests = self.guests();
        if guests.count >= guests.max {
            guests.one_gives_way();
        }
        let (stay, told) = oneshot::channel();
        let number = guests.next;
        guests.next += 1;
        guests.count += 1;
        guests.of.entry(source).or_default().insert(number, stay);
        Place { room: self.clone(), source, number, told }
    }

    /// Frees a place when there are no file descriptors, for the sake of its socket. It does so
    /// only if a source has many, since the next `accept` may fail with nobody waiting.
    pub(super) fn one_of_a_crowd_gives_way(&self) {
        let mut guests = self.guests();
        if guests.of.values().any(|of_one| of_one.len() >= CROWD) {
            guests.one_gives_way();
        }
    }
}

impl Guests {
    fn one_gives_way(&mut self) {
        let oldest = |guests: &BTreeMap<u64, _>| guests.keys().next().copied().unwrap_or(u64::MAX);
        let most = self
            .of
            .iter()
            .max_by_key(|(_, guests)| (guests.len(), std::cmp::Reverse(oldest(guests))));
        if let Some((source, number)) = most.map(|(source, guests)| (*source, oldest(guests))) {
            self.leave(source, number);
        }
    }

    fn leave(&mut self, source: Source, number: u64) {
        let Some(guests) = self.of.get_mut(&source) else { return };
        if guests.remove(&number).is_some() {
            self.count -= 1;
        }
        if guests.is_empty() {
            self.of.remove(&source);
        }
    }
}

/// One connection's place; given back when dropped.
pub(super) struct Place {
    room: Room,
    source: Source,
    number: u64,
    told: oneshot::Receiver<()>,
}

impl Place {
    /// Returns when the place is needed for another.
    pub(super) async fn needed(&mut self) {
        // Nobody sends: the sender is dropped.
        let _ = (&mut self.told).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.guests().leave(self.source, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn gave_way(place: &mut Place) -> bool {
        !matches!(place.told.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }

    #[test]
    fn a_source_is_an_address_or_the_network_of_one() {
        assert_eq!(source("192.0.2.7"), source("::ffff:192.0.2.7"));
        assert_ne!(source("192.0.2.7"), source("192.0.2.8"));
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::9"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_eq!(source("192.0.2.7").to_string(), "192.0.2.7");
        assert_eq!(source("2001:db8:1:2::1").to_string(), "2001:db8:1:2::/64");
    }

    #[test]
    fn the_oldest_of_the_most_numerous_source_gives_way() {
        let room = Room::new(4);
        let (one, many) = (source("192.0.2.1"), source("192.0.2.2"));
        let mut first = room.enter(one);
        let mut strangers: Vec<_> = (0..3).map(|_| room.enter(many)).collect();
        assert!(!strangers.iter_mut().any(gave_way), "there was room");
        let mut second = room.enter(one);
        assert!(gave_way(&mut strangers[0]) && !gave_way(&mut strangers[1]));
        // Two each: the oldest of all gives way.
        let _third = room.enter(source("192.0.2.3"));
        assert!(gave_way(&mut first) && !gave_way(&mut second) && !gave_way(&mut strangers[1]));
        assert_eq!(room.guests().count, 4);
    }

    #[test]
    fn a_place_is_given_back_once() {
        let room = Room::new(2);
        let many = source("192.0.2.2");
        let places: Vec<_> = (0..10).map(|_| room.enter(many)).collect();
        assert_eq!(room.guests().count, 2);
        drop(places);
        assert_eq!(room.guests().count, 0);
        assert!(room.guests().of.is_empty());
    }

    #[test]
    fn only_of_a_crowd_one_gives_way_for_its_socket() {
        let room = Room::new(100);
        room.one_of_a_crowd_gives_way();
        let many = source("192.0.2.2");
        let mut good = room.enter(source("192.0.2.1"));
        let mut places: Vec<_> = (1..CROWD).map(|_| room.enter(many)).collect();
        room.one_of_a_crowd_gives_way();
        assert!(!places.iter_mut().any(gave_way));
        places.push(room.enter(many));
        room.one_of_a_crowd_gives_way();
        assert!(gave_way(&mut places[0]) && !places[1..].iter_mut().any(gave_way));
        assert!(!gave_way(&mut good));
    }
}
