//! The node's configuration: TOML, typed, parsed whole before a port opens.
//!
//! ```
//! use entente_node::config::{Config, SAMPLE};
//!
//! // What is left out has its default.
//! let config = Config::parse(
//!     r#"
//!     authority = "dk.politi"
//!     [exchange]
//!     listen = "127.0.0.1:8440"
//!     advertise = "node.politi.example:8440"
//!     "#,
//! )?;
//! assert_eq!(config.desk.listen, Config::parse(SAMPLE)?.desk.listen);
//!
//! // An unknown setting is refused, with its line.
//! let refused = Config::parse("authority = \"dk.politi\"\ncontct = \"+45 33 14 88 88\"\n");
//! assert!(refused.unwrap_err().to_string().contains("line 2"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod values;
pub use values::{
    CONTACT_BYTES_MAX, Contact, ENDPOINT_BYTES_MAX, Endpoint, LogFilter, LoopbackAddr, Reach, Whole,
};

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use self::values::{loopback, whole};
use crate::id::AuthorityId;

/// Most bytes of a configuration file: ours has a few thousand, and a wrong file should be refused
/// early.
pub const CONFIG_BYTES_MAX: usize = 64 * 1024;

/// Longest heartbeat that a node may be set to, in seconds, so that its peers can rely on it.
const HEARTBEAT_S_MAX: u64 = 3600;

/// Shortest lease of a copy, in seconds. How often a peer's heartbeat comes is the peer's own
/// setting; with two of the longest allowed, a copy stays confirmed although one of them is lost.
const COPY_LEASE_S_MIN: u64 = 2 * HEARTBEAT_S_MAX;

/// Every setting with its default and what it means; `init` writes it with the choices made.
pub const SAMPLE: &str = include_str!("config/sample.toml");

/// The settings in a node's `entente.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Whose node it is.
    pub authority: AuthorityId,
    /// The desk that peers reach day and night.
    #[serde(default)]
    pub contact: Contact,
    /// Offers gRPC reflection at the desk door.
    #[serde(default)]
    pub reflection: bool,
    /// The door for peers, and how statements travel.
    pub exchange: Exchange,
    /// The door for the authority's own people.
    #[serde(default)]
    pub desk: Desk,
    /// Metrics and health.
    #[serde(default)]
    pub telemetry: Telemetry,
    /// The database.
    #[serde(default)]
    pub store: Storage,
    /// The node's log lines.
    #[serde(default)]
    pub log: Log,
}

/// The exchange door and the streams with peers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// Where the door listens.
    #[serde(default = "exchange_listen")]
    pub listen: SocketAddr,
    /// How peers reach it.
    pub advertise: Endpoint,
    /// Connections at once.
    #[serde(default = "whole::<256, 1, 4096>")]
    pub connections_max: Whole<1, 4096>,
    /// Calls at once on a connection.
    #[serde(default = "whole::<32, 1, 1024>")]
    pub calls_per_connection_max: Whole<1, 1024>,
    /// A connection is replaced after this long, in seconds.
    #[serde(default = "whole::<3600, 10, 86_400>")]
    pub connection_age_s: Whole<10, 86_400>,
    /// A copy counts as confirmed for this long, in seconds (decision 11).
    #[serde(default = "whole::<172_800, COPY_LEASE_S_MIN, 2_592_000>")]
    pub copy_lease_s: Whole<COPY_LEASE_S_MIN, 2_592_000>,
    /// A peer not heard for this long is silent, in seconds.
    #[serde(default = "whole::<14_400, 10, 2_592_000>")]
    pub peer_silence_s: Whole<10, 2_592_000>,
    /// An idle stream carries a head this often, in seconds.
    #[serde(default = "whole::<60, 1, HEARTBEAT_S_MAX>")]
    pub heartbeat_s: Whole<1, HEARTBEAT_S_MAX>,
    /// A batch that has no receipt after this long is sent again, over a new connection, in
    /// seconds.
    #[serde(default = "whole::<30, 1, 600>")]
    pub receipt_timeout_s: Whole<1, 600>,
}

/// The desk door.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Desk {
    /// Where the door listens.
    pub listen: SocketAddr,
    /// Connections at once.
    pub connections_max: Whole<1, 4096>,
    /// Calls at once on a connection.
    pub calls_per_connection_max: Whole<1, 1024>,
    /// A connection is replaced after this long, in seconds.
    pub connection_age_s: Whole<10, 86_400>,
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            listen: loopback(8441),
            connections_max: whole::<512, 1, 4096>(),
            calls_per_connection_max: whole::<64, 1, 1024>(),
            connection_age_s: whole::<3600, 10, 86_400>(),
        }
    }
}

/// Metrics and health.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// Where they are served, without TLS.
    pub listen: LoopbackAddr,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { listen: LoopbackAddr::port(8442) }
    }
}

/// The database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// Cache, 1 MiB to 64 GiB.
    pub cache_bytes: Whole<1_048_576, 68_719_476_736>,
    /// With less free space than this, nothing is written that grows the store.
    pub disk_free_bytes_min: Whole<0, 1_099_511_627_776>,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            cache_bytes: whole::<{ 96 << 20 }, 1_048_576, 68_719_476_736>(),
            disk_free_bytes_min: whole::<{ 512 << 20 }, 0, 1_099_511_627_776>(),
        }
    }
}

/// The node's log lines (not the audit log).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// For people or for machines.
    pub format: LogFormat,
    /// Level, also by module.
    pub filter: LogFilter,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: LogFilter::default() }
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line of text for each event.
    Text,
    /// A JSON object for each event.
    Json,
}

/// Why a configuration was refused; says where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Longer than [`CONFIG_BYTES_MAX`].
    #[error("the configuration has more than {CONFIG_BYTES_MAX} bytes: is it the right file?")]
    TooLong,
    /// Not TOML, or a setting that is unknown, missing or out of bounds.
    #[error("line {line}: {message}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// Two settings that contradict each other.
    #[error("{0}")]
    Contradiction(&'static str),
}

impl ConfigError {
    /// The stable name of the refusal.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLong => "config_too_long",
            Self::Line { .. } => "config_invalid",
            Self::Contradiction(_) => "config_contradiction",
        }
    }
}

impl Config {
    /// Parses a whole configuration.
    ///
    /// # Errors
    /// What is not TOML, unknown, missing, out of bounds or contradictory, with its line.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        if text.len() > CONFIG_BYTES_MAX {
            return Err(ConfigError::TooLong);
        }
        let config: Self = toml::from_str(text).map_err(|error| {
            let (line, message) = crate::toml_line::located(text, &error);
            ConfigError::Line { line, message }
        })?;
        config.consistent()
    }

    /// How the authority's people reach the desk door.
    pub fn desk_endpoint(&self) -> String {
        let listen = self.desk.listen;
        if !listen.ip().is_unspecified() {
            return listen.to_string();
        }
        let host = self.exchange.advertise.host();
        let bracketed = host.contains(':').then(|| format!("[{host}]"));
        format!("{}:{}", bracketed.as_deref().unwrap_or(host), listen.port())
    }

    /// Hosts under which clients reach the node's doors: where they listen and what peers are told,
    /// without wildcards.
    pub fn hosts(&self) -> Vec<String> {
        let listens = [self.exchange.listen.ip(), self.desk.listen.ip()];
        let listens = listens.iter().filter(|ip| !ip.is_unspecified()).map(IpAddr::to_string);
        let mut hosts: Vec<String> = listens.collect();
        hosts.push(self.exchange.advertise.host().to_owned());
        hosts.sort();
        hosts.dedup();
        hosts
    }

    /// The settings that differ in `now`, each with what brings it into force. The contact and the
    /// advertised address are left out: they come into force with the descriptor that names them.
    pub fn wait_for_restart(&self, now: &Self) -> Vec<String> {
        let (then, now) = (self.settings(), now.settings());
        let differs = |(name, value): (String, toml::Value)| {
            let with_descriptor = ["contact", "exchange.advertise"].contains(&name.as_str());
            (!with_descriptor && then.get(&name) != Some(&value))
                .then(|| format!("{name}: restart the node"))
        };
        now.into_iter().filter_map(differs).collect()
    }

    /// Every setting by its name with the section before it, as `exchange.listen`.
    fn settings(&self) -> BTreeMap<String, toml::Value> {
        let mut settings = BTreeMap::new();
        for (name, value) in toml::Table::try_from(self).unwrap_or_default() {
            match value {
                toml::Value::Table(section) => settings.extend(
                    section.into_iter().map(|(inner, value)| (format!("{name}.{inner}"), value)),
                ),
                value => drop(settings.insert(name, value)),
            }
        }
        settings
    }

    fn consistent(self) -> Result<Self, ConfigError> {
        let exchange = &self.exchange;
        if exchange.listen == self.desk.listen && exchange.listen.port() != 0 {
            return Err(ConfigError::Contradiction(
                "exchange.listen and desk.listen must differ: no method is reachable through the \
                 other door",
            ));
        }
        Ok(self)
    }
}

/// The choices for a new node: the settings that differ from [`SAMPLE`], and its first users.
#[derive(Clone, Debug)]
pub struct Choices {
    /// For trials: the node starts with four people, whose keys lie in one place, and needs no
    /// contact.
    pub trial: bool,
    /// Whose node.
    pub authority: AuthorityId,
    /// The desk that peers reach day and night.
    pub contact: Contact,
    /// Where the exchange door listens; `None` for the default.
    pub exchange_listen: Option<SocketAddr>,
    /// How peers reach it; `None` for where it listens.
    pub exchange_advertise: Option<Endpoint>,
    /// Where the desk door listens; `None` for the default.
    pub desk_listen: Option<SocketAddr>,
    /// Where metrics and health are served; `None` for the default.
    pub telemetry_listen: Option<LoopbackAddr>,
}

impl Choices {
    /// Checks that a node with these choices would be of use to its peers.
    ///
    /// # Errors
    /// A sentence that names the flag.
    pub fn serve_peers(&self) -> Result<(), String> {
        if let Some(advertise) = &self.exchange_advertise
            && advertise.reach() == Reach::Nobody
        {
            return Err(format!(
                "no peer can connect to {advertise}: give --exchange-advertise a name or address \
                 and the port"
            ));
        }
        if let (None, Some(listen)) = (&self.exchange_advertise, self.exchange_listen)
            && Reach::of(listen.ip()) == Reach::Nobody
        {
            return Err(format!(
                "no peer can connect to {listen}: say how they reach this node with \
                 --exchange-advertise HOST:PORT"
            ));
        }
        if self.contact.is_empty() && !self.trial {
            return Err("peers must know whom to call about a hit, day and night: name that desk \
                        with --contact, or make a home for trying out with --trial"
                .to_owned());
        }
        Ok(())
    }

    /// The text of a configuration with these choices and every other setting at its default.
    pub fn to_text(&self) -> String {
        let advertise = self.exchange_advertise.as_ref().map(|endpoint| endpoint.to_string());
        let advertise = advertise.or(self.exchange_listen.map(|listen| listen.to_string()));
        let set = [
            ("", "authority", Some(self.authority.to_string())),
            ("", "contact", Some(self.contact.to_string())),
            ("[exchange]", "listen", self.exchange_listen.map(|listen| listen.to_string())),
            ("[exchange]", "advertise", advertise),
            ("[desk]", "listen", self.desk_listen.map(|listen| listen.to_string())),
            ("[telemetry]", "listen", self.telemetry_listen.map(|listen| listen.to_string())),
        ];
        set.into_iter().fold(SAMPLE.to_owned(), |text, (section, name, value)| match value {
            Some(value) => with_setting(&text, section, name, value),
            None => text,
        })
    }
}

fn with_setting(text: &str, section: &str, name: &str, value: String) -> String {
    let begins = format!("{name} = ");
    let value = toml::Value::String(value);
    let mut here = "";
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        if line.starts_with('[') {
            here = line;
        }
        if here == section && line.starts_with(&begins) {
            out.push_str(&format!("{begins}{value}"));
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    out
}

fn exchange_listen() -> SocketAddr {
    loopback(8440)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> toml::Table {
        text.parse().unwrap()
    }

    #[test]
    fn the_sample_has_every_setting_at_its_default() {
        let least = "authority = \"xx.authority\"\n[exchange]\nadvertise = \"localhost:8440\"\n";
        let defaults = Config::parse(least).unwrap();
        assert_eq!(Config::parse(SAMPLE).unwrap(), defaults);
        let written = toml::Table::try_from(&defaults).unwrap();
        assert_eq!(table(SAMPLE), written, "a field is missing from the sample");
    }

    #[test]
    fn every_setting_of_the_sample_is_documented() {
        let mut documented = false;
        for line in SAMPLE.lines() {
            if line.contains(" = ") && !line.starts_with('#') {
                assert!(documented, "no comment before: {line}");
            }
            documented = line.starts_with('#');
        }
    }

    #[test]
    fn choices_change_only_what_was_chosen() {
        let choices = Choices {
            trial: false,
            authority: "dk.politi".parse().unwrap(),
            contact: "24 h desk \"north\" +45 00 00 00 00".parse().unwrap(),
            exchange_listen: Some("0.0.0.0:9440".parse().unwrap()),
            exchange_advertise: Some("node.example:9440".parse().unwrap()),
            desk_listen: Some("127.0.0.1:9441".parse().unwrap()),
            telemetry_listen: Some("127.0.0.1:9442".parse().unwrap()),
        };
        let text = choices.to_text();
        let mut expected = Config::parse(SAMPLE).unwrap();
        expected.authority = choices.authority.clone();
        expected.contact = choices.contact.clone();
        expected.exchange.listen = choices.exchange_listen.unwrap();
        expected.exchange.advertise = choices.exchange_advertise.clone().unwrap();
        expected.desk.listen = choices.desk_listen.unwrap();
        expected.telemetry.listen = choices.telemetry_listen.unwrap();
        assert_eq!(Config::parse(&text).unwrap(), expected);
        assert_eq!(text.lines().count(), SAMPLE.lines().count());
    }

    #[test]
    fn a_reload_names_what_only_a_restart_brings_into_force() {
        let then = Config::parse(SAMPLE).unwrap();
        let now = SAMPLE
            .replace("reflection = false", "reflection = true")
            .replace("cache_bytes = 100663296", "cache_bytes = 1048576")
            .replace("localhost:8440", "node.example:8440")
            .replace("contact = \"\"", "contact = \"+45 00 00 00 00\"");
        let waits = then.wait_for_restart(&Config::parse(&now).unwrap());
        assert_eq!(waits, ["reflection: restart the node", "store.cache_bytes: restart the node"]);
        assert_eq!(then.wait_for_restart(&then), Vec::<String>::new());
    }

    #[test]
    fn a_new_node_is_one_that_peers_can_use() {
        let choices = |listen: &str, advertise: &str, contact: &str, trial| Choices {
            trial,
            authority: "dk.politi".parse().unwrap(),
            contact: contact.parse().unwrap(),
            exchange_listen: listen.parse().ok(),
            exchange_advertise: advertise.parse().ok(),
            desk_listen: None,
            telemetry_listen: None,
        };
        for (listen, advertise, contact, trial, flag) in [
            ("", "", "+45 00 00 00 00", false, None),
            ("0.0.0.0:8440", "node.example:8440", "+45 00 00 00 00", false, None),
            ("", "", "", true, None),
            ("", "", "", false, Some("--contact")),
            ("0.0.0.0:8440", "", "+45 00 00 00 00", false, Some("--exchange-advertise")),
            ("[::]:8440", "", "+45 00 00 00 00", true, Some("--exchange-advertise")),
            ("", "0.0.0.0:8440", "+45 00 00 00 00", false, Some("--exchange-advertise")),
            ("", "[fe80::1]:8440", "+45 00 00 00 00", false, Some("--exchange-advertise")),
            ("", "node.example:0", "+45 00 00 00 00", false, Some("--exchange-advertise")),
        ] {
            let asked = choices(listen, advertise, contact, trial).serve_peers();
            match flag {
                None => assert_eq!(asked, Ok(()), "{listen} {advertise} {contact}"),
                Some(flag) => {
                    assert!(asked.as_ref().is_err_and(|says| says.contains(flag)), "{asked:?}")
                }
            }
        }
    }

    fn check(from: &str, to: &str, line: usize, says: &str) {
        assert!(SAMPLE.contains(from), "{from}");
        let text = SAMPLE.replacen(from, to, 1);
        let error = Config::parse(&text).unwrap_err();
        assert_eq!(error.reason(), "config_invalid", "{to}: {error}");
        let ConfigError::Line { line: found, message } = &error else { panic!("{error}") };
        let expected = text.lines().position(|l| l.contains(to)).map_or(line, |at| at + 1);
        assert_eq!((*found, message.contains(says)), (expected, true), "{to}: {error}");
    }

    #[test]
    fn bad_settings_name_their_line() {
        check("heartbeat_s = 60", "hartbeat_s = 60", 0, "unknown field `hartbeat_s`");
        check("reflection = false", "reflexion = false", 0, "unknown field `reflexion`");
        check("heartbeat_s = 60", "heartbeat_s = 0", 0, "from 1 to 3600");
        check("copy_lease_s = 172800", "copy_lease_s = 7199", 0, "from 7200");
        check("heartbeat_s = 60", "heartbeat_s = -5", 0, "from 1 to 3600");
        check("heartbeat_s = 60", "heartbeat_s = \"60\"", 0, "invalid type");
        check("cache_bytes = 100663296", "cache_bytes = 4096", 0, "from 1048576");
        check("listen = \"127.0.0.1:8442\"", "listen = \"0.0.0.0:8442\"", 0, "loopback");
        check("listen = \"127.0.0.1:8440\"", "listen = \"127.0.0.1\"", 0, "invalid socket address");
        check("advertise = \"localhost:8440\"", "advertise = \"localhost\"", 0, "host:port");
        check("advertise = \"localhost:8440\"", "advertise = \"http://a:1\"", 0, "host:port");
        check("authority = \"xx.authority\"", "authority = \"Politi\"", 0, "dk.politi");
        check("format = \"text\"", "format = \"xml\"", 0, "unknown variant `xml`");
        check("filter = \"info\"", "filter = \"loud\"", 0, "level");
        check("[store]", "[stor]", 0, "unknown field `stor`");
        check("reflection = false", "reflection = ", 0, "");
    }

    #[test]
    fn contradictions_and_oversize_are_refused() {
        let same = SAMPLE.replacen("127.0.0.1:8441", "127.0.0.1:8440", 1);
        assert_eq!(Config::parse(&same).unwrap_err().reason(), "config_contradiction");
        let long = format!("{SAMPLE}#{}", "x".repeat(CONFIG_BYTES_MAX));
        assert_eq!(Config::parse(&long), Err(ConfigError::TooLong));
        let missing = Config::parse("authority = \"xx.authority\"").unwrap_err();
        assert!(missing.to_string().contains("missing field `exchange`"), "{missing}");
    }
}
