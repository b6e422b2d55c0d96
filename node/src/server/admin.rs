//! The desk door's service for administrators and coordinators. No method gives alert content.

use entente_proto::admin as proto;
use entente_proto::admin::admin_server::Admin;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tonic::{Code, Request, Response, Status};

use super::gate;
use crate::admin::{self, AdminError, Shown};
use crate::home::Reloaded;
use crate::id::Timestamp;
use crate::node::SharedNode;
use crate::outbound;
use crate::reason::Reason;
use crate::roles::{Action, Role};
use crate::trust::{Fingerprint, Peer, PeerState};
use crate::wire::admin as wire;
use crate::wire::admin::admin_status;
use crate::wire::desk::{alert_id, authority};
use crate::wire::refusal::{Malformed, refusal};

/// The service.
#[derive(Clone)]
pub struct AdminService {
    node: SharedNode,
}

impl AdminService {
    /// For this node.
    pub fn new(node: SharedNode) -> Self {
        Self { node }
    }

    /// With what its stream waits for, e.g. an upgrade.
    fn shown(&self, peer: &Peer) -> Result<proto::Peer, Status> {
        let waiting = self.node.streams.status(&peer.authority).waiting;
        let mut shown = wire::peer(peer, self.node.clock.now())?;
        shown.warnings.extend(waiting.map(|waiting| format!("waiting: {waiting}")));
        Ok(shown)
    }

    fn peer(&self, peer: Result<Peer, AdminError>) -> Result<Response<proto::Peer>, Status> {
        let peer = peer.map_err(|error| admin_status(&error))?;
        Ok(Response::new(self.shown(&peer)?))
    }

    async fn change_peer(
        &self,
        request: Request<proto::ChangePeerRequest>,
        to: PeerState,
    ) -> Result<Response<proto::Peer>, Status> {
        let actor = gate::user(&request)?;
        let asked = request.into_inner();
        let peer = authority(&asked.authority)?;
        self.peer(admin::change_peer(&self.node, &peer, to, &asked.reason, &actor).await)
    }
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn export_descriptor(
        &self,
        _: Request<proto::ExportDescriptorRequest>,
    ) -> Result<Response<proto::ExportDescriptorResponse>, Status> {
        let descriptor = self.node.descriptor.load();
        let Some(descriptor) = descriptor.as_ref() else {
            let message = "this node has no signed descriptor";
            return Err(refusal(Code::FailedPrecondition, Reason::NoDescriptor, message));
        };
        Ok(Response::new(proto::ExportDescriptorResponse {
            descriptor: descriptor.jws().to_owned(),
            fingerprint: descriptor.fingerprint().to_string(),
        }))
    }

    async fn import_peer(
        &self,
        request: Request<proto::ImportPeerRequest>,
    ) -> Result<Response<proto::Peer>, Status> {
        let actor = gate::user(&request)?;
        let descriptor = request.into_inner().descriptor;
        self.peer(admin::import_peer(&self.node, &descriptor, &actor).await)
    }

    async fn list_peers(
        &self,
        _: Request<proto::ListPeersRequest>,
    ) -> Result<Response<proto::ListPeersResponse>, Status> {
        let directory = self.node.directory.load();
        let peers: Result<Vec<_>, _> =
            directory.all().map(|known| self.shown(&known.peer)).collect();
        let mut peers = peers?;
        peers.sort_by(|a, b| a.authority.cmp(&b.authority));
        Ok(Response::new(proto::ListPeersResponse { peers }))
    }

    async fn show_peer(
        &self,
        request: Request<proto::PeerRequest>,
    ) -> Result<Response<proto::Peer>, Status> {
        let peer = authority(&request.into_inner().authority)?;
        let directory = self.node.directory.load();
        let known = directory.peer(&peer).map(|known| known.peer.clone());
        self.peer(known.ok_or(AdminError::UnknownPeer(peer)))
    }

    async fn approve_peer(
        &self,
        request: Request<proto::ApprovePeerRequest>,
    ) -> Result<Response<proto::Peer>, Status> {
        let actor = gate::user(&request)?;
        let asked = request.into_inner();
        let peer = authority(&asked.authority)?;
        let fingerprint: Result<Fingerprint, _> = asked.fingerprint.parse();
        let fingerprint = fingerprint.map_err(|error| admin_status(&error.into()))?;
        self.peer(admin::approve_peer(&self.node, &peer, &fingerprint, &actor).await)
    }

    async fn suspend_peer(
        &self,
        request: Request<proto::ChangePeerRequest>,
    ) -> Result<Response<proto::Peer>, Status> {
        self.change_peer(request, PeerState::Suspended).await
    }

    async fn resume_peer(
        &self,
        request: Request<proto::ChangePeerRequest>,
    ) -> Result<Response<proto::Peer>, Status> {
        self.change_peer(request, PeerState::Active).await
    }

    async fn remove_peer(
        &self,
        request: Request<proto::ChangePeerRequest>,
    ) -> Result<Response<proto::Peer>, Status> {
        self.change_peer(request, PeerState::Removed).await
    }

    async fn test_peer(
        &self,
        request: Request<proto::PeerRequest>,
    ) -> Result<Response<proto::TestPeerResponse>, Status> {
        let peer = authority(&request.into_inner().authority)?;
        let steps = outbound::test_peer(&self.node, &peer).await;
        Ok(Response::new(wire::tested(steps)))
    }

    async fn retry_parked(
        &self,
        request: Request<proto::PeerRequest>,
    ) -> Result<Response<proto::RetryParkedResponse>, Status> {
        let actor = gate::user(&request)?;
        let peer = authority(&request.into_inner().authority)?;
        let retried = admin::retry_parked(&self.node, &peer, &actor).await;
        let retried = retried.map_err(|error| admin_status(&error))?;
        Ok(Response::new(proto::RetryParkedResponse { retried }))
    }

    async fn list_parked(
        &self,
        request: Request<proto::PeerRequest>,
    ) -> Result<Response<proto::ListParkedResponse>, Status> {
        let peer = authority(&request.into_inner().authority)?;
        let parked = admin::parked(&self.node, &peer);
        let parked = parked.map_err(|error| admin_status(&error.into()))?;
        let message = |(theirs, id, parked)| wire::parked(&peer, theirs, &id, &parked);
        let parked = parked.into_iter().map(message).collect();
        Ok(Response::new(proto::ListParkedResponse { parked }))
    }

    async fn show_policy(
        &self,
        request: Request<proto::ShowPolicyRequest>,
    ) -> Result<Response<proto::Policy>, Status> {
        let shown = admin::shown(&self.node, request.into_inner().version);
        let (version, record) = shown.map_err(|error| admin_status(&error))?;
        let pending = admin::pending(&self.node);
        let pending = pending.map_err(|error| admin_status(&error.into()))?;
        Ok(Response::new(wire::policy(version, record, &pending)))
    }

    async fn apply_policy(
        &self,
        request: Request<proto::ApplyPolicyRequest>,
    ) -> Result<Response<proto::ApplyPolicyResponse>, Status> {
        let actor = gate::user(&request)?;
        let asked = request.into_inner();
        let applied = admin::apply(&self.node, &asked.source, asked.dry_run, &actor).await;
        applied.map(wire::applied).map(Response::new).map_err(|error| admin_status(&error))
    }

    async fn approve_policy(
        &self,
        request: Request<proto::ApprovePolicyRequest>,
    ) -> Result<Response<proto::ApplyPolicyResponse>, Status> {
        let actor = gate::user(&request)?;
        let applied = admin::approve(&self.node, request.into_inner().proposal, &actor).await;
        applied.map(wire::applied).map(Response::new).map_err(|error| admin_status(&error))
    }

    async fn explain_policy(
        &self,
        request: Request<proto::ExplainPolicyRequest>,
    ) -> Result<Response<proto::ExplainPolicyResponse>, Status> {
        let actor = gate::user(&request)?;
        let asked = request.into_inner();
        let (alert, peer) = (alert_id(&asked.alert)?, authority(&asked.peer)?);
        let explained = admin::explain(&self.node, &alert, &peer, &actor).await;
        explained.map(wire::explained).map(Response::new).map_err(|error| admin_status(&error))
    }

    async fn list_users(
        &self,
        _: Request<proto::ListUsersRequest>,
    ) -> Result<Response<proto::ListUsersResponse>, Status> {
        let users = admin::users(&self.node).map_err(|error| admin_status(&error.into()))?;
        let users = users.iter().map(|(name, user)| wire::user(name, user)).collect();
        Ok(Response::new(proto::ListUsersResponse { users }))
    }

    async fn add_user(
        &self,
        request: Request<proto::AddUserRequest>,
    ) -> Result<Response<proto::User>, Status> {
        let actor = gate::user(&request)?;
        let asked = request.into_inner();
        let roles: Option<Vec<Role>> = asked.roles.iter().map(|role| Role::parse(role)).collect();
        let roles = roles.ok_or(Malformed("roles"))?;
        let certificate = CertificateDer::from_pem_slice(asked.certificate.as_bytes())
            .map_err(|_| Malformed("certificate"))?;
        let added = admin::add_user(&self.node, &asked.name, roles, &certificate, &actor).await;
        let user = added.map_err(|error| admin_status(&error))?;
        Ok(Response::new(wire::user(&asked.name, &user)))
    }

    async fn approve_user(
        &self,
        request: Request<proto::UserRequest>,
    ) -> Result<Response<proto::User>, Status> {
        let actor = gate::user(&request)?;
        let name = request.into_inner().name;
        let approved = admin::approve_user(&self.node, &name, &actor).await;
        let user = approved.map_err(|error| admin_status(&error))?;
        Ok(Response::new(wire::user(&name, &user)))
    }

    async fn remove_user(
        &self,
        request: Request<proto::UserRequest>,
    ) -> Result<Response<proto::User>, Status> {
        let actor = gate::user(&request)?;
        let name = request.into_inner().name;
        let removed = admin::remove_user(&self.node, &name, &actor).await;
        let user = removed.map_err(|error| admin_status(&error))?;
        Ok(Response::new(wire::user(&name, &user)))
    }

    async fn recover_statements(
        &self,
        _: Request<proto::RecoverStatementsRequest>,
    ) -> Result<Response<proto::RecoverStatementsResponse>, Status> {
        let recovered = outbound::recover(&self.node).await;
        let failed = recovered.failed.iter().map(|(peer, why)| format!("{peer}: {why}"));
        Ok(Response::new(proto::RecoverStatementsResponse {
            recovered: recovered.recovered,
            asked: recovered.asked.iter().map(ToString::to_string).collect(),
            failed: failed.collect(),
        }))
    }

    async fn review_epoch(
        &self,
        _: Request<proto::ReviewEpochRequest>,
    ) -> Result<Response<proto::EpochReview>, Status> {
        let review = admin::review_epoch(&self.node).await;
        let review = review.map_err(|error| admin_status(&error))?;
        let waiting = admin::waiting_restarts(&self.node);
        let waiting = waiting.map_err(|error| admin_status(&error.into()))?;
        Ok(Response::new(wire::review(&review, waiting)))
    }

    async fn start_epoch(
        &self,
        request: Request<proto::StartEpochRequest>,
    ) -> Result<Response<proto::StartEpochResponse>, Status> {
        let proposes = request.get_ref().approve == 0;
        let action = if proposes { Action::ProposeEpoch } else { Action::ApproveEpoch };
        let actor = gate::user(&request)?;
        gate::held_to(&actor, &[action])?;
        let asked = request.into_inner();
        let shown = Shown { review: asked.review, again: asked.again };
        let answered = if proposes {
            admin::propose_epoch(&self.node, &asked.reason, &shown, &actor).await
        } else {
            admin::approve_epoch(&self.node, asked.approve, &shown, &actor).await.map(|()| 0)
        };
        let proposal = answered.map_err(|error| admin_status(&error))?;
        Ok(Response::new(proto::StartEpochResponse { proposal, started: !proposes }))
    }

    async fn confirm_clock(
        &self,
        request: Request<proto::ConfirmClockRequest>,
    ) -> Result<Response<proto::ConfirmClockResponse>, Status> {
        let actor = gate::user(&request)?;
        let read = Timestamp::from_seconds(request.into_inner().read);
        let confirmed = admin::confirm_clock(&self.node, read, &actor).await;
        let confirmed = confirmed.map_err(|error| admin_status(&error))?;
        let shown = self.node.clock.shown().seconds();
        Ok(Response::new(proto::ConfirmClockResponse { confirmed, shown }))
    }

    async fn reload(
        &self,
        request: Request<proto::ReloadRequest>,
    ) -> Result<Response<proto::ReloadResponse>, Status> {
        let actor = gate::user(&request)?;
        let reloaded = admin::reload(&self.node, &actor.name).await;
        let reloaded = reloaded.map_err(|error| admin_status(&error))?;
        let Reloaded { in_force, not_in_force } = reloaded;
        Ok(Response::new(proto::ReloadResponse { reloaded: in_force, not_in_force }))
    }
}
