//! Health and metrics on the loopback port, `grpc.health.v1` at the doors, and a reload without a
//! restart.

use entente_node::admin;
use entente_node::home::Layout;
use entente_node::sample::Samples;
use entente_proto::desk::WhoamiRequest;
use entente_proto::desk::desk_client::DeskClient;
use entente_tests::federation::{ALL, Federation};
use entente_tests::processes::http_get;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_are_served_without_personal_data() -> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi", "fr.police-judiciaire"]).await?;
    let dk = &federation.nodes[0];
    dk.apply(ALL).await?;
    let sample = Samples::new(1).next().expect("a sample");
    let id = dk.create(&sample).await?;
    federation.settle().await?;
    let mut desk = DeskClient::new(dk.desk("officer").await?);
    desk.whoami(WhoamiRequest {}).await?;
    let address = dk.running().telemetry;
    for path in ["/health/live", "/health/ready"] {
        assert!(http_get(address, path).await?.0.contains("200"), "{path}");
    }
    assert!(http_get(address, "/nothing").await?.0.contains("404"));
    let metrics = http_get(address, "/metrics").await?.1;
    for name in [
        "entente_store_records{authority=\"dk.politi\",table=\"own\"} 1",
        "entente_stream_acknowledged{authority=\"dk.politi\",peer=\"fr.police-judiciaire\"} 1",
        "entente_lost_state{authority=\"dk.politi\"} 0",
        "entente_audit_log_entries",
        "entente_calls_total",
    ] {
        assert!(metrics.contains(name), "{name} is not in\n{metrics}");
    }
    assert!(!metrics.contains(&id.to_string()), "no id of an alert");
    for door in
        [dk.call("officer", dk.running().desk).await?, dk.as_peer(&federation.nodes[1]).await?]
    {
        let health = HealthClient::new(door).check(HealthCheckRequest::default()).await?;
        assert_eq!(health.into_inner().status, 1, "serving");
    }
    federation.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_does_not_validate_leaves_the_old_in_force() -> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi"]).await?;
    let dk = &federation.nodes[0];
    let reloaded = admin::reload(dk.node(), "administrator").await?;
    assert!(reloaded.in_force.iter().any(|what| what == "the node's certificate"));
    let certificate = Layout::new(&dk.home).certificate();
    let good = std::fs::read(&certificate)?;
    std::fs::write(&certificate, "no certificate")?;
    let refused = admin::reload(dk.node(), "administrator").await.expect_err("refused");
    assert!(refused.to_string().contains("the old stays in force"), "{refused}");
    dk.desk("officer").await?;
    std::fs::write(&certificate, good)?;
    let config = Layout::new(&dk.home).config();
    let settings = std::fs::read_to_string(&config)?;
    std::fs::write(&config, settings.replace("filter = \"info\"", "filter = \"debug\""))?;
    let reloaded = admin::reload(dk.node(), "administrator").await?;
    assert_eq!(reloaded.not_in_force, ["log.filter: restart the node"]);
    std::fs::write(&config, settings.replace("filter = \"info\"", "filter = \"loud\""))?;
    let refused = admin::reload(dk.node(), "administrator").await.expect_err("refused");
    assert!(refused.to_string().contains("log.filter") || refused.to_string().contains("line"));
    std::fs::write(&config, settings)?;
    federation.stop().await
}
