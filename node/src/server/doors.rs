//! Both doors as they are served: which services stand behind each, and what each may hold.

use std::sync::Arc;
use std::time::Duration;

use entente_proto::admin::admin_server::AdminServer;
use entente_proto::admin::audit_server::AuditServer;
use entente_proto::desk::desk_server::DeskServer;
use entente_proto::desk::notices_server::NoticesServer;
use entente_proto::exchange::exchange_server::ExchangeServer;
use tokio::net::TcpListener;
use tonic::service::Routes;

use super::admin::AdminService;
use super::audit::AuditService;
use super::desk::DeskService;
use super::door::{Door, Peers};
use super::exchange::ExchangeService;
use super::gate::{Budget, DESK_BYTES_MAX, EXCHANGE_BYTES_MAX, EXCHANGE_MESSAGE_BYTES_MAX};
use super::notices::NoticeService;
use super::serve::Serving;
use crate::node::SharedNode;
use crate::readiness::{Level, readiness};
use crate::shutdown::Shutdown;
use crate::telemetry::CallsLayer;
use crate::tls::Published;

/// How often the answer of `grpc.health.v1` is set.
const HEALTH_INTERVAL: Duration = Duration::from_secs(2);

/// Serves peers until the end begins.
pub fn serve_exchange(
    node: SharedNode,
    listener: TcpListener,
    tls: &Published,
    shutdown: Shutdown,
) -> impl Future<Output = ()> + use<> {
    let config = &node.config.exchange;
    let door = Door {
        listener,
        config: tls.exchange(),
        connections_max: config.connections_max.count(),
        peers: peers(&node),
    };
    let calls_max = config.calls_per_connection_max.count();
    let age = config.connection_age_s.seconds();
    async move {
        let service = ExchangeServer::new(ExchangeService::new(node.clone()))
            .max_decoding_message_size(EXCHANGE_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(EXCHANGE_MESSAGE_BYTES_MAX);
        let services = Routes::new(service).add_service(health(&node, &shutdown).await).prepare();
        let calls = CallsLayer::new(node.authority.clone(), "exchange");
        let accepted = door.open(shutdown.clone());
        let budget = Budget::new(EXCHANGE_BYTES_MAX);
        Serving { services, node, calls, budget, calls_max, age }.run(accepted, shutdown).await;
    }
}

/// Serves people and systems of the authority until the end begins.
pub fn serve_desk(
    node: SharedNode,
    listener: TcpListener,
    tls: &Published,
    shutdown: Shutdown,
) -> impl Future<Output = ()> + use<> {
    let config = &node.config.desk;
    let door = Door {
        listener,
        config: tls.desk(),
        connections_max: config.connections_max.count(),
        peers: peers(&node),
    };
    let calls_max = config.calls_per_connection_max.count();
    let age = config.connection_age_s.seconds();
    async move {
        let mut services = Routes::new(DeskServer::new(DeskService::new(node.clone())))
            .add_service(NoticesServer::new(NoticeService::new(node.clone())))
            .add_service(AdminServer::new(AdminService::new(node.clone())))
            .add_service(AuditServer::new(AuditService::new(node.clone())))
            .add_service(health(&node, &shutdown).await);
        let reflects = node.config.reflection;
        if let Some(service) = reflection(reflects).and_then(|with| with.build_v1().ok()) {
            services = services.add_service(service);
        }
        if let Some(service) = reflection(reflects).and_then(|with| with.build_v1alpha().ok()) {
            services = services.add_service(service);
        }
        let (services, calls) =
            (services.prepare(), CallsLayer::new(node.authority.clone(), "desk"));
        let accepted = door.open(shutdown.clone());
        let budget = Budget::new(DESK_BYTES_MAX);
        Serving { services, node, calls, budget, calls_max, age }.run(accepted, shutdown).await;
    }
}

fn peers(node: &SharedNode) -> Peers {
    let directory = Arc::clone(&node.directory);
    Arc::new(move || directory.load_full())
}

/// `grpc.health.v1`: not serving while creating and searching are refused, or nobody gets in.
async fn health(
    node: &SharedNode,
    shutdown: &Shutdown,
) -> tonic_health::pb::health_server::HealthServer<impl tonic_health::pb::health_server::Health> {
    let (reporter, service) = tonic_health::server::health_reporter();
    let (node, mut shutdown) = (node.clone(), shutdown.clone());
    tokio::spawn(async move {
        loop {
            let refusing = readiness(&node).iter().any(|reason| reason.level == Level::Refusing);
            let status = match refusing {
                true => tonic_health::ServingStatus::NotServing,
                false => tonic_health::ServingStatus::Serving,
            };
            reporter.set_service_status("", status).await;
            if !shutdown.tick(HEALTH_INTERVAL).await {
                return;
            }
        }
    });
    service
}

/// gRPC server reflection, for the version of today and for the one that older tools ask for.
fn reflection(on: bool) -> Option<tonic_reflection::server::Builder<'static>> {
    let set = entente_proto::DESCRIPTORS;
    let builder = || tonic_reflection::server::Builder::configure();
    on.then(|| builder().register_encoded_file_descriptor_set(set))
}
