//! The desk door's service for notices.

use entente_proto::desk as proto;
use entente_proto::desk::notices_server::Notices;
use tonic::{Request, Response, Status};

use super::gate;
use crate::desk::{self, Outgoing};
use crate::node::SharedNode;
use crate::wire::desk::{alert_id, authority, desk_status};
use crate::wire::notice as wire;

/// Notices on a page when the caller names no number, and at most.
const PAGE_SIZE: (u32, u32) = (100, 1000);

/// The service.
#[derive(Clone)]
pub struct NoticeService {
    node: SharedNode,
}

impl NoticeService {
    /// For this node.
    pub fn new(node: SharedNode) -> Self {
        Self { node }
    }

    /// The notice as a list says it: what it says was given by the caller, or is not asked for.
    fn answer(&self, id: &crate::id::NoticeId, is_new: bool) -> Result<proto::Notice, Status> {
        let listed = desk::listed_notice(&self.node, id).map_err(|error| desk_status(&error))?;
        Ok(proto::Notice { is_new, ..wire::listed(listed) })
    }
}

#[tonic::async_trait]
impl Notices for NoticeService {
    async fn send_notice(
        &self,
        request: Request<proto::SendNoticeRequest>,
    ) -> Result<Response<proto::Notice>, Status> {
        let actor = gate::user(&request)?;
        let _person = self.node.precedence.person();
        let asked = request.into_inner();
        let to = authority(&asked.to)?;
        let about = match asked.about.as_str() {
            "" => None,
            about => Some(alert_id(about)?),
        };
        let outgoing = Outgoing { to: &to, text: &asked.text, about, key: &asked.key };
        let sent = desk::send_notice(&self.node, outgoing, &actor).await;
        let (id, is_new) = sent.map_err(|error| desk_status(&error))?;
        self.answer(&id, is_new).map(Response::new)
    }

    async fn list_notices(
        &self,
        request: Request<proto::ListNoticesRequest>,
    ) -> Result<Response<proto::ListNoticesResponse>, Status> {
        let actor = gate::user(&request)?;
        let _person = self.node.precedence.person();
        let asked = request.into_inner();
        let (wanted, before) = (wire::wanted(&asked)?, wire::page_token(&asked.page_token)?);
        let size = if asked.page_size == 0 { PAGE_SIZE.0 } else { asked.page_size };
        let size = size.min(PAGE_SIZE.1) as usize;
        let page = desk::list_notices(&self.node, wanted, before, size, &actor).await;
        Ok(Response::new(wire::page(page.map_err(|error| desk_status(&error))?)))
    }

    async fn get_notice(
        &self,
        request: Request<proto::GetNoticeRequest>,
    ) -> Result<Response<proto::Notice>, Status> {
        let actor = gate::user(&request)?;
        let _person = self.node.precedence.person();
        let id = wire::notice_id(&request.into_inner().id)?;
        let opened = desk::get_notice(&self.node, &id, &actor).await;
        Ok(Response::new(wire::opened(opened.map_err(|error| desk_status(&error))?)))
    }

    async fn acknowledge_notice(
        &self,
        request: Request<proto::AcknowledgeNoticeRequest>,
    ) -> Result<Response<proto::Notice>, Status> {
        let actor = gate::user(&request)?;
        let _person = self.node.precedence.person();
        let asked = request.into_inner();
        let id = wire::notice_id(&asked.id)?;
        let acknowledged = desk::acknowledge_notice(&self.node, &id, &asked.who, &actor).await;
        let is_new = acknowledged.map_err(|error| desk_status(&error))?;
        self.answer(&id, is_new).map(Response::new)
    }
}
