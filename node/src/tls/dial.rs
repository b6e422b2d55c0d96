//! Reaches a node at the first of its addresses that completes a handshake (RFC 8305): attempts
//! begin shortly one after the other, so that a silent or wrong address does not delay the next.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::{CertificateError as TlsError, Error as RustlsError};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::target::{Target, WrongCertificate, handshake};
use super::with_causes;
use crate::id::printable;
use crate::trust::{CertificateError, Reach};

/// How long looking up a name, a TCP connection and a handshake may each take.
pub const STEP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait for an address before trying the next as well (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// Most addresses tried, of all endpoints together: a name may have any number.
const ADDRESSES_MAX: usize = 16;

/// Whether to try the rest once one was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The first that completes a handshake.
    First,
    /// The same, and the result of all others, for a test.
    All,
}

/// The result of trying.
pub struct Dialled {
    /// The first that completed a handshake, with its endpoint and address.
    pub reached: Option<(TlsStream<TcpStream>, String, SocketAddr)>,
    /// What names resolved to.
    pub found: Vec<(String, Vec<SocketAddr>)>,
    /// The addresses that were not reached, and why.
    pub missed: Vec<Missed>,
}

/// An endpoint, or one of its addresses, at which the node was not reached.
#[derive(Clone, Debug)]
pub struct Missed {
    /// As the descriptor has it.
    pub endpoint: String,
    /// The address.
    pub address: Option<SocketAddr>,
    /// Why.
    pub why: Why,
}

/// The step that failed, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The name was not found.
    Name,
    /// No connection.
    Tcp,
    /// No handshake.
    Tls,
}

/// Why a node was not reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The name service does not know it, or did not answer.
    NotFound,
    /// The connection was refused or broke off; in the system's words.
    NoConnection(String),
    /// Nothing answered to the connection.
    Silent,
    /// A connection, and then no handshake.
    NoHandshake,
    /// What answers does not speak TLS 1.3 and HTTP/2.
    OtherService(String),
    /// Its certificate has ended, or has not begun.
    OutOfTime(String),
    /// Its certificate does not fit the profile.
    Unfit(String),
    /// Its certificate is another's.
    Misnamed(String),
    /// No root in its descriptor vouches for it.
    UnknownRoot(String),
    /// Anything else, in the words of TLS.
    Tls(String),
}

impl Why {
    /// The step that failed.
    pub fn step(&self) -> Step {
        match self {
            Self::NotFound => Step::Name,
            Self::NoConnection(_) | Self::Silent => Step::Tcp,
            _ => Step::Tls,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotFound => {
                "check the name in the peer's descriptor and this machine's name service"
            }
            Self::NoConnection(_) | Self::Silent => {
                "ask its contact desk whether the node runs, and check the firewalls between"
            }
            Self::NoHandshake => {
                "ask its contact desk whether the node is well; a firewall between, or another \
                 service at this port, may hold the connection"
            }
            Self::OtherService(_) => {
                "another service answers at this port: compare the endpoint in its descriptor with \
                 the address of its node's exchange door, and look for a proxy between"
            }
            Self::OutOfTime(_) => {
                "ask its contact desk to renew the certificate of its node; if theirs is in force, \
                 set this machine's clock right"
            }
            Self::Unfit(_) => {
                "what answers has no certificate of a node: compare the endpoint in its descriptor \
                 with the address of its node's exchange door, and look for a proxy between"
            }
            Self::Misnamed(_) => {
                "the endpoint in its descriptor leads to another's door: import its newest \
                 descriptor"
            }
            Self::UnknownRoot(_) => {
                "its certificate must be signed by a root in its descriptor: if it changed its \
                 roots, import its newest descriptor; a proxy between shows a certificate of its \
                 own too"
            }
            Self::Tls(_) => {
                "ask its contact desk what its node's log says of this authority, and update the \
                 older of the two nodes"
            }
        }
    }

    /// The reason for a failed handshake.
    fn of(error: &io::Error) -> Self {
        let Some(tls) = error.get_ref().and_then(|cause| cause.downcast_ref::<RustlsError>())
        else {
            return match error.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                    Self::OtherService("it closed the connection in the handshake".to_owned())
                }
                _ => Self::Tls(with_causes(error)),
            };
        };
        match tls {
            RustlsError::InvalidMessage(_) => {
                Self::OtherService("what it answers is not TLS".to_owned())
            }
            RustlsError::PeerIncompatible(_)
            | RustlsError::NoApplicationProtocol
            | RustlsError::AlertReceived(
                rustls::AlertDescription::ProtocolVersion
                | rustls::AlertDescription::NoApplicationProtocol
                | rustls::AlertDescription::HandshakeFailure
                | rustls::AlertDescription::UnrecognisedName,
            ) => Self::OtherService(with_causes(tls)),
            RustlsError::InvalidCertificate(error) => Self::of_certificate(error),
            RustlsError::General(error) => Self::UnknownRoot(printable(error)),
            _ => Self::Tls(with_causes(tls)),
        }
    }

    fn of_certificate(error: &TlsError) -> Self {
        let TlsError::Other(other) = error else {
            return match error {
                TlsError::Expired
                | TlsError::ExpiredContext { .. }
                | TlsError::NotValidYet
                | TlsError::NotValidYetContext { .. } => {
                    Self::OutOfTime(printable(&error.to_string()))
                }
                _ => Self::UnknownRoot(printable(&error.to_string())),
            };
        };
        match other.0.downcast_ref() {
            Some(WrongCertificate::Unfit(
                ended @ (CertificateError::Ended(_) | CertificateError::NotBegun(_)),
            )) => Self::OutOfTime(printable(&ended.to_string())),
            Some(WrongCertificate::Unfit(error)) => Self::Unfit(printable(&error.to_string())),
            Some(wrong @ WrongCertificate::Misnamed { .. }) => {
                Self::Misnamed(printable(&wrong.to_string()))
            }
            None => Self::Tls(printable(&error.to_string())),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timeout = STEP_TIMEOUT.as_secs();
        match self {
            Self::NotFound => write!(f, "the name is not found"),
            Self::NoConnection(error) | Self::Tls(error) => f.write_str(error),
            Self::Silent => write!(f, "no answer within {timeout} s"),
            Self::NoHandshake => write!(f, "no handshake within {timeout} s"),
            Self::OtherService(found) => write!(f, "not a node: {found}"),
            Self::OutOfTime(error) => write!(f, "its certificate is not in force: {error}"),
            Self::Unfit(error) => write!(f, "its certificate does not fit: {error}"),
            Self::Misnamed(error) => write!(f, "{error}"),
            Self::UnknownRoot(error) => {
                write!(f, "no root in its descriptor vouches for it: {error}")
            }
        }
    }
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = printable(&self.endpoint);
        match self.address {
            Some(address) if address.to_string() != endpoint => {
                write!(f, "{endpoint} ({address}): {}", self.why)
            }
            _ => write!(f, "{endpoint}: {}", self.why),
        }
    }
}

/// The failures, in one line.
pub fn listed(missed: &[Missed]) -> String {
    let found: Vec<_> = missed.iter().map(ToString::to_string).collect();
    found.join("; ")
}

/// The failures to reach a peer, with what to do about the one that got furthest.
pub fn told(missed: &[Missed]) -> String {
    match missed.iter().max_by_key(|missed| missed.why.step()) {
        Some(furthest) => format!("{}: {}", listed(missed), furthest.why.hint()),
        None => "there is no address to call".to_owned(),
    }
}

/// Tries the endpoints (`host:port`) in their order, each at all its addresses.
pub async fn dial(endpoints: &[String], target: &Target, wanted: Wanted) -> Dialled {
    let mut race = Race::new(endpoints);
    let mut next = Instant::now();
    loop {
        let waits = !race.queue.is_empty();
        tokio::select! {
            Some(found) = race.names.join_next() => {
                if let Ok((place, found)) = found {
                    race.resolved(place, found);
                }
            }
            Some(tried) = race.tries.join_next() => match tried {
                Ok(Ok(reached)) => race.reached(reached),
                Ok(Err(missed)) => {
                    race.missed.push(missed);
                    next = Instant::now();
                }
                Err(_) => {}
            },
            () = tokio::time::sleep_until(next), if waits => {
                race.begin_next(target);
                next = Instant::now() + STAGGER;
            }
            else => break,
        }
        if race.reached.is_some() && wanted == Wanted::First {
            break;
        }
    }
    race.found.sort_by_key(|(place, ..)| *place);
    let found = race.found.into_iter().map(|(_, endpoint, found)| (endpoint, found)).collect();
    Dialled { reached: race.reached, found, missed: race.missed }
}

type Reached = (TlsStream<TcpStream>, String, SocketAddr);

/// The attempts under way; dropping it ends those that are left.
struct Race {
    endpoints: Vec<String>,
    names: JoinSet<(usize, Vec<SocketAddr>)>,
    tries: JoinSet<Result<Reached, Missed>>,
    queue: VecDeque<(usize, SocketAddr)>,
    found: Vec<(usize, String, Vec<SocketAddr>)>,
    reached: Option<Reached>,
    missed: Vec<Missed>,
}

impl Race {
    fn new(endpoints: &[String]) -> Self {
        let mut names = JoinSet::new();
        for (place, endpoint) in endpoints.iter().cloned().enumerate() {
            names.spawn(async move { (place, addresses(&endpoint).await) });
        }
        Self {
            endpoints: endpoints.to_vec(),
            names,
            tries: JoinSet::new(),
            queue: VecDeque::new(),
            found: vec![],
            reached: None,
            missed: vec![],
        }
    }

    /// Addresses of an earlier endpoint come before those of a later one, whichever name was
    /// resolved first.
    fn resolved(&mut self, place: usize, found: Vec<SocketAddr>) {
        let endpoint = self.endpoints.get(place).cloned().unwrap_or_default();
        if found.is_empty() {
            let why = Why::NotFound;
            self.missed.push(Missed { endpoint: endpoint.clone(), address: None, why });
        }
        let known: usize = self.found.iter().map(|(.., found)| found.len()).sum();
        let found: Vec<_> = found.into_iter().take(ADDRESSES_MAX.saturating_sub(known)).collect();
        self.queue.extend(found.iter().map(|address| (place, *address)));
        self.queue.make_contiguous().sort_by_key(|(place, _)| *place);
        self.found.push((place, endpoint, found));
    }

    fn begin_next(&mut self, target: &Target) {
        let Some((place, address)) = self.queue.pop_front() else { return };
        let endpoint = self.endpoints.get(place).cloned().unwrap_or_default();
        let target = target.clone();
        self.tries.spawn(async move {
            match reach(address, &target).await {
                Ok(tls) => Ok((tls, endpoint, address)),
                Err(why) => Err(Missed { endpoint, address: Some(address), why }),
            }
        });
    }

    fn reached(&mut self, reached: Reached) {
        if self.reached.is_none() {
            self.reached = Some(reached);
        }
    }
}

/// The addresses of an endpoint, alternating between the two families.
async fn addresses(endpoint: &str) -> Vec<SocketAddr> {
    let found = tokio::time::timeout(STEP_TIMEOUT, lookup_host(endpoint)).await;
    let Ok(Ok(found)) = found else { return vec![] };
    // A name may resolve to an address that no descriptor may contain, such as one on this
    // machine's own link.
    interleaved(found.filter(|address| Reach::of(address.ip()) != Reach::Nobody).collect())
}

fn interleaved(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (one, other): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|address| address.is_ipv6() == first_is_6);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut turns = Vec::new();
    loop {
        let pair = [one.next(), other.next()];
        if pair == [None, None] {
            return turns;
        }
        turns.extend(pair.into_iter().flatten());
    }
}

async fn reach(address: SocketAddr, target: &Target) -> Result<TlsStream<TcpStream>, Why> {
    let connected = tokio::time::timeout(STEP_TIMEOUT, TcpStream::connect(address)).await;
    let tcp = connected.map_err(|_| Why::Silent)?;
    let tcp = tcp.map_err(|error| Why::NoConnection(error.to_string()))?;
    let shaken = tokio::time::timeout(STEP_TIMEOUT, handshake(tcp, target)).await;
    shaken.map_err(|_| Why::NoHandshake)?.map_err(|error| Why::of(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_families_take_turns() {
        let parsed = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let found =
            parsed(&["[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1", "192.0.2.1:1"]);
        let turns =
            parsed(&["[2001:db8::1]:1", "192.0.2.1:1", "[2001:db8::2]:1", "[2001:db8::3]:1"]);
        assert_eq!(interleaved(found), turns);
        assert_eq!(interleaved(vec![]), vec![]);
    }

    /// A name can resolve to an address that no descriptor may contain.
    #[tokio::test]
    async fn no_address_is_called_that_is_nobodys() {
        for (endpoint, called) in [
            ("127.0.0.1:8440", true),
            ("169.254.169.254:80", false),
            ("0.0.0.0:8440", false),
            ("[fe80::1]:8440", false),
            ("224.0.0.1:8440", false),
        ] {
            assert_eq!(!addresses(endpoint).await.is_empty(), called, "{endpoint}");
        }
    }
}
