//! Delivering from one node to another, durable at both ends, with signed receipts.

use std::time::Duration;

use ed25519_dalek::{Signer, SigningKey};
use entente_node::desk;
use entente_node::roles::Role;
use entente_node::sample::Samples;
use entente_node::store::Change;
use entente_tests::federation::{ALL, Federation, person};
use entente_tests::proxy::Fault;
use tokio::time::Instant;

use super::create::fill;
use super::{Bar, Row, Size, quantile};

pub async fn rows(size: Size) -> anyhow::Result<Vec<Row>> {
    let federation = Federation::start(&["dk.politi", "fr.police-judiciaire"]).await?;
    let (from, to) = (&federation.nodes[0], &federation.nodes[1]);
    from.apply(ALL).await?;
    federation.settle().await?;
    let visible = visible(&federation, size).await?;
    to.proxy.set(Fault::Cut);
    fill(from, size.batch, 64).await?;
    to.proxy.set(Fault::None);
    let began = Instant::now();
    from.wake();
    federation.settle().await?;
    let rate = size.batch as f64 / began.elapsed().as_secs_f64();
    let verified = verify_strict(size.counting);
    federation.stop().await?;
    Ok(vec![
        Row::new("deliver, with receipts (this machine)", rate, "alerts/s", Bar::AtLeast(2000.0)),
        Row::new("verify_strict on one core (this machine)", verified, "signatures/s", Bar::None),
        Row::new("deliver / verify_strict", rate / verified, "ratio", Bar::None),
        Row::new(
            "created to visible at an idle peer, median (this machine)",
            visible,
            "ms",
            Bar::AtMost(50.0),
        ),
    ])
}

async fn visible(federation: &Federation, size: Size) -> anyhow::Result<f64> {
    let (from, to) = (&federation.nodes[0], &federation.nodes[1]);
    let officer = person(Role::Officer);
    let mut times = Vec::new();
    for sample in Samples::new(5).take(size.timed) {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let mut changes = to.node().store.changes();
        let began = Instant::now();
        let issued = desk::create(from.node(), &sample.to_string(), "", &officer).await?;
        let acknowledged = began.elapsed();
        loop {
            if let Change::Alert { id, .. } = changes.recv().await?
                && id == issued.id
            {
                break;
            }
        }
        times.push(began.elapsed().saturating_sub(acknowledged));
    }
    Ok(quantile(times, 0.5))
}

fn verify_strict(counting: Duration) -> f64 {
    let key = SigningKey::from_bytes(&[7; 32]);
    let message = [1; 900];
    let signature = key.sign(&message);
    let (began, mut done) = (Instant::now(), 0u32);
    while began.elapsed() < counting {
        let verified = key.verifying_key().verify_strict(&message, &signature);
        done += u32::from(verified.is_ok());
    }
    f64::from(done) / began.elapsed().as_secs_f64()
}
