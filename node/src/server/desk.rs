//! The desk door's service for officers.

use entente_proto::desk as proto;
use entente_proto::desk::desk_server::Desk;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use super::authorise;
use crate::desk::{self, Export, Imported, State, Wanted};
use crate::exchange;
use crate::node::SharedNode;
use crate::roles::{Action, Actor};
use crate::shutdown::Shutdown;
use crate::store::{
    Change, Copies, Erased, Own, ParkedIn, ParkedOut, StoreError, StreamsIn, StreamsOut, TableKey,
};
use crate::wire::desk as wire;
use crate::wire::desk::{alert_id, desk_status, optional};
use crate::wire::exchange::{Malformed, refusal};

/// Lines of an import that are worked on at once: they share commits.
const IMPORTS_OPEN_MAX: usize = 64;

/// Messages waiting for a slow reader.
const ANSWERS_MAX: usize = 256;

/// Alerts on a page when the caller names no number, and at most.
const PAGE_SIZE: (u32, u32) = (100, 1000);

/// Statements counted as parked of one peer.
const PARKED_MAX: usize = 10_000;

/// The service.
#[derive(Clone)]
pub struct DeskService {
    node: SharedNode,
    shutdown: Shutdown,
}

impl DeskService {
    /// For this node; streams end when `shutdown` begins.
    pub fn new(node: SharedNode, shutdown: Shutdown) -> Self {
        Self { node, shutdown }
    }
}

type Answers<T> = ReceiverStream<Result<T, Status>>;

/// Answers that are all there.
type Ready<T> = tokio_stream::Iter<std::vec::IntoIter<Result<T, Status>>>;

#[tonic::async_trait]
impl Desk for DeskService {
    type ImportAlertsStream = Answers<proto::ImportResult>;
    type WatchAlertsStream = Answers<proto::Change>;
    type SearchStream = Ready<proto::SearchResponse>;

    async fn whoami(
        &self,
        request: Request<proto::WhoamiRequest>,
    ) -> Result<Response<proto::WhoamiResponse>, Status> {
        let actor = authorise(&self.node, &request, Action::Whoami)?;
        Ok(Response::new(proto::WhoamiResponse {
            authority: self.node.authority.to_string(),
            user: actor.name,
            roles: actor.roles.iter().map(|role| role.as_str().to_owned()).collect(),
            software: format!("entente {}", crate::VERSION),
        }))
    }

    async fn create_alert(
        &self,
        request: Request<proto::CreateAlertRequest>,
    ) -> Result<Response<proto::Alert>, Status> {
        let actor = authorise(&self.node, &request, Action::CreateAlert)?;
        let asked = request.into_inner();
        let created = desk::create(&self.node, &asked.draft, &asked.confirmation, &actor).await;
        let issued = created.map_err(|error| desk_status(&error))?;
        Ok(Response::new(wire::issued(issued, State::Live)))
    }

    async fn import_alerts(
        &self,
        request: Request<Streaming<proto::ImportLine>>,
    ) -> Result<Response<Self::ImportAlertsStream>, Status> {
        let actor = authorise(&self.node, &request, Action::ImportAlerts)?;
        let (answers, stream) = mpsc::channel(ANSWERS_MAX);
        let (node, mut shutdown) = (self.node.clone(), self.shutdown.clone());
        tokio::spawn(async move {
            let imported = tokio::select! {
                imported = import(node, request.into_inner(), actor, &answers) => imported,
                () = shutdown.begun() => Err(ending()),
            };
            if let Err(status) = imported {
                let _ = answers.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn update_alert(
        &self,
        request: Request<proto::UpdateAlertRequest>,
    ) -> Result<Response<proto::Alert>, Status> {
        let actor = authorise(&self.node, &request, Action::UpdateAlert)?;
        let asked = request.into_inner();
        let (id, expected) = (alert_id(&asked.id)?, asked.expected_version);
        let (draft, confirmation) = (&asked.draft, &asked.confirmation);
        let updated = desk::update(&self.node, &id, expected, draft, confirmation, &actor).await;
        let issued = updated.map_err(|error| desk_status(&error))?;
        Ok(Response::new(wire::issued(issued, State::Live)))
    }

    async fn withdraw_alert(
        &self,
        request: Request<proto::WithdrawAlertRequest>,
    ) -> Result<Response<proto::Alert>, Status> {
        let actor = authorise(&self.node, &request, Action::WithdrawAlert)?;
        let asked = request.into_inner();
        let id = alert_id(&asked.id)?;
        let withdrawn = desk::withdraw(&self.node, &id, &asked.reason, &actor).await;
        let issued = withdrawn.map_err(|error| desk_status(&error))?;
        Ok(Response::new(wire::issued(issued, State::Erased(Erased::Withdrawn))))
    }

    async fn get_alert(
        &self,
        request: Request<proto::GetAlertRequest>,
    ) -> Result<Response<proto::Alert>, Status> {
        let actor = authorise(&self.node, &request, Action::GetAlert)?;
        let asked = request.into_inner();
        let id = alert_id(&asked.id)?;
        let export = asked.export.then_some(Export { reason: &asked.export_reason });
        let opened = desk::get(&self.node, &id, &asked.justification, export, &actor).await;
        Ok(Response::new(wire::opened(opened.map_err(|error| desk_status(&error))?)))
    }

    async fn list_alerts(
        &self,
        request: Request<proto::ListAlertsRequest>,
    ) -> Result<Response<proto::ListAlertsResponse>, Status> {
        let actor = authorise(&self.node, &request, Action::ListAlerts)?;
        let asked = request.into_inner();
        let wanted = Wanted {
            issuer: optional(&asked.issuer, "issuer")?,
            category: optional(&asked.category, "category")?,
            state: State::parse(&asked.state).ok_or(Malformed("state"))?,
        };
        let after = optional(&asked.page_token, "page_token")?;
        let size = if asked.page_size == 0 { PAGE_SIZE.0 } else { asked.page_size };
        let size = size.min(PAGE_SIZE.1) as usize;
        let listed = desk::list(&self.node, wanted, after, size, &actor).await;
        let (alerts, next) = listed.map_err(|error| desk_status(&error))?;
        Ok(Response::new(proto::ListAlertsResponse {
            alerts: alerts.into_iter().map(wire::listed).collect(),
            next_page_token: next.map(|id| id.to_string()).unwrap_or_default(),
        }))
    }

    async fn watch_alerts(
        &self,
        request: Request<proto::WatchAlertsRequest>,
    ) -> Result<Response<Self::WatchAlertsStream>, Status> {
        let actor = authorise(&self.node, &request, Action::WatchAlerts)?;
        let key = super::door::user(&request)?.1;
        let (answers, stream) = mpsc::channel(ANSWERS_MAX);
        let changes = self.node.store.changes();
        let (node, mut shutdown) = (self.node.clone(), self.shutdown.clone());
        tokio::spawn(async move {
            let watched = tokio::select! {
                watched = watch(&node, &actor, &key, changes, &answers) => watched,
                () = shutdown.begun() => Err(ending()),
            };
            if let Err(status) = watched {
                let _ = answers.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn search(
        &self,
        request: Request<proto::SearchRequest>,
    ) -> Result<Response<Self::SearchStream>, Status> {
        let actor = authorise(&self.node, &request, Action::Search)?;
        let (query, why) = wire::search(request.into_inner())?;
        let found = desk::search(&self.node, &query, &why, &actor).await;
        let messages = wire::found(found.map_err(|error| desk_status(&error))?);
        Ok(Response::new(tokio_stream::iter(messages.into_iter().map(Ok).collect::<Vec<_>>())))
    }

    async fn status(
        &self,
        request: Request<proto::StatusRequest>,
    ) -> Result<Response<proto::StatusResponse>, Status> {
        authorise(&self.node, &request, Action::Status)?;
        status(&self.node).map(Response::new).map_err(|error| desk_status(&error.into()))
    }
}

fn ending() -> Status {
    refusal(Code::Unavailable, "shutting_down", "this node is ending; try again later")
}

type Sender<T> = mpsc::Sender<Result<T, Status>>;

/// Imports lines side by side, and answers them in their order.
async fn import(
    node: SharedNode,
    mut lines: Streaming<proto::ImportLine>,
    actor: Actor,
    answers: &Sender<proto::ImportResult>,
) -> Result<(), Status> {
    let mut open = std::collections::VecDeque::new();
    loop {
        let line = lines.message().await?;
        if line.is_none() || open.len() >= IMPORTS_OPEN_MAX {
            while let Some(result) = open.pop_front() {
                let answer = answered(result).await?;
                if answers.send(Ok(answer)).await.is_err() {
                    return Ok(());
                }
                if line.is_some() {
                    break;
                }
            }
        }
        let Some(line) = line else { return Ok(()) };
        let (node, actor) = (node.clone(), actor.clone());
        open.push_back(tokio::spawn(async move {
            let (number, line) = wire::import_line(line);
            let outcome = desk::import(&node, &line, &actor).await;
            (number, outcome)
        }));
    }
}

type Importing = tokio::task::JoinHandle<(u64, Result<Imported, desk::DeskError>)>;

async fn answered(importing: Importing) -> Result<proto::ImportResult, Status> {
    use proto::import_result::Outcome;
    let (line, outcome) = importing.await.map_err(|_| ending())?;
    let mut warnings = vec![];
    let outcome = match outcome {
        Ok(Imported::Created(issued)) => {
            warnings = issued.warnings;
            Outcome::Created(issued.id.to_string())
        }
        Ok(Imported::Existing(id)) => Outcome::Existing(id.to_string()),
        Err(error @ (desk::DeskError::Store(_) | desk::DeskError::LostState)) => {
            return Err(desk_status(&error));
        }
        Err(error) => Outcome::Refused(wire::line_refused(&error)),
    };
    Ok(proto::ImportResult { line, outcome: Some(outcome), warnings })
}

async fn watch(
    node: &SharedNode,
    actor: &Actor,
    key: &crate::id::Digest,
    mut changes: broadcast::Receiver<Change>,
    answers: &Sender<proto::Change>,
) -> Result<(), Status> {
    let now = || node.clock.now();
    let mut next = Some(wire::change("ready", "", 0, now()));
    loop {
        if let Some(change) = next.take()
            && answers.send(Ok(change)).await.is_err()
        {
            return Ok(());
        }
        let received = tokio::select! {
            received = changes.recv() => received,
            () = answers.closed() => return Ok(()),
        };
        next = match received {
            Ok(Change::Alert { kind, id, version }) => {
                Some(wire::change(kind, &id.to_string(), version, now()))
            }
            Ok(Change::Users) => {
                still_allowed(node, actor, key)?;
                None
            }
            Ok(_) => None,
            Err(broadcast::error::RecvError::Lagged(_)) => {
                Some(wire::change("lagged", "", 0, now()))
            }
            Err(broadcast::error::RecvError::Closed) => return Ok(()),
        };
    }
}

/// A user that is removed while it watches sees nothing more.
fn still_allowed(node: &SharedNode, actor: &Actor, key: &crate::id::Digest) -> Result<(), Status> {
    let found = crate::admin::actor(node, &actor.name, key);
    if found.is_some_and(|actor| actor.may(Action::WatchAlerts)) {
        return Ok(());
    }
    Err(refusal(Code::PermissionDenied, "unknown_user", "this user was removed"))
}

fn status(node: &SharedNode) -> Result<proto::StatusResponse, StoreError> {
    let directory = node.directory.load();
    let mut known: Vec<_> = directory.all().collect();
    known.sort_by(|a, b| a.peer.authority.cmp(&b.peer.authority));
    let peers = known.iter().map(|known| peer_status(node, &known.peer));
    Ok(proto::StatusResponse {
        authority: node.authority.to_string(),
        own_alerts: node.store.count::<Own>(),
        copies: node.store.count::<Copies>(),
        lost_state: exchange::lost_state(node)?,
        policy_version: node.policy.load().0,
        peers: peers.collect::<Result<_, _>>()?,
    })
}

fn peer_status(
    node: &SharedNode,
    peer: &crate::trust::Peer,
) -> Result<proto::PeerStatus, StoreError> {
    let authority = &peer.authority;
    let mut within = Vec::new();
    authority.encode(&mut within);
    let live = node.streams.status(authority);
    let out = node.store.get::<StreamsOut>(authority)?;
    let received = node.store.get::<StreamsIn>(authority)?.unwrap_or_default();
    let parked_out = node.store.scan::<ParkedOut>(&within, None, PARKED_MAX)?.len();
    let parked_in = node.store.scan::<ParkedIn>(&within, None, PARKED_MAX)?.len();
    let behind = match &out {
        Some(out) => exchange::behind(node, authority, out)?,
        None => 0,
    };
    let halted = out.as_ref().and_then(|out| out.halted.clone());
    Ok(proto::PeerStatus {
        authority: authority.to_string(),
        state: peer.state.as_str().to_owned(),
        sending: live.sending,
        receiving: live.receiving,
        epoch_out: out.as_ref().map_or(0, |out| out.epoch),
        offered: out.as_ref().map_or(0, |out| out.tail),
        acknowledged: out.as_ref().map_or(0, |out| out.acked),
        behind,
        epoch_in: received.epoch,
        received: received.seq,
        confirmed_at: live.confirmed_at.map_or(0, |at| at.seconds()),
        silent: exchange::is_silent(node, authority),
        parked_out: parked_out as u64,
        parked_in: parked_in as u64,
        waiting: halted.or(live.waiting).unwrap_or_default(),
        problem: live.problem.unwrap_or_default(),
    })
}
