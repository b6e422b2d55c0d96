//! The home folder of a node: made once, read completely before anything opens, checked on demand.

mod check;
mod init;
mod people;

pub use check::{Finding, State, check};
pub use init::{Initialised, draft_descriptor, init};
pub use people::{Card, hand_over};

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::config::{Config, ConfigError};
use crate::id::{CLOCK_TOLERANCE_S, Clock, Entropy, Secret, Timestamp};
use crate::jose::SigningKey;
use crate::pki::{PkiError, read_signing_key};
use crate::store::{Store, StoreError, StoreOptions, Upgrade};
use crate::text;
use crate::tls::{TlsError, TlsIdentity, read_pem_certificates};
use crate::trust::{
    CertificateError, DatedKey, Ending, Ends, Identity, Part, SignedDescriptor, TrustError,
    certificate_end, certificate_end_der, check_root_der,
};

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

/// Certificates and the descriptor: read at the start and at each reload, validated before they are
/// used.
#[derive(Clone)]
pub struct Credentials {
    /// Who the node is in TLS.
    pub tls: TlsIdentity,
    /// The CAs that vouch for people and systems of the authority.
    pub user_ca: Vec<CertificateDer<'static>>,
    /// What the authority says about itself.
    pub descriptor: SignedDescriptor,
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

impl Credentials {
    /// Reads and validates what may change while the node runs.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn read(
        layout: &Layout,
        config: &Config,
        statement_key: &SigningKey,
        log_key: &SigningKey,
        clock: &Clock,
    ) -> Result<Self, HomeError> {
        // Judged by what the clock shows, as TLS does.
        let now = clock.shown();
        let tls = TlsIdentity::read(&layout.certificate(), &layout.certificate_key(), now);
        let tls = tls.map_err(|error| match error {
            TlsError::File(file, error) if error.kind() == ErrorKind::NotFound => {
                HomeError::Unfit(format!(
                    "{file} is missing: make the node's certificate and key with `entente certs \
                     node`, or put those of your own CA there; `entente-node check` looks at the \
                     rest"
                ))
            }
            TlsError::Certificate(file, CertificateError::Ended(at)) => {
                let ending = Ending { part: Part::Certificate, at, ended: true };
                HomeError::Unfit(format!("{file} does not fit: {ending}"))
            }
            other => other.into(),
        })?;
        if *tls.identity() != Identity::Node(config.authority.clone()) {
            return Err(HomeError::Unfit(format!(
                "{} is not the certificate of {}'s node: its URI must be {}",
                shown(&layout.certificate()),
                config.authority,
                config.authority.uri()
            )));
        }
        let user_ca = read_pem_certificates(&layout.user_ca())?;
        for ca in &user_ca {
            check_root_der(ca, now).map_err(|error| {
                HomeError::Unfit(format!("{} does not fit: {error}", shown(&layout.user_ca())))
            })?;
        }
        let descriptor = read_descriptor(layout)?;
        let said = descriptor.descriptor();
        // An expired key must not prevent a start: it stops issuing, but not reading, searching and
        // erasing.
        let names = |keys: &[DatedKey], key: &SigningKey| {
            let begun = |dated: &DatedKey| dated.not_before - CLOCK_TOLERANCE_S <= now.seconds();
            keys.iter().any(|dated| dated.key.key_id() == key.key_id() && begun(dated))
        };
        let unfit = |what: &str| {
            let file = shown(&layout.descriptor());
            Err(HomeError::Unfit(format!(
                "{file} {what}: run `entente-node draft`, and sign its draft with `entente \
                 identity sign`"
            )))
        };
        if said.authority != config.authority {
            return unfit("is another authority's");
        }
        if !names(&said.statement_keys, statement_key) || !names(&said.log_keys, log_key) {
            return unfit("does not name the keys in keys/, or from a later day on only");
        }
        if !said.endpoints.contains(&config.exchange.advertise.to_string()) {
            return unfit("does not name exchange.advertise of the configuration");
        }
        let roots = said.tls_roots.iter().map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()));
        let roots: Vec<_> = roots.filter_map(Result::ok).collect();
        if let Err(error) = tls.vouched_by(&roots, now) {
            let file = shown(&layout.certificate());
            let none =
                format!("has no root that vouches for {file}, so no peer would let this node in");
            return match tls.missing_issuer(&roots) {
                Some(issuer) => Err(HomeError::Unfit(format!(
                    "{} {none}: it leads to {issuer}, which is neither a root there nor in {file}. \
                     Append the certificate of that intermediate CA to {file}; or, when {issuer} \
                     is a new root, put it into {}, and run `entente-node draft` and `entente \
                     identity sign`",
                    shown(&layout.descriptor()),
                    shown(&layout.roots())
                ))),
                None => unfit(&format!("{none} ({error})")),
            };
        }
        Ok(Self { tls, user_ca, descriptor })
    }

    /// When each of them expires, and the keys that the descriptor names.
    pub fn ends(&self, statement_key: &SigningKey, log_key: &SigningKey) -> Ends {
        let said = self.descriptor.descriptor();
        let key = |keys: &[DatedKey], key: &SigningKey| {
            let own = keys.iter().filter(|dated| dated.key.key_id() == key.key_id());
            own.map(|dated| Timestamp::from_seconds(dated.not_after)).max()
        };
        let roots = said.tls_roots.iter().filter_map(|pem| certificate_end(pem));
        let users = self.user_ca.iter().filter_map(|der| certificate_end_der(der));
        let parts = [
            (Part::Certificate, Some(self.tls.ends())),
            (Part::Root, roots.max()),
            (Part::UserCa, users.max()),
            (Part::StatementKey, key(&said.statement_keys, statement_key)),
            (Part::LogKey, key(&said.log_keys, log_key)),
        ];
        Ends(parts.into_iter().filter_map(|(part, at)| Some((part, at?))).collect())
    }
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

fn read_descriptor(layout: &Layout) -> Result<SignedDescriptor, HomeError> {
    let path = layout.descriptor();
    if !path.exists() {
        return Err(HomeError::Unfit(format!(
            "the descriptor is not signed yet: run `entente identity sign --key FILE --out {} {}`",
            shown(&path),
            shown(&layout.draft())
        )));
    }
    SignedDescriptor::parse(&read_text(&path)?)
        .map_err(|error| HomeError::Descriptor(shown(&path), error))
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
