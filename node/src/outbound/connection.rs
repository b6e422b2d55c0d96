//! Connections to peers, with the trust and the certificates in force at that moment.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tonic::transport::Channel;

use super::channel::channel;
use crate::admin::{THEIR_TRUST_HINT, TestStep};
use crate::id::{AuthorityId, printable};
use crate::node::SharedNode;
use crate::tls::{self, Dialled, Step, Target, Wanted};
use crate::trust::{Ending, Known, Part};

/// Connects to the first address of a peer's endpoints that completes a handshake.
pub(super) async fn connect(node: &SharedNode, peer: &AuthorityId) -> Result<Channel, String> {
    let known = active(node, peer)?;
    let target = target(node, &known)?;
    let dialled = dial(&known, &target, Wanted::First).await;
    let Some((tls, ..)) = dialled.reached else { return Err(tls::told(&dialled.missed)) };
    let tls = tls::answered(tls, &target).await?;
    channel(tls).await.map_err(|error| tls::with_causes(&error))
}

async fn dial(known: &Known, target: &Target, wanted: Wanted) -> Dialled {
    tls::dial(&known.descriptor.descriptor().endpoints, target, wanted).await
}

fn active(node: &SharedNode, peer: &AuthorityId) -> Result<Arc<Known>, String> {
    let directory = node.directory.load();
    directory.active(peer).cloned().ok_or_else(|| "the peer is not active".to_owned())
}

/// The peers that are active now.
pub(super) fn active_peers(node: &SharedNode) -> Vec<AuthorityId> {
    let directory = node.directory.load();
    let active = |peer: &AuthorityId| directory.active(peer).is_some();
    directory.all().map(|known| known.peer.authority.clone()).filter(active).collect()
}

/// Refuses to call with an expired certificate of our own, so that no peer is blamed for it.
fn target(node: &SharedNode, known: &Known) -> Result<Target, String> {
    let near = node.ends.load().near(node.clock.shown(), node.clock.now());
    let own = |ending: &&Ending| matches!(ending.part, Part::Certificate | Part::Root);
    if let Some(ending) = near.iter().filter(own).find(|ending| ending.ended) {
        return Err(ending.to_string());
    }
    let roots = known.descriptor.descriptor().tls_roots.iter();
    let roots = roots.map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()));
    let roots = roots.collect::<Result<_, _>>().map_err(|_| "a root cannot be read".to_owned())?;
    let published = node.tls.get().ok_or("this node has no certificate loaded")?;
    let own = published.own();
    Ok(Target { authority: known.peer.authority.clone(), roots, own })
}

/// Connects as streams do, also tries every other address, and reports the result of each step.
pub(super) async fn connect_stepwise(
    node: &SharedNode,
    peer: &AuthorityId,
    steps: &mut Vec<TestStep>,
) -> Option<Channel> {
    let known = active(node, peer).ok()?;
    let target = match target(node, &known) {
        Ok(target) => target,
        Err(found) => {
            steps.push(TestStep::failed("tls", found, "run `entente-node check`"));
            return None;
        }
    };
    let dialled = dial(&known, &target, Wanted::All).await;
    tell(&dialled, steps);
    let (tls, ..) = dialled.reached?;
    let tls = match tls::answered(tls, &target).await {
        Ok(tls) => tls,
        Err(found) => {
            steps.push(TestStep::failed("their trust", found, THEIR_TRUST_HINT));
            return None;
        }
    };
    match channel(tls).await {
        Ok(channel) => Some(channel),
        Err(error) => {
            steps.push(TestStep::failed("their trust", tls::with_causes(&error), THEIR_TRUST_HINT));
            None
        }
    }
}

/// The steps up to the handshake. If one address failed and another was reached, the step succeeds
/// and names the failure.
fn tell(dialled: &Dialled, steps: &mut Vec<TestStep>) {
    let missed = |step| dialled.missed.iter().filter(move |missed| missed.why.step() == step);
    let reached = dialled.reached.as_ref();
    let furthest = dialled.missed.iter().map(|missed| missed.why.step()).max();
    for (step, name) in [(Step::Name, "name"), (Step::Tcp, "tcp"), (Step::Tls, "tls")] {
        let failed: Vec<_> = missed(step).map(ToString::to_string).collect();
        if reached.is_none() && furthest.is_none_or(|furthest| furthest == step) {
            let hint =
                missed(step).next().map_or("its descriptor names no endpoint", |m| m.why.hint());
            steps.push(TestStep::failed(name, failed.join("; "), hint));
            return;
        }
        let mut found = vec![passed(step, dialled)];
        found.extend(failed);
        found.retain(|text| !text.is_empty());
        steps.push(TestStep::passed(name, found.join("; ")));
    }
}

fn passed(step: Step, dialled: &Dialled) -> String {
    let reached = dialled.reached.as_ref();
    match step {
        Step::Name => {
            let found = dialled.found.iter().filter(|(_, found)| !found.is_empty());
            let each = found.map(|(endpoint, found)| {
                let found: Vec<_> = found.iter().map(ToString::to_string).collect();
                format!("{} is {}", printable(endpoint), found.join(", "))
            });
            each.collect::<Vec<_>>().join("; ")
        }
        Step::Tcp => match reached {
            Some((.., address)) => format!("the port answers at {address}"),
            None => "the port answers".to_owned(),
        },
        Step::Tls => {
            let group = reached
                .and_then(|(tls, ..)| tls.get_ref().1.negotiated_key_exchange_group())
                .map_or_else(String::new, |group| format!(", {:?}", group.name()));
            format!("TLS 1.3{group}")
        }
    }
}
