//! Values of settings: each is checked when it is read.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::Level;
use tracing_subscriber::filter::Targets;

use crate::id::is_hidden;
pub use crate::trust::Reach;
use crate::trust::endpoint_parts;

/// Most bytes of the contact, which travels in the descriptor.
pub const CONTACT_BYTES_MAX: usize = 200;

/// Most bytes of an endpoint: a DNS name has at most 253, a port 5.
pub const ENDPOINT_BYTES_MAX: usize = 260;

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Whole<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Whole<MIN, MAX> {
    /// The number.
    pub fn value(self) -> u64 {
        self.0
    }

    /// The number for a count; the bounds keep it within `usize`.
    pub fn count(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// The number as seconds.
    pub fn seconds(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

/// A loopback address.
pub(super) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A default, checked against its bounds when compiled.
pub(super) fn whole<const DEFAULT: u64, const MIN: u64, const MAX: u64>() -> Whole<MIN, MAX> {
    const { assert!(MIN <= DEFAULT && DEFAULT <= MAX) };
    Whole(DEFAULT)
}

impl<const MIN: u64, const MAX: u64> TryFrom<i64> for Whole<MIN, MAX> {
    type Error = String;

    fn try_from(number: i64) -> Result<Self, String> {
        match u64::try_from(number) {
            Ok(number) if (MIN..=MAX).contains(&number) => Ok(Self(number)),
            _ => Err(format!("expected a whole number from {MIN} to {MAX}")),
        }
    }
}

impl<const MIN: u64, const MAX: u64> From<Whole<MIN, MAX>> for i64 {
    fn from(whole: Whole<MIN, MAX>) -> Self {
        Self::try_from(whole.0).unwrap_or(Self::MAX)
    }
}

/// Gives a newtype around text its conversions from its check.
macro_rules! checked_text {
    ($name:ty) => {
        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

/// The desk that peers reach day and night: one line, at most [`CONTACT_BYTES_MAX`] bytes, or
/// empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Contact(String);
checked_text!(Contact);

impl Contact {
    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::str::FromStr for Contact {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > CONTACT_BYTES_MAX || text.chars().any(is_hidden) {
            return Err(format!("a contact is one line of at most {CONTACT_BYTES_MAX} bytes"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// `host:port` as peers reach a door; the host is a DNS name, an IPv4 address or a bracketed IPv6
/// one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint(String);
checked_text!(Endpoint);

impl std::str::FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() <= ENDPOINT_BYTES_MAX && endpoint_parts(text).is_some() {
            Ok(Self(text.to_owned()))
        } else {
            Err("an endpoint is written host:port".to_owned())
        }
    }
}

impl Endpoint {
    /// The DNS name or IP address, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        let host = self.0.rsplit_once(':').map_or(self.0.as_str(), |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl Endpoint {
    /// Who can connect to it; unknown for a name, before it is resolved.
    pub fn reach(&self) -> Reach {
        Reach::of_endpoint(&self.0)
    }
}

/// An address that only this machine can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LoopbackAddr(SocketAddr);
checked_text!(LoopbackAddr);

impl LoopbackAddr {
    /// This port of 127.0.0.1.
    pub fn port(port: u16) -> Self {
        Self(loopback(port))
    }

    /// The address.
    pub fn address(self) -> SocketAddr {
        self.0
    }
}

impl std::str::FromStr for LoopbackAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(Self(address)),
            _ => {
                Err("expected a loopback address such as 127.0.0.1:8442: it has no TLS".to_owned())
            }
        }
    }
}

/// A filter of log lines, as tracing's `EnvFilter` reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LogFilter(String);
checked_text!(LogFilter);

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl LogFilter {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for LogFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A single word that is not a level would silently be taken as a module.
        let levels =
            text.split(',').all(|part| part.contains('=') || part.parse::<Level>().is_ok());
        match text.parse::<Targets>() {
            Ok(_) if levels => Ok(Self(text.to_owned())),
            _ => Err("expected a level (error … trace), also by module: info,entente_node=debug"
                .to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_says_who_can_connect() {
        use Reach::{Anybody, Nobody, SameNetwork, ThisMachine};
        for (endpoint, reach) in [
            ("0.0.0.0:1", Nobody),
            ("[::]:1", Nobody),
            ("[::ffff:0.0.0.0]:1", Nobody),
            ("169.254.1.1:1", Nobody),
            ("[fe80::1]:1", Nobody),
            ("224.0.0.1:1", Nobody),
            ("node.example:0", Nobody),
            ("localhost:1", ThisMachine),
            ("127.0.0.2:1", ThisMachine),
            ("[::1]:1", ThisMachine),
            ("10.1.2.3:1", SameNetwork),
            ("[fd00::1]:1", SameNetwork),
            ("192.0.2.1:1", Anybody),
            ("node.example:8440", Anybody),
        ] {
            assert_eq!(endpoint.parse::<Endpoint>().unwrap().reach(), reach, "{endpoint}");
        }
    }

    #[test]
    fn hosts_stand_without_brackets_and_port() {
        for (endpoint, host) in [("a.example:1", "a.example"), ("[::1]:2", "::1")] {
            assert_eq!(endpoint.parse::<Endpoint>().unwrap().host(), host);
        }
    }

    #[test]
    fn endpoints_are_host_and_port() {
        for ok in ["a:1", "node.example.org:443", "127.0.0.1:0", "[::1]:65535"] {
            assert_eq!(ok.parse::<Endpoint>().map(|e| e.to_string()), Ok(ok.to_owned()));
        }
        for bad in ["", "a", ":1", "a:", "a:65536", "a:+1", "a b:1", "::1:1", "[::g]:1", "a..b:1"] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }
}
