//! Opens one alert. Every look is logged before it is answered.

use super::{DeskError, reason};
use crate::alert::{Handling, View};
use crate::audit::{Event, Operation};
use crate::exchange;
use crate::holding::read_held;
use crate::id::{AlertId, AuthorityId, Timestamp};
use crate::node::{Node, SharedNode};
use crate::roles::Actor;
use crate::store::{
    CommitError, Committed, Copies, Erased, Growth, Own, OwnAlert, Read, Snapshot, StoreError,
    Tombstones,
};

/// The state of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// In force.
    Live,
    /// Its content is erased.
    Erased(Erased),
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] = [
        Self::Live,
        Self::Erased(Erased::Withdrawn),
        Self::Erased(Erased::Retracted),
        Self::Erased(Erased::Expired),
        Self::Erased(Erased::Dropped),
    ];

    /// The word for it, on the wire and in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Erased(erased) => erased.as_str(),
        }
    }

    /// Reads a state; empty means live.
    pub fn parse(text: &str) -> Option<Self> {
        let text = if text.is_empty() { "live" } else { text };
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// The signed token leaves the node with the answer.
#[derive(Clone, Copy)]
pub struct Export<'a> {
    /// The reason; mandatory if the handling codes of a received alert restrict its use, and
    /// logged.
    pub reason: &'a str,
}

/// An alert as an officer sees it. It cannot be printed.
pub struct Opened {
    /// With the claims held here.
    pub view: View,
    /// Whether the token is handed over.
    pub exported: bool,
    /// Why it may never be handed over, if so.
    pub withheld: Option<&'static str>,
    /// Issued here.
    pub own: bool,
    /// A copy within its lease; own alerts always.
    pub confirmed: bool,
    /// When the issuer last confirmed it.
    pub confirmed_at: Option<Timestamp>,
    /// The issuer's 24 h desk.
    pub contact: String,
    /// Whether earlier versions were not seen here.
    pub gap: bool,
    /// Warnings.
    pub warnings: Vec<String>,
}

/// Opens an alert. A justification is mandatory for what another authority issued; it stays in this
/// node's log.
///
/// # Errors
/// When it is not held, was erased, the justification is missing, or its handling codes forbid the
/// export.
pub async fn get(
    node: &SharedNode,
    id: &AlertId,
    justification: &str,
    export: Option<Export<'_>>,
    actor: &Actor,
) -> Result<Opened, DeskError> {
    let own = *id.authority() == node.authority;
    let why = match (own, justification) {
        (true, "") => "own alert",
        (_, text) => reason("a justification with --justification", text)?,
    };
    let (here, wanted) = (node.clone(), id.clone());
    let read = node.store.read(move |now| look(&here, now, &wanted)).await?;
    let Looked { view, own, gap, leased, confirmed_at } = read;
    if view.content.expires_at().is_some_and(|end| end <= node.clock.now()) {
        return Err(DeskError::Gone { id: id.clone(), state: Erased::Expired });
    }
    let event = Event::new(Operation::Consult, "consult.opened", &actor.name)
        .alert(id)
        .with("version", view.head.version)
        .with("justification", why);
    let exported = match export {
        Some(export) => Some(exported(&view, own, export, actor)?),
        None => None,
    };
    log(node, event, exported).await?;
    let confirmed = own || leased;
    Ok(Opened {
        own,
        gap,
        confirmed,
        confirmed_at: confirmed_at.filter(|_| !own),
        contact: contact(node, id.authority()),
        warnings: opened_warnings(&view, own, confirmed, gap),
        exported: export.is_some(),
        withheld: (!own && restricts(&view, Handling::H2)).then_some(H2_MEANS),
        view,
    })
}

/// An alert as it is held.
struct Looked {
    view: View,
    own: bool,
    gap: bool,
    leased: bool,
    confirmed_at: Option<Timestamp>,
}

fn look(node: &Node, now: &Snapshot<'_>, id: &AlertId) -> Result<Looked, DeskError> {
    let Some((view, own)) = read_held(now, id)? else { return Err(gone(now, id)?) };
    let gap = now.get::<Copies>(id)?.is_some_and(|copy| copy.gap);
    let (leased, confirmed_at) = exchange::lease_of(node, now, id, view.head.version)?;
    Ok(Looked { view, own, gap, leased, confirmed_at })
}

/// What `H2` means for somebody who opens a received alert.
const H2_MEANS: &str = "H2: no dissemination without the issuer's permission";

fn restricts(view: &View, code: Handling) -> bool {
    view.content.handling.contains(&code)
}

/// The event of an export. Handling codes bind the receiver of an alert, not its issuer (2016/794
/// Art. 29).
fn exported(view: &View, own: bool, export: Export<'_>, actor: &Actor) -> Result<Event, DeskError> {
    let id = &view.head.id;
    if !own && restricts(view, Handling::H2) {
        return Err(DeskError::ExportBarred(id.clone()));
    }
    let codes = [Handling::H1, Handling::H3].into_iter().filter(|code| restricts(view, *code));
    let codes = codes.map(Handling::as_str).collect::<Vec<_>>().join(" and ");
    let event = Event::new(Operation::Disclose, "alert.exported", &actor.name)
        .alert(id)
        .with("version", view.head.version);
    if own || codes.is_empty() && export.reason.is_empty() {
        return Ok(event);
    }
    if export.reason.is_empty() {
        return Err(DeskError::ExportReason { id: id.clone(), codes });
    }
    let why = reason("a reason for the export with --export-reason", export.reason)?;
    Ok(event.with("handling", codes).with("reason", why))
}

/// Like [`warnings`], and how a receiver may use the alert.
fn opened_warnings(view: &View, own: bool, confirmed: bool, gap: bool) -> Vec<String> {
    let mut warnings = warnings(view, confirmed, gap);
    let means = |code: &Handling| match code {
        Handling::H0 => None,
        Handling::H1 => {
            Some("H1: not in judicial proceedings without the issuer's permission".to_owned())
        }
        Handling::H2 => Some(H2_MEANS.to_owned()),
        Handling::H3 => {
            let text = view.content.handling_text.as_deref().unwrap_or("ask the issuer");
            Some(format!("H3: {text}"))
        }
    };
    if !own {
        warnings.extend(view.content.handling.iter().filter_map(means));
    }
    warnings
}

/// Warnings to heed before anybody acts on a hit.
pub(super) fn warnings(view: &View, confirmed: bool, gap: bool) -> Vec<String> {
    let mut warnings: Vec<String> = view
        .content
        .subjects
        .iter()
        .flat_map(|subject| &subject.warnings)
        .map(|warning| format!("subject: {warning}"))
        .collect();
    if !confirmed {
        warnings.push("not confirmed by its issuer lately: ask its desk before you act".to_owned());
    }
    if gap {
        warnings.push("versions before this one were not seen here".to_owned());
    }
    warnings
}

/// The 24 h desk of an issuer.
pub(super) fn contact(node: &Node, issuer: &AuthorityId) -> String {
    if *issuer == node.authority {
        return node.config.contact.to_string();
    }
    let directory = node.directory.load();
    directory
        .peer(issuer)
        .map(|known| known.descriptor.descriptor().contact.clone())
        .unwrap_or_default()
}

/// A live own alert.
pub(super) fn own_alert(node: &Node, now: &impl Read, id: &AlertId) -> Result<OwnAlert, DeskError> {
    match now.get::<Own>(id)? {
        Some(own) => Ok(own),
        None if *id.authority() != node.authority => Err(DeskError::NotOwn(id.clone())),
        None => Err(gone(now, id)?),
    }
}

/// Whether an own alert is in force; one whose time is over is not, though it was not swept yet.
pub(super) fn is_live(node: &Node, now: &impl Read, id: &AlertId) -> Result<bool, StoreError> {
    let own = now.get::<Own>(id)?;
    Ok(own.is_some_and(|own| own.expires_at > node.clock.now()))
}

/// Why an alert is not there.
pub(super) fn gone(now: &impl Read, id: &AlertId) -> Result<DeskError, StoreError> {
    Ok(missing(id, now.get::<Tombstones>(id)?.map(|tombstone| tombstone.erased)))
}

fn missing(id: &AlertId, erased: Option<Erased>) -> DeskError {
    match erased {
        Some(erased) => DeskError::Gone { id: id.clone(), state: erased },
        None => DeskError::NotFound(id.clone()),
    }
}

pub(super) async fn log(
    node: &SharedNode,
    event: Event,
    second: Option<Event>,
) -> Result<(), DeskError> {
    let committed = node.store.commit_growing(Growth::Log, |_| {
        Ok::<_, DeskError>(second.into_iter().fold(Committed::new((), event), Committed::and))
    });
    committed.await.map_err(CommitError::flatten)
}
