//! Endpoints of doors: `host:port`, and who can connect there.

use std::net::{IpAddr, Ipv6Addr};

/// Longest label of a DNS name, in bytes (RFC 1035).
const LABEL_BYTES_MAX: usize = 63;

/// Longest DNS name, in bytes (RFC 1035).
const NAME_BYTES_MAX: usize = 253;

/// Host and port of an endpoint, with nothing else around them. The host is a DNS name, an IPv4
/// address or a bracketed IPv6 one.
pub fn endpoint_parts(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let port = port.parse().ok().filter(|_| digits)?;
    is_host(host).then_some((host, port))
}

fn is_host(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().is_ok();
    }
    let label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    // If the last label is all digits, this is an IPv4 address or a mistyped one: "10.0.0" is
    // another spelling of 10.0.0.0.
    let numeric =
        host.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    let address = !numeric || host.parse::<std::net::Ipv4Addr>().is_ok();
    host.len() <= NAME_BYTES_MAX && address && host.split('.').all(label)
}

/// Who can connect to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Nobody: the address is that of no machine, or only valid on the same link.
    Nobody,
    /// Programs on the same machine.
    ThisMachine,
    /// Machines in the same network.
    SameNetwork,
    /// Whoever the network lets through.
    Anybody,
}

impl Reach {
    /// The reach of an endpoint; unknown for a name, before it is resolved.
    pub fn of_endpoint(endpoint: &str) -> Self {
        let Some((host, port)) = endpoint_parts(endpoint) else { return Self::Nobody };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        match host.parse::<IpAddr>() {
            _ if port == 0 => Self::Nobody,
            Ok(address) => Self::of(address),
            Err(_) if host.eq_ignore_ascii_case("localhost") => Self::ThisMachine,
            Err(_) => Self::Anybody,
        }
    }

    /// Says who can connect, if that is too few for a peer in another country.
    pub fn too_few(self) -> Option<&'static str> {
        match self {
            Self::Nobody => Some("nobody"),
            Self::ThisMachine => Some("programs on the same machine only"),
            Self::SameNetwork => Some("machines in the same network only"),
            Self::Anybody => None,
        }
    }

    /// Of an IP address.
    pub fn of(address: IpAddr) -> Self {
        let address = address.to_canonical();
        let (wire, private) = match address {
            IpAddr::V4(v4) => (v4.is_link_local() || v4.is_broadcast(), v4.is_private()),
            IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.is_unique_local()),
        };
        if address.is_unspecified() || address.is_multicast() || wire {
            Self::Nobody
        } else if address.is_loopback() {
            Self::ThisMachine
        } else if private {
            Self::SameNetwork
        } else {
            Self::Anybody
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_host_and_port_of_an_address_that_a_peer_can_have() {
        use Reach::{Anybody, Nobody, SameNetwork, ThisMachine};
        for (endpoint, reach) in [
            ("node.example.org:8443", Anybody),
            ("NODE-1.example:1", Anybody),
            ("xn--blt-2qa.example:8443", Anybody),
            ("203.0.113.7:8443", Anybody),
            ("[2001:db8::7]:8443", Anybody),
            ("10.1.2.3:8443", SameNetwork),
            ("[fd00::1]:8443", SameNetwork),
            ("localhost:8443", ThisMachine),
            ("127.0.0.1:8443", ThisMachine),
            ("[::1]:8443", ThisMachine),
            ("0.0.0.0:8443", Nobody),
            ("[::]:8443", Nobody),
            ("[::ffff:0.0.0.0]:8443", Nobody),
            ("169.254.1.1:8443", Nobody),
            ("[::ffff:169.254.1.1]:8443", Nobody),
            ("[fe80::1]:8443", Nobody),
            ("224.0.0.1:8443", Nobody),
            ("[ff02::1]:8443", Nobody),
            ("255.255.255.255:8443", Nobody),
            ("node.example.org:0", Nobody),
            ("node.example.org", Nobody),
            (":8443", Nobody),
            ("node.example.org:", Nobody),
            ("node.example.org:+1", Nobody),
            ("node.example.org:65536", Nobody),
            ("https://node.example.org:8443", Nobody),
            ("user@node.example.org:8443", Nobody),
            ("node.example.org/x:8443", Nobody),
            ("node.example.org:8443/x", Nobody),
            ("node example:8443", Nobody),
            (" node.example.org:8443", Nobody),
            ("node.example.org:8443\n", Nobody),
            ("nöde.example:8443", Nobody),
            ("-node.example:8443", Nobody),
            ("node..example:8443", Nobody),
            ("2001:db8::7:8443", Nobody),
            ("[node]:8443", Nobody),
            ("[fe80::1%eth0]:8443", Nobody),
            ("0:8443", Nobody),
            ("10.0.1:8443", Nobody),
            ("1.2.3.4.5:8443", Nobody),
            ("0x7f.1:8443", Nobody),
        ] {
            assert_eq!(Reach::of_endpoint(endpoint), reach, "{endpoint}");
        }
        let long = format!("{}.example:8443", "a".repeat(64));
        assert_eq!(Reach::of_endpoint(&long), Nobody);
        let long = format!("{}e:8443", "a.".repeat(127));
        assert_eq!(Reach::of_endpoint(&long), Nobody);
    }
}
