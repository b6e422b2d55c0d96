//! The side of the two doors: who may connect.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};

use super::refusal::Refusal;
use super::vouch::{Side, vouched, vouched_by_nobody};
use super::{TlsError, TlsIdentity, provider, refuse_tls12, timestamp, verify_tls13_signature};
use crate::id::AuthorityId;
use crate::trust::{
    CHAIN_MAX, Directory, Identity, Known, PeerState, certificate_identity, check_leaf,
};

/// Lets in nodes of active peers, each by the roots in its own descriptor.
pub struct Exchange {
    directory: Box<dyn Fn() -> Arc<Directory> + Send + Sync>,
}

impl Exchange {
    /// Takes a way to see the present peers.
    pub fn new(directory: impl Fn() -> Arc<Directory> + Send + Sync + 'static) -> Self {
        Self { directory: Box::new(directory) }
    }
}

/// Lets in people and systems of the authority itself, by its user CA.
pub struct Desk {
    authority: AuthorityId,
    user_ca: Vec<CertificateDer<'static>>,
}

impl Desk {
    /// Takes the certificates of the user CA.
    pub fn new(authority: AuthorityId, user_ca: Vec<CertificateDer<'static>>) -> Self {
        Self { authority, user_ca }
    }
}

/// A door's configuration: who answers there, and who may connect.
pub struct DoorTls {
    own: TlsIdentity,
    judge: Arc<Judge>,
}

/// The configuration of the exchange door.
///
/// # Errors
/// When rustls refuses it.
pub fn exchange_config(own: &TlsIdentity, door: Exchange) -> Result<DoorTls, TlsError> {
    DoorTls::new(own, Judge::Exchange(door))
}

/// The configuration of the desk door.
///
/// # Errors
/// When rustls refuses it.
pub fn desk_config(own: &TlsIdentity, door: Desk) -> Result<DoorTls, TlsError> {
    DoorTls::new(own, Judge::Desk(door))
}

impl DoorTls {
    fn new(own: &TlsIdentity, judge: Judge) -> Result<Self, TlsError> {
        let door = Self { own: own.clone(), judge: Arc::new(judge) };
        door.for_one_handshake()?;
        Ok(door)
    }

    /// `exchange` or `desk`.
    pub fn name(&self) -> &'static str {
        match &*self.judge {
            Judge::Exchange(_) => "exchange",
            Judge::Desk(_) => "desk",
        }
    }

    /// The authority whose door it is.
    pub fn authority(&self) -> &AuthorityId {
        match self.own.identity() {
            Identity::Node(authority) | Identity::User(authority, _) => authority,
        }
    }

    /// Made for each handshake, since its verifier remembers the certificates that were shown. A
    /// resumed session would skip the verifier, so sessions can't be resumed.
    ///
    /// # Errors
    /// When rustls refuses it.
    pub fn for_one_handshake(&self) -> Result<ServerConfig, TlsError> {
        let key = SingleCertAndKey::from(self.own.certified_key());
        let verifier = Verifier { judge: Arc::clone(&self.judge), shown: OnceLock::new() };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(key));
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.max_early_data_size = 0;
        Ok(config)
    }
}

/// Who may connect, by door.
enum Judge {
    Exchange(Exchange),
    Desk(Desk),
}

/// What a caller showed, and when.
struct Shown {
    chain: Vec<CertificateDer<'static>>,
    now: UnixTime,
}

impl Judge {
    fn judge(&self, leaf: &CertificateDer<'_>, shown: &Shown) -> Result<(), Refusal> {
        match self {
            Self::Exchange(door) => door.judge(leaf, shown),
            Self::Desk(door) => door.judge(leaf, shown),
        }
    }
}

impl Exchange {
    /// Takes the same steps whether the name is known or not, so that timing reveals no more than
    /// the alert.
    fn judge(&self, leaf: &CertificateDer<'_>, shown: &Shown) -> Result<(), Refusal> {
        let now = timestamp(shown.now);
        let fits = check_leaf(leaf, now);
        let claimed = match certificate_identity(leaf) {
            Ok(Identity::Node(claimed)) => claimed,
            Ok(Identity::User(authority, _)) => {
                let sentence = format!("a person of {authority}: people call the desk door");
                return Err(Refusal::new("wrong_door", sentence));
            }
            Err(error) => return Err(Refusal::unfit("somebody", error)),
        };
        let directory = (self.directory)();
        let known = directory.peer(&claimed);
        let vouched = match known.map(Arc::as_ref).map(peer_roots) {
            Some(roots) => vouched(&roots, leaf, &shown.chain, Side::Caller, shown.now),
            None => vouched_by_nobody(leaf, &shown.chain, shown.now),
        };
        let Some(state) = known.map(|known| known.peer.state) else {
            let sentence = format!("{claimed} is unknown here: import its descriptor");
            return Err(Refusal::new("unknown", sentence));
        };
        let standing = format!("{claimed}, which is {} here", state.as_str());
        if let Err(error) = fits {
            return Err(Refusal::unfit(&standing, error));
        }
        if vouched.is_err() {
            let sentence = format!(
                "{standing}: no root of its descriptor vouches for the certificate; \
                 import its newest descriptor, or somebody else claims to be it"
            );
            return Err(Refusal::new("not_vouched", sentence));
        }
        match state {
            PeerState::Active => Ok(()),
            other => Err(Refusal::standing(&claimed, other)),
        }
    }
}

/// The roots that a peer's descriptor names.
fn peer_roots(known: &Known) -> Vec<CertificateDer<'static>> {
    let roots = known.descriptor.descriptor().tls_roots.iter();
    roots.filter_map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).ok()).collect()
}

impl Desk {
    fn judge(&self, leaf: &CertificateDer<'_>, shown: &Shown) -> Result<(), Refusal> {
        let now = timestamp(shown.now);
        let authority = match certificate_identity(leaf) {
            Ok(Identity::User(authority, _)) => authority,
            Ok(Identity::Node(authority)) => {
                let sentence = format!("the node of {authority}: nodes call the exchange door");
                return Err(Refusal::new("wrong_door", sentence));
            }
            Err(error) => return Err(Refusal::unfit("somebody", error)),
        };
        let who = format!("a person of {authority}");
        if authority != self.authority {
            let sentence = format!("{who}: only people of {} come in here", self.authority);
            return Err(Refusal::new("unknown", sentence));
        }
        check_leaf(leaf, now).map_err(|error| Refusal::unfit(&who, error))?;
        vouched(&self.user_ca, leaf, &shown.chain, Side::Caller, shown.now).map_err(|_| {
            let sentence = format!("{who}: the user CA does not vouch for the certificate");
            Refusal::new("not_vouched", sentence)
        })
    }
}

/// Verifies one handshake. It gives the verdict once the caller has proved that it has the key of
/// its certificate: before that, anybody could show a peer's certificate and learn from the answer
/// whether we know that peer.
struct Verifier {
    judge: Arc<Judge>,
    shown: OnceLock<Shown>,
}

impl ClientCertVerifier for Verifier {
    /// No hints: they would reveal who our peers are.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    /// Keeps the chain for [`Self::verify_tls13_signature`], which TLS 1.3 always calls next. A
    /// chain that is too long is not looked at, whoever shows it.
    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if chain.len() >= CHAIN_MAX {
            let sentence = format!("somebody: its chain has more than {CHAIN_MAX} certificates");
            return Err(Refusal::new("chain_too_long", sentence).into());
        }
        let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        self.shown
            .set(Shown { chain, now })
            .map_err(|_| Error::General("two certificates in one handshake".to_owned()))?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        refuse_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let proven = verify_tls13_signature(message, leaf, signature);
        let (Ok(proven), Some(shown)) = (proven, self.shown.get()) else {
            let sentence = "somebody: it does not show that it has the key of its certificate";
            return Err(Refusal::new("key_not_shown", sentence).into());
        };
        self.judge.judge(leaf, shown)?;
        Ok(proven)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier of a door")
    }
}
