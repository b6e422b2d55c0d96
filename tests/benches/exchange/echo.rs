//! A bare tonic server over the same TLS: what a call costs that does nothing.

use std::sync::Arc;

use entente_node::home::Layout;
use entente_node::id::Clock;
use entente_node::server::door::Door;
use entente_node::shutdown::Trigger;
use entente_node::tls::{Desk, TlsIdentity, desk_config, read_pem_certificates};
use entente_tests::federation::TestNode;
use tokio::net::TcpListener;
use tonic::transport::{Channel, Server};

/// Serves `grpc.health.v1` with the node's certificate; returns a channel to it, as an officer.
pub async fn start(node: &TestNode) -> anyhow::Result<(Trigger, Channel)> {
    let layout = Layout::new(&node.home);
    let now = Clock::system().now();
    let own = TlsIdentity::read(&layout.certificate(), &layout.certificate_key(), now)?;
    let users = Desk::new(node.authority.clone(), read_pem_certificates(&layout.user_ca())?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let config = Arc::new(arc_swap::ArcSwap::from_pointee(desk_config(&own, users)?));
    let (trigger, shutdown) = Trigger::new();
    let peers = Arc::new(Arc::default);
    let incoming = Door { listener, config, connections_max: 16, peers }.open(shutdown);
    let (_, service) = tonic_health::server::health_reporter();
    let serving = Server::builder().add_service(service);
    tokio::spawn(serving.serve_with_incoming(incoming));
    Ok((trigger, node.call("officer", address).await?))
}
