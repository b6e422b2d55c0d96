//! Searching by identifier over mTLS, each search durable in the audit log before its answer.

use std::time::Duration;

use entente_proto::desk::desk_client::DeskClient;
use entente_proto::desk::{Identifier, SearchRequest};
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::{Bar, Row, Size, echo, filled, median, memory, quantile, rate};

/// Calls in flight.
const AT_ONCE: usize = 32;

/// Slices in which two rates are measured, one after the other.
const TURNS: u32 = 5;

pub async fn rows(size: Size) -> anyhow::Result<Vec<Row>> {
    let small = filled(size.small).await?;
    let idle = filled(0).await?;
    let mut full = filled(size.full).await?;
    let (ending, channel) = echo::start(&full.nodes[0]).await?;
    let desk = full.nodes[0].desk("officer").await?;
    let (mut searches, mut echoes) = (Vec::new(), Vec::new());
    // In turn, so that both see the same machine.
    for _ in 0..TURNS {
        let slice = size.counting / TURNS;
        searches.push(rate(AT_ONCE, slice, |number| search(desk.clone(), number)).await?);
        echoes.push(rate(AT_ONCE, slice, |_| echoed(channel.clone())).await?);
    }
    let (searches, echoes) = (median(searches), median(echoes));
    ending.begin();
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        few.extend(times(small.nodes[0].desk("officer").await?, size.timed / 4).await?);
        many.extend(times(full.nodes[0].desk("officer").await?, size.timed / 4).await?);
    }
    let slower = quantile(many, 0.5) / quantile(few, 0.5);
    let mut homes = Vec::new();
    for mut federation in [idle, small] {
        federation.nodes[0].stop().await?;
        homes.push(federation);
    }
    full.nodes[0].stop().await?;
    let resident = (
        memory::resident(&homes[0].nodes[0], false).await?,
        memory::resident(&full.nodes[0], true).await?,
    );
    let alerts = size.full;
    Ok(vec![
        Row::new(
            format!("search by identifier, {alerts} alerts, 32 in flight"),
            searches,
            "calls/s",
            Bar::None,
        ),
        Row::new("bare echo over the same TLS", echoes, "calls/s", Bar::None),
        Row::new("search / bare echo", searches / echoes, "ratio", Bar::AtLeast(0.35)),
        Row::new(
            format!("search median, {alerts} / {} alerts", size.small),
            slower,
            "ratio",
            Bar::AtMost(1.3),
        ),
        Row::new("resident memory, idle node (this machine)", resident.0, "MiB", Bar::AtMost(40.0)),
        Row::new(
            format!("resident memory, {alerts} alerts, all read, 5000 searches (this machine)"),
            resident.1,
            "MiB",
            Bar::AtMost(300.0),
        ),
    ])
}

fn request(number: usize) -> SearchRequest {
    let number = format!("S{:08}", number * 7919 % 100_000_000);
    SearchRequest {
        case_ref: "bench".to_owned(),
        offence: "labour".to_owned(),
        subject_category: "missing".to_owned(),
        aim: "identify".to_owned(),
        identifiers: vec![Identifier {
            r#type: "passport".to_owned(),
            country: "DK".to_owned(),
            number,
        }],
        ..SearchRequest::default()
    }
}

pub async fn search(channel: Channel, number: usize) -> anyhow::Result<()> {
    let mut answer = DeskClient::new(channel).search(request(number)).await?.into_inner();
    while answer.message().await?.is_some() {}
    Ok(())
}

async fn echoed(channel: Channel) -> anyhow::Result<()> {
    HealthClient::new(channel).check(HealthCheckRequest::default()).await?;
    Ok(())
}

async fn times(channel: Channel, count: usize) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(count);
    for number in 0..count {
        let began = Instant::now();
        search(channel.clone(), number).await?;
        times.push(began.elapsed());
    }
    Ok(times)
}
