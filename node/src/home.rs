//! The home folder of a node: made once, read completely before anything opens, checked on demand.

mod check;
mod credentials;
mod init;
mod people;
mod reload;

pub use check::{Finding, State, check};
pub use credentials::Credentials;
pub use init::{Initialised, draft_descriptor, init};
pub use people::{Card, hand_over};
pub use reload::{Reloaded, publish, reload};

use std::path::{Path, PathBuf};

use crate::config::{Config, ConfigError};
use crate::id::{Clock, Entropy, Secret};
use crate::jose::SigningKey;
use crate::node::NodeError;
use crate::pki::{PkiError, read_signing_key};
use crate::store::{Compacting, Store, StoreError, StoreOptions, Upgrade};
use crate::text;
use crate::tls::TlsError;
use crate::trust::TrustError;

/// The paths of everything in the home folder.
#[derive(Clone, Debug)]
pub struct Layout(PathBuf);

#[expect(missing_docs, reason = "each is the file of its name")]
impl Layout {
    pub fn new(home: &Path) -> Self {
        Self(home.to_owned())
    }
    pub fn folder(&self) -> &Path {
        &self.0
    }
    pub fn config(&self) -> PathBuf {
        self.0.join("entente.toml")
    }
    pub fn statement_key(&self) -> PathBuf {
        self.0.join("keys/statement.key")
    }
    pub fn log_key(&self) -> PathBuf {
        self.0.join("keys/log.key")
    }
    pub fn node_key(&self) -> PathBuf {
        self.0.join("keys/node.key")
    }
    pub fn certificate(&self) -> PathBuf {
        self.0.join("tls/node.pem")
    }
    pub fn certificate_key(&self) -> PathBuf {
        self.0.join("tls/node.key")
    }
    pub fn roots(&self) -> PathBuf {
        self.0.join("tls/roots.pem")
    }
    pub fn users(&self) -> PathBuf {
        self.0.join("users")
    }
    pub fn user_ca(&self) -> PathBuf {
        self.0.join("users/ca.pem")
    }
    pub fn hand_over(&self) -> PathBuf {
        self.0.join("hand-over")
    }
    pub fn profiles(&self) -> PathBuf {
        self.0.join("profiles")
    }
    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }
    pub fn draft(&self) -> PathBuf {
        self.0.join("descriptor.draft.json")
    }
    pub fn descriptor(&self) -> PathBuf {
        self.0.join("descriptor.jws")
    }
    pub fn addresses(&self) -> PathBuf {
        self.0.join("run/addresses.json")
    }
}

/// Why a home folder can't be used; says which file, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// A file can't be read or written.
    #[error("{0}: {1}")]
    File(String, std::io::Error),
    /// The configuration is refused.
    #[error("{0}: {1}")]
    Config(String, ConfigError),
    /// A certificate or key is refused.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A key can't be made or read.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The descriptor is refused.
    #[error("{0}: {1}")]
    Descriptor(String, TrustError),
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the node holds in memory can't be built anew.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// Parts that don't fit each other.
    #[error("{0}")]
    Unfit(String),
}

/// Everything that a node starts from, read and checked for consistency.
pub struct Home {
    /// Where it lies.
    pub layout: Layout,
    /// What the node is told.
    pub config: Config,
    /// Signs alerts, heads and receipts.
    pub statement_key: SigningKey,
    /// Signs checkpoints.
    pub log_key: SigningKey,
    /// Wraps the key slots of the store.
    pub node_key: Secret<[u8; 32]>,
    /// The parts that a reload reads again.
    pub credentials: Credentials,
}

impl Home {
    /// Reads a home folder whole.
    ///
    /// # Errors
    /// The first thing that is missing, malformed, or does not fit the rest.
    pub fn read(home: &Path, clock: &Clock) -> Result<Self, HomeError> {
        let layout = Layout::new(home);
        let config = read_config(&layout)?;
        let statement_key = read_signing_key(&layout.statement_key())?;
        let log_key = read_signing_key(&layout.log_key())?;
        let node_key = read_node_key(&layout.node_key())?;
        let credentials = Credentials::read(&layout, &config, &statement_key, &log_key, clock)?;
        Ok(Self { layout, config, statement_key, log_key, node_key, credentials })
    }

    /// Opens the store below it.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_store(&self, clock: Clock, entropy: Entropy) -> Result<Store, StoreError> {
        self.open_store_with((clock, entropy), Upgrade::AtStart)
    }

    /// As [`Home::open_store`], and says what may be done to a store of an earlier version.
    ///
    /// # Errors
    /// As [`Store::open_with`].
    pub fn open_store_with(
        &self,
        sources: (Clock, Entropy),
        upgrade: Upgrade<'_>,
    ) -> Result<Store, StoreError> {
        let options = store_options(&self.config);
        let (owner, key) = (&self.config.authority, &self.node_key);
        Store::open_with(&self.layout.store(), owner, key, &options, sources, upgrade)
    }
}

/// Upgrades the store of a home; its certificates may have ended, and no node may run on it.
///
/// # Errors
/// When configuration or node key can't be read, and as [`Store::open_with`].
pub fn upgrade(
    home: &Path,
    clock: Clock,
    entropy: Entropy,
    upgrade: Upgrade<'_>,
) -> Result<(), HomeError> {
    let layout = Layout::new(home);
    let config = read_config(&layout)?;
    let (key, options) = (read_node_key(&layout.node_key())?, store_options(&config));
    let (owner, sources) = (&config.authority, (clock, entropy));
    Store::open_with(&layout.store(), owner, &key, &options, sources, upgrade)?.close();
    Ok(())
}

/// Compacts the store of a home on which no node runs; returns the bytes that it took before, and
/// takes now.
///
/// # Errors
/// When configuration or node key can't be read, and as [`Store::compact`].
pub fn compact(
    home: &Path,
    clock: Clock,
    entropy: Entropy,
    told: &mut dyn FnMut(Compacting),
) -> Result<(u64, u64), HomeError> {
    let layout = Layout::new(home);
    let config = read_config(&layout)?;
    let (key, options) = (read_node_key(&layout.node_key())?, store_options(&config));
    let (folder, sources) = (layout.store(), (clock, entropy));
    let opened =
        Store::open_with(&folder, &config.authority, &key, &options, sources, Upgrade::No)?;
    Ok(opened.compact(told)?)
}

fn store_options(config: &Config) -> StoreOptions {
    StoreOptions {
        cache_bytes: config.store.cache_bytes.value(),
        disk_free_bytes_min: config.store.disk_free_bytes_min.value(),
    }
}

/// Reads the configuration of a home.
///
/// # Errors
/// When it can't be read, or is refused.
pub fn read_config(layout: &Layout) -> Result<Config, HomeError> {
    let path = layout.config();
    if !path.exists() {
        return Err(HomeError::Unfit(format!(
            "{} is missing: this is not a home folder; `entente-node init` makes one",
            shown(&path)
        )));
    }
    let text = read_text(&path)?;
    Config::parse(&text).map_err(|error| HomeError::Config(shown(&path), error))
}

fn read_node_key(path: &Path) -> Result<Secret<[u8; 32]>, HomeError> {
    let text = Secret::new(read_text(path)?);
    let mut key = [0; 32];
    hex::decode_to_slice(text.expose().trim(), &mut key)
        .map_err(|_| HomeError::Unfit(format!("{} is not a node key", shown(path))))?;
    Ok(Secret::new(key))
}

fn read_text(path: &Path) -> Result<String, HomeError> {
    text::read(path).map_err(|error| HomeError::File(shown(path), error))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
