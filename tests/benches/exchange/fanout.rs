//! Delivering each alert to many peers of the same policy: what one delivery costs the sender.

use std::time::Duration;

use anyhow::Context;
use ed25519_dalek::{Signer, SigningKey};
use entente_tests::federation::{ALL, Federation};

use super::create::{acknowledged, fill, live_peers};
use super::{Bar, Row, Size};

/// As many as there are other member states.
const PEERS: usize = 26;

/// Signatures verified for the unit that a delivery is compared with.
const VERIFIED: u32 = 20_000;

/// Ticks of `/proc/self/stat` in a second: what Linux shows to programs everywhere.
const TICKS_PER_S: f64 = 100.0;

/// The peers are processes of their own, so that this process's time is the sender's alone. What
/// the same number of creates costs without peers is taken off.
pub async fn rows(size: Size) -> anyhow::Result<Vec<Row>> {
    let federation = Federation::start(&["dk.politi"]).await?;
    let dk = &federation.nodes[0];
    dk.apply(ALL).await?;
    let began = cpu()?;
    fill(dk, size.fanned, 64).await?;
    let alone = cpu()?.saturating_sub(began);
    let names: Vec<_> = (0..PEERS).map(|number| format!("xx.peer{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut peers = live_peers(&federation, &names).await?;
    let began = cpu()?;
    // Other samples than before.
    fill(dk, size.fanned + 1, 64).await?;
    acknowledged(dk, &names).await?;
    let with_peers = cpu()?.saturating_sub(began);
    for peer in &mut peers {
        peer.terminate().await?;
    }
    federation.stop().await?;
    let deliveries = (size.fanned * PEERS) as f64;
    let delivery = with_peers.saturating_sub(alone).as_secs_f64() / deliveries;
    let verify = verify()?.as_secs_f64();
    Ok(vec![
        Row::new(
            "CPU of the sender a delivery, 26 peers of one policy (this machine)",
            delivery * 1e6,
            "µs",
            Bar::None,
        ),
        Row::new("the same / CPU of verify_strict", delivery / verify, "ratio", Bar::None),
    ])
}

/// CPU time of this process so far.
fn cpu() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name of the program stands in parentheses and may hold anything.
    let fields = stat.rsplit_once(") ").context("a name")?.1;
    let ticks = |place: usize| fields.split(' ').nth(place).and_then(|ticks| ticks.parse().ok());
    let (user, system): (u32, u32) = (ticks(11).context("utime")?, ticks(12).context("stime")?);
    Ok(Duration::from_secs_f64(f64::from(user + system) / TICKS_PER_S))
}

fn verify() -> anyhow::Result<Duration> {
    let key = SigningKey::from_bytes(&[7; 32]);
    let message = [1; 900];
    let signature = key.sign(&message);
    let began = cpu()?;
    for _ in 0..VERIFIED {
        key.verifying_key().verify_strict(&message, &signature)?;
    }
    Ok(cpu()?.saturating_sub(began) / VERIFIED)
}
