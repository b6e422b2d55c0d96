//! Certificates and the descriptor of a home: read and held against each other before they are
//! used.

use std::io::ErrorKind;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::{HomeError, Layout, read_text, shown};
use crate::config::Config;
use crate::id::{CLOCK_TOLERANCE_S, Clock, Timestamp};
use crate::jose::SigningKey;
use crate::tls::{TlsError, TlsIdentity, read_pem_certificates};
use crate::trust::{
    CertificateError, DatedKey, Ending, Ends, Identity, Part, SignedDescriptor, certificate_end,
    certificate_end_der, check_root_der,
};

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
        let tls = read_certificate(layout, config, now)?;
        let user_ca = read_user_ca(layout, now)?;
        let descriptor = read_descriptor(layout)?;
        Fitting { layout, descriptor: &descriptor, now }.check(
            config,
            &tls,
            [statement_key, log_key],
        )?;
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

fn read_certificate(
    layout: &Layout,
    config: &Config,
    now: Timestamp,
) -> Result<TlsIdentity, HomeError> {
    let tls = TlsIdentity::read(&layout.certificate(), &layout.certificate_key(), now);
    let tls = tls.map_err(|error| match error {
        TlsError::File(file, error) if error.kind() == ErrorKind::NotFound => {
            HomeError::Unfit(format!(
                "{file} is missing: make the node's certificate and key with `entente certs \
                 node`, or put those of your own CA there; `entente-node check` looks at the rest"
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
    Ok(tls)
}

fn read_user_ca(
    layout: &Layout,
    now: Timestamp,
) -> Result<Vec<CertificateDer<'static>>, HomeError> {
    let user_ca = read_pem_certificates(&layout.user_ca())?;
    for ca in &user_ca {
        check_root_der(ca, now).map_err(|error| {
            HomeError::Unfit(format!("{} does not fit: {error}", shown(&layout.user_ca())))
        })?;
    }
    Ok(user_ca)
}

/// Whether the descriptor says what the rest of the home is.
struct Fitting<'a> {
    layout: &'a Layout,
    descriptor: &'a SignedDescriptor,
    now: Timestamp,
}

impl Fitting<'_> {
    fn check(
        &self,
        config: &Config,
        tls: &TlsIdentity,
        [statement_key, log_key]: [&SigningKey; 2],
    ) -> Result<(), HomeError> {
        let said = self.descriptor.descriptor();
        if said.authority != config.authority {
            return Err(self.unfit("is another authority's"));
        }
        let names_both =
            self.names(&said.statement_keys, statement_key) && self.names(&said.log_keys, log_key);
        if !names_both {
            let what = "does not name the keys in keys/, or from a later day on only";
            return Err(self.unfit(what));
        }
        if !said.endpoints.contains(&config.exchange.advertise.to_string()) {
            return Err(self.unfit("does not name exchange.advertise of the configuration"));
        }
        self.vouches_for(tls)
    }

    /// An expired key must not prevent a start: it stops issuing, but not reading, searching and
    /// erasing.
    fn names(&self, keys: &[DatedKey], key: &SigningKey) -> bool {
        let now = self.now.seconds();
        let begun = |dated: &DatedKey| dated.not_before - CLOCK_TOLERANCE_S <= now;
        keys.iter().any(|dated| dated.key.key_id() == key.key_id() && begun(dated))
    }

    fn vouches_for(&self, tls: &TlsIdentity) -> Result<(), HomeError> {
        let roots = self.descriptor.descriptor().tls_roots.iter();
        let roots = roots.map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()));
        let roots: Vec<_> = roots.filter_map(Result::ok).collect();
        let Err(error) = tls.vouched_by(&roots, self.now) else { return Ok(()) };
        let file = shown(&self.layout.certificate());
        let none =
            format!("has no root that vouches for {file}, so no peer would let this node in");
        let Some(issuer) = tls.missing_issuer(&roots) else {
            return Err(self.unfit(&format!("{none} ({error})")));
        };
        Err(HomeError::Unfit(format!(
            "{} {none}: it leads to {issuer}, which is neither a root there nor in {file}. Append \
             the certificate of that intermediate CA to {file}; or, when {issuer} is a new root, \
             put it into {}, and run `entente-node draft` and `entente identity sign`",
            shown(&self.layout.descriptor()),
            shown(&self.layout.roots())
        )))
    }

    fn unfit(&self, what: &str) -> HomeError {
        let file = shown(&self.layout.descriptor());
        HomeError::Unfit(format!(
            "{file} {what}: run `entente-node draft`, and sign its draft with `entente identity \
             sign`"
        ))
    }
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
