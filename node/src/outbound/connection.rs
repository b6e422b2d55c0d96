//! Connections to peers, with the trust and the certificates of the moment.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::net::{TcpStream, lookup_host};
use tonic::transport::Channel;

use super::probe::{THEIR_TRUST_HINT, TestStep};
use crate::id::AuthorityId;
use crate::node::SharedNode;
use crate::tls::{self, Target};
use crate::trust::Known;

/// How long one step of a peer test may take.
pub(super) const STEP_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects to the first endpoint of a peer that answers.
pub(super) async fn connect(node: &SharedNode, peer: &AuthorityId) -> Result<Channel, String> {
    let known = active(node, peer)?;
    let target = target(node, &known)?;
    let mut failures = Vec::new();
    for endpoint in &known.descriptor.descriptor().endpoints {
        match tls::connect(endpoint, &target).await {
            Ok(channel) => return Ok(channel),
            Err(failure) => failures.push(failure),
        }
    }
    Err(failures.join("; "))
}

fn active(node: &SharedNode, peer: &AuthorityId) -> Result<Arc<Known>, String> {
    let directory = node.directory.load();
    directory.active(peer).cloned().ok_or_else(|| "the peer is not active".to_owned())
}

fn target(node: &SharedNode, known: &Known) -> Result<Target, String> {
    let roots = known.descriptor.descriptor().tls_roots.iter();
    let roots = roots.map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()));
    let roots = roots.collect::<Result<_, _>>().map_err(|_| "a root cannot be read".to_owned())?;
    let own = node.tls_identity().ok_or("this node has no certificate loaded")?;
    Ok(Target { authority: known.peer.authority.clone(), roots, own })
}

/// Connects step by step, so that the one that fails can be named.
pub(super) async fn connect_stepwise(
    node: &SharedNode,
    peer: &AuthorityId,
    steps: &mut Vec<TestStep>,
) -> Option<Channel> {
    let known = active(node, peer).ok()?;
    let endpoint = known.descriptor.descriptor().endpoints.first()?.clone();
    let found = tokio::time::timeout(STEP_TIMEOUT, lookup_host(&endpoint)).await;
    let address = found.ok().and_then(Result::ok).and_then(|mut found| found.next());
    let Some(address) = address else {
        let hint = "check the name in the peer's descriptor and this machine's name service";
        steps.push(TestStep::failed("name", format!("{endpoint} is not found"), hint));
        return None;
    };
    steps.push(TestStep::passed("name", format!("{endpoint} is {address}")));
    let tcp = match tokio::time::timeout(STEP_TIMEOUT, TcpStream::connect(address)).await {
        Ok(Ok(tcp)) => tcp,
        failed => {
            let found = match failed {
                Ok(Err(error)) => error.to_string(),
                _ => "no answer within 5 s".to_owned(),
            };
            let hint =
                "ask its contact desk whether the node runs, and check the firewalls between";
            steps.push(TestStep::failed("tcp", found, hint));
            return None;
        }
    };
    steps.push(TestStep::passed("tcp", "the port answers"));
    shake_hands(node, &known, tcp, steps).await
}

async fn shake_hands(
    node: &SharedNode,
    known: &Known,
    tcp: TcpStream,
    steps: &mut Vec<TestStep>,
) -> Option<Channel> {
    let hint = "its certificate must be signed by a root in its descriptor, and name it; if it changed its roots, \
                import its newest descriptor";
    let target = match target(node, known) {
        Ok(target) => target,
        Err(found) => {
            steps.push(TestStep::failed("tls", found, "run `entente-node check`"));
            return None;
        }
    };
    let shaken = tokio::time::timeout(STEP_TIMEOUT, tls::handshake(tcp, &target)).await;
    let tls = match shaken {
        Ok(Ok(tls)) => tls,
        Ok(Err(error)) => {
            steps.push(TestStep::failed("tls", error.to_string(), hint));
            return None;
        }
        Err(_) => {
            let hint = "ask its contact desk whether the node is well; a firewall between, or another service at \
                        this port, may hold the connection";
            steps.push(TestStep::failed("tls", "no handshake within 5 s", hint));
            return None;
        }
    };
    let group = tls.get_ref().1.negotiated_key_exchange_group();
    let group = group.map_or_else(String::new, |group| format!(", {:?}", group.name()));
    steps.push(TestStep::passed("tls", format!("TLS 1.3{group}")));
    match tls::channel(tls).await {
        Ok(channel) => Some(channel),
        Err(error) => {
            steps.push(TestStep::failed("their trust", tls::chain(&error), THEIR_TRUST_HINT));
            None
        }
    }
}
