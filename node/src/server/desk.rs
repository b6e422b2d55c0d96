//! The desk door's service for officers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use entente_proto::desk as proto;
use entente_proto::desk::desk_server::Desk;
use prost::Message;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use super::gate::{self, Call};
use crate::alert::AlertError;
use crate::desk::{self, DeskError, Export, Imported, Place, State};
use crate::node::SharedNode;
use crate::reason::Reason;
use crate::roles::Actor;
use crate::store::{Change, Erased};
use crate::wire::desk as wire;
use crate::wire::desk::{alert_id, desk_status, optional};
use crate::wire::refusal::refusal;

/// Most lines of an import processed at once: they share commits.
const IMPORTS_OPEN_MAX: usize = 64;

/// Most bytes of those lines: half of what the gate reserves for an import; the other half is for
/// what they become.
const IMPORT_BYTES_OPEN_MAX: usize = 512 * 1024;

/// Messages waiting for a slow reader.
const ANSWERS_MAX: usize = 256;

/// Alerts on a page by default, and at most.
const PAGE_SIZE: (u32, u32) = (100, 1000);

/// How often a watch looks into the log even if nothing wakes it: not every change of an alert is
/// announced.
const WATCH_EVERY: Duration = Duration::from_secs(5);

/// The service.
#[derive(Clone)]
pub struct DeskService {
    node: SharedNode,
}

impl DeskService {
    /// For this node.
    pub fn new(node: SharedNode) -> Self {
        Self { node }
    }
}

type Answers<T> = ReceiverStream<Result<T, Status>>;

/// A stream of answers that are all known.
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
        let actor = gate::user(&request)?;
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
        let actor = gate::user(&request)?;
        let _person = self.node.precedence.person();
        let asked = request.into_inner();
        let created = desk::create(&self.node, &asked.draft, &asked.override_reason, &actor).await;
        let issued = created.map_err(|error| desk_status(&error))?;
        Ok(Response::new(wire::issued(issued, State::Live)))
    }

    async fn import_alerts(
        &self,
        request: Request<Streaming<proto::ImportLine>>,
    ) -> Result<Response<Self::ImportAlertsStream>, Status> {
        let (actor, call) = (gate::user(&request)?, gate::call(&request)?);
        let (answers, stream) = mpsc::channel(ANSWERS_MAX);
        let node = self.node.clone();
        tokio::spawn(async move {
            let imported = import(node, request.into_inner(), actor, call, &answers).await;
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
        let actor = gate::user(&request)?;
        let _person = self.node.precedence.person();
        let asked = request.into_inner();
        let (id, expected) = (alert_id(&asked.id)?, asked.expected_version);
        let (draft, override_reason) = (&asked.draft, &asked.override_reason);
        let updated = desk::update(&self.node, &id, expected, draft, override_reason, &actor).await;
        let issued = updated.map_err(|error| desk_status(&error))?;
        Ok(Response::new(wire::issued(issued, State::Live)))
    }

    async fn withdraw_alert(
        &self,
        request: Request<proto::WithdrawAlertRequest>,
    ) -> Result<Response<proto::Alert>, Status> {
        let actor = gate::user(&request)?;
        let _person = self.node.precedence.person();
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
        let actor = gate::user(&request)?;
        let _person = self.node.precedence.person();
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
        let actor = gate::user(&request)?;
        let _person = self.node.precedence.person();
        let asked = request.into_inner();
        let wanted = wire::wanted(&asked)?;
        let before = optional(&asked.page_token, "page_token")?;
        let size = if asked.page_size == 0 { PAGE_SIZE.0 } else { asked.page_size };
        let size = size.min(PAGE_SIZE.1) as usize;
        let place = Place::end(&self.node).map_err(|error| desk_status(&error.into()))?;
        let listed = desk::list(&self.node, wanted, before, size, &actor).await;
        let page = listed.map_err(|error| desk_status(&error))?;
        Ok(Response::new(proto::ListAlertsResponse {
            alerts: page.alerts.into_iter().map(wire::listed).collect(),
            next_page_token: page.next.map(|entry| entry.to_string()).unwrap_or_default(),
            place: place.to_string(),
        }))
    }

    async fn watch_alerts(
        &self,
        request: Request<proto::WatchAlertsRequest>,
    ) -> Result<Response<Self::WatchAlertsStream>, Status> {
        let actor = gate::user(&request)?;
        let (answers, stream) = mpsc::channel(ANSWERS_MAX);
        let asked = request.into_inner();
        let (from, notices) = (optional_place(&asked.from)?, asked.notices);
        // Subscribes before looking up the place, so that whatever becomes durable in between wakes
        // the watch.
        let changes = self.node.store.changes();
        let from = desk::watch(&self.node, from, &actor).await;
        let from = from.map_err(|error| desk_status(&error))?;
        let node = self.node.clone();
        tokio::spawn(async move {
            if let Err(error) = watch(&node, (from, notices), changes, &answers).await {
                let _ = answers.send(Err(desk_status(&error))).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn search(
        &self,
        request: Request<proto::SearchRequest>,
    ) -> Result<Response<Self::SearchStream>, Status> {
        let actor = gate::user(&request)?;
        let _person = self.node.precedence.person();
        let (query, why) = wire::search(request.into_inner())?;
        let found = desk::search(&self.node, &query, &why, &actor).await;
        let messages = wire::found(found.map_err(|error| desk_status(&error))?);
        Ok(Response::new(tokio_stream::iter(messages.into_iter().map(Ok).collect::<Vec<_>>())))
    }

    async fn status(
        &self,
        _: Request<proto::StatusRequest>,
    ) -> Result<Response<proto::StatusResponse>, Status> {
        let status = desk::status(&self.node).map_err(|error| desk_status(&error.into()))?;
        Ok(Response::new(wire::status(status)))
    }
}

fn ending() -> Status {
    refusal(Code::Unavailable, Reason::ShuttingDown, "this node is ending; try again later")
}

type Sender<T> = mpsc::Sender<Result<T, Status>>;

/// Imports lines in parallel, and answers them in order. If the caller loses the right to continue,
/// lines already begun are still answered.
async fn import(
    node: SharedNode,
    mut lines: Streaming<proto::ImportLine>,
    actor: Actor,
    call: Arc<Call>,
    answers: &Sender<proto::ImportResult>,
) -> Result<(), Status> {
    let (mut open, mut ended) = (Open::default(), None);
    loop {
        if let Some(ended) = ended.take_if(|_| open.lines.is_empty()) {
            return ended;
        }
        // Whoever sends no line for a while hears of those that it has sent.
        tokio::select! {
            answer = open.answer() => {
                if answers.send(Ok(answer?)).await.is_err() {
                    return Ok(());
                }
            }
            next = lines.message(), if ended.is_none() && open.has_room() => match next {
                Ok(Some(line)) => open.begin(line, &node, &actor, &call),
                end => ended = Some(end.map(|_| ())),
            },
        }
    }
}

/// Lines being processed, in order.
#[derive(Default)]
struct Open {
    lines: VecDeque<(usize, Importing)>,
    bytes: usize,
}

impl Open {
    fn has_room(&self) -> bool {
        self.lines.len() < IMPORTS_OPEN_MAX && self.bytes < IMPORT_BYTES_OPEN_MAX
    }

    fn begin(
        &mut self,
        line: proto::ImportLine,
        node: &SharedNode,
        actor: &Actor,
        call: &Arc<Call>,
    ) {
        let (node, actor, call) = (node.clone(), actor.clone(), Arc::clone(call));
        let bytes = line.encoded_len();
        let importing = tokio::spawn(async move {
            // The memory of a line counts until it is done, even if its caller is gone.
            let _call = call;
            let (number, line) = wire::import_line(line);
            (number, desk::import(&node, &line, &actor).await)
        });
        self.bytes += bytes;
        self.lines.push_back((bytes, importing));
    }

    /// Waits for the first; for ever, when there is none. It may be left waiting and asked again.
    async fn answer(&mut self) -> Result<proto::ImportResult, Status> {
        let Some((bytes, importing)) = self.lines.front_mut() else {
            return std::future::pending().await;
        };
        let (bytes, imported) = (*bytes, importing.await);
        self.bytes -= bytes;
        self.lines.pop_front();
        answered(imported.map_err(|_| ending())?)
    }
}

type Importing = tokio::task::JoinHandle<(u64, Result<Imported, desk::DeskError>)>;

fn answered(
    (line, outcome): (u64, Result<Imported, desk::DeskError>),
) -> Result<proto::ImportResult, Status> {
    use proto::import_result::Outcome;
    let mut warnings = vec![];
    let outcome = match outcome {
        Ok(Imported::Created(issued)) => {
            warnings = issued.warnings;
            Outcome::Created(issued.id.to_string())
        }
        Ok(Imported::Existing(id)) => Outcome::Existing(id.to_string()),
        // The lines behind it would fare no better.
        Err(
            error @ (DeskError::Store(_)
            | DeskError::LostState
            | DeskError::Draft(AlertError::Sign(_))),
        ) => {
            return Err(desk_status(&error));
        }
        Err(error) => Outcome::Refused(wire::line_refused(&error)),
    };
    Ok(proto::ImportResult { line, outcome: Some(outcome), warnings })
}

fn optional_place(text: &str) -> Result<Option<Place>, Status> {
    let place = (!text.is_empty()).then(|| text.parse::<Place>()).transpose();
    place.map_err(|error| desk_status(&error))
}

/// Reports the log's changes from `from` on, and continues as the log grows: everything reported is
/// durable, and nothing is skipped.
async fn watch(
    node: &SharedNode,
    (mut from, notices): (Place, bool),
    mut changes: broadcast::Receiver<Change>,
    answers: &Sender<proto::Change>,
) -> Result<(), desk::DeskError> {
    let mut ready = false;
    loop {
        if let Some((seen, behind)) = desk::changes(node, from.clone()).await? {
            let asked_for = |seen: &desk::Seen| notices || matches!(seen, desk::Seen::Alert(_));
            for change in seen.into_iter().filter(asked_for) {
                if answers.send(Ok(wire::change(change))).await.is_err() {
                    return Ok(());
                }
            }
            from = behind;
            continue;
        }
        if !std::mem::replace(&mut ready, true)
            && answers.send(Ok(wire::ready(&from, node.clock.now()))).await.is_err()
        {
            return Ok(());
        }
        let received = tokio::select! {
            received = changes.recv() => received,
            () = tokio::time::sleep(WATCH_EVERY) => Ok(Change::Feed),
            () = answers.closed() => return Ok(()),
        };
        // Missed wake-ups do no harm: the log has everything.
        if matches!(received, Err(broadcast::error::RecvError::Closed)) {
            return Ok(());
        }
    }
}
