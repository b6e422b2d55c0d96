//! What is in force of a node's TLS: published whole by whoever read and validated it; doors and
//! callers read it at each handshake.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::CertificateDer;

use super::TlsError;
use super::identity::TlsIdentity;
use super::server::{Desk, DoorTls, Exchange, desk_config, exchange_config};
use crate::id::AuthorityId;
use crate::trust::Directory;

/// What TLS goes by, ready to be published.
pub struct SetUp {
    own: TlsIdentity,
    exchange: DoorTls,
    desk: DoorTls,
}

impl SetUp {
    /// For the node of this authority: its certificate, its user CA, and the peers as they are at
    /// each handshake.
    ///
    /// # Errors
    /// When rustls refuses it.
    pub fn new(
        authority: &AuthorityId,
        own: &TlsIdentity,
        user_ca: &[CertificateDer<'static>],
        peers: &Arc<ArcSwap<Directory>>,
    ) -> Result<Self, TlsError> {
        let peers = Arc::clone(peers);
        let exchange = Exchange::new(move || peers.load_full());
        let desk = Desk::new(authority.clone(), user_ca.to_vec());
        Ok(Self {
            exchange: exchange_config(own, exchange)?,
            desk: desk_config(own, desk)?,
            own: own.clone(),
        })
    }
}

/// What TLS goes by now.
pub struct Published {
    own: ArcSwap<TlsIdentity>,
    exchange: Arc<ArcSwap<DoorTls>>,
    desk: Arc<ArcSwap<DoorTls>>,
}

impl Published {
    /// Begins with this.
    pub fn new(set_up: SetUp) -> Self {
        Self {
            own: ArcSwap::from_pointee(set_up.own),
            exchange: Arc::new(ArcSwap::from_pointee(set_up.exchange)),
            desk: Arc::new(ArcSwap::from_pointee(set_up.desk)),
        }
    }

    /// From the next handshake on it is this.
    pub fn publish(&self, set_up: SetUp) {
        self.own.store(Arc::new(set_up.own));
        self.exchange.store(Arc::new(set_up.exchange));
        self.desk.store(Arc::new(set_up.desk));
    }

    /// Who the node is towards its peers.
    pub fn own(&self) -> TlsIdentity {
        TlsIdentity::clone(&self.own.load())
    }

    /// The exchange door's set-up, to read at each handshake.
    pub fn exchange(&self) -> Arc<ArcSwap<DoorTls>> {
        Arc::clone(&self.exchange)
    }

    /// The desk door's set-up, to read at each handshake.
    pub fn desk(&self) -> Arc<ArcSwap<DoorTls>> {
        Arc::clone(&self.desk)
    }
}
