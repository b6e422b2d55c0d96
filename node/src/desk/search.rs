//! Searches own alerts and copies. What was asked, why, and what was found is durable before the
//! answer leaves; no record contains the searched values.

use std::collections::BTreeMap;

use serde_json::Value;

use super::read::{contact, warnings};
use super::{DeskError, reason};
use crate::alert::{Category, Exploitation, SubjectCategory, View};
use crate::audit::{Event, Operation};
use crate::exchange;
use crate::holding::read_held;
use crate::id::{AlertId, AuthorityId, Digest, Timestamp, Version};
use crate::matching::{MatchKey, Quality, Query, match_keys};
use crate::node::{Node, SharedNode};
use crate::roles::Actor;
use crate::store::{
    CommitError, Committed, Copies, Growth, IndexKey, MatchEntry, Matches, Read, Scan, Snapshot,
    StoreError,
};
use crate::telemetry;

/// Most alerts that one value may find: more would be a list rather than a hit, and the answer says
/// that there are more.
pub(super) const HITS_MAX: usize = 64;

/// The purpose of the answer (2024/982).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// To identify a person or thing.
    Identify,
    /// To get more data on one that is known.
    MoreData,
}

impl Aim {
    /// Every aim.
    pub const ALL: [Self; 2] = [Self::Identify, Self::MoreData];

    /// The word for it, on the wire and in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identify => "identify",
            Self::MoreData => "more_data",
        }
    }

    /// Reads an aim.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|aim| aim.as_str() == text)
    }
}

/// The justification of a search: mandatory and logged (2016/680 Art. 25).
#[derive(Clone, Debug)]
pub struct Justification {
    /// The case; the log has only its digest.
    pub case_ref: String,
    /// Which offence.
    pub offence: Exploitation,
    /// Who is sought; `None` for an object.
    pub subject: Option<SubjectCategory>,
    /// What for.
    pub aim: Aim,
}

/// One alert that was found.
#[derive(Clone, Debug)]
pub struct Hit {
    /// Its id; a reference, never the record.
    pub id: AlertId,
    /// Its version.
    pub version: Version,
    /// Issued here.
    pub own: bool,
    /// The best of the matches.
    pub quality: Quality,
    /// Names of the fields that match.
    pub matched: Vec<String>,
    /// Of the alert.
    pub category: Option<Category>,
    /// The action to take; none if it is coercive and its issuer has not confirmed it recently.
    pub action: Option<&'static str>,
    /// A copy within its lease; own alerts always.
    pub confirmed: bool,
    /// When the issuer last confirmed it.
    pub confirmed_at: Option<Timestamp>,
    /// The issuer's 24 h desk.
    pub contact: String,
    /// Warnings.
    pub warnings: Vec<String>,
    /// Categories of the people in it.
    pub people: Vec<SubjectCategory>,
    /// Whether a suspect is sought and a victim was found, or the reverse; always shown.
    pub non_punishment: Option<String>,
}

/// The answer to a search.
#[derive(Clone, Debug)]
pub struct Found {
    /// Best first.
    pub hits: Vec<Hit>,
    /// Whether one of the values is in more than 64 alerts; the rest are not among the hits.
    pub more: bool,
    /// Index of the search in the audit log.
    pub log_entry: u64,
    /// Active peers not heard from recently, which may have alerts that are not here.
    pub silent: Vec<AuthorityId>,
    /// Active peers not heard from since this node started, or since they became active; they may
    /// have alerts that are not here.
    pub unheard: Vec<AuthorityId>,
}

/// Searches by the keys of `query`.
///
/// # Errors
/// When the case is missing, or the store failed.
pub async fn search(
    node: &SharedNode,
    query: &Query,
    why: &Justification,
    actor: &Actor,
) -> Result<Found, DeskError> {
    let case_ref = reason("a case reference with --case", &why.case_ref)?;
    let (here, keys, sought) = (node.clone(), query.clone(), why.subject);
    let (hits, more) = node.store.read(move |now| find(&here, now, &keys, sought)).await?;
    let names = |list: Vec<String>| Value::from(list);
    let event = Event::new(Operation::Consult, "consult.asked", &actor.name)
        .with("case", Digest::of(case_ref.as_bytes()).to_string())
        .with("offence", why.offence.as_str())
        .with("sought", why.subject.map_or("object", SubjectCategory::as_str))
        .with("aim", why.aim.as_str())
        .with("fields", names(query.keys().iter().map(|key| key.kind().to_owned()).collect()))
        .with("hits", names(hits.iter().map(|hit| hit.id.to_string()).collect()));
    let contrary = hits.iter().filter(|hit| hit.non_punishment.is_some());
    let contrary: Vec<String> = contrary.map(|hit| hit.id.to_string()).collect();
    let event = match contrary.is_empty() {
        true => event,
        false => event.with("non_punishment", names(contrary)),
    };
    let committed = node.store.commit_growing(Growth::Content, move |tx| {
        let index = tx.log_index();
        Ok::<_, DeskError>(Committed::new(index, event))
    });
    let log_entry = committed.await.map_err(CommitError::flatten)?;
    let (silent, unheard) = (exchange::silent_peers(node), exchange::unheard_peers(node));
    Ok(Found { hits, more, log_entry, silent, unheard })
}

fn find(
    node: &Node,
    now: &Snapshot<'_>,
    query: &Query,
    sought: Option<SubjectCategory>,
) -> Result<(Vec<Hit>, bool), DeskError> {
    let mut matched: BTreeMap<AlertId, Vec<&MatchKey>> = BTreeMap::new();
    let mut more = false;
    for key in query.keys() {
        let index = node.store.index_key(&key.bytes());
        let (found, cut) = matches_of(node, now, &index)?;
        more |= cut;
        for (id, _) in found {
            matched.entry(id).or_default().push(key);
        }
    }
    let mut hits = Vec::with_capacity(matched.len());
    for (id, keys) in matched {
        hits.extend(hit(node, now, id, &keys, sought)?);
    }
    hits.sort_by_key(|hit| std::cmp::Reverse(hit.quality));
    Ok((hits, more))
}

/// Alerts found by a key, at most 64, and whether there are more. If there are more, own alerts
/// come first and every issuer gets its share, so that nobody can hide another's alerts by issuing
/// many.
pub(super) fn matches_of(
    node: &Node,
    now: &Snapshot<'_>,
    index: &IndexKey,
) -> Result<(Vec<(AlertId, MatchEntry)>, bool), StoreError> {
    let mut found = now.scan(Scan::<Matches>::of(index), HITS_MAX + 1)?;
    let more = found.len() > HITS_MAX;
    if more {
        let directory = node.directory.load();
        let peers = directory.all().map(|known| &known.peer.authority);
        let issuers: Vec<_> = std::iter::once(&node.authority).chain(peers).collect();
        let share = (HITS_MAX / issuers.len()).max(1);
        found = Vec::new();
        for issuer in issuers {
            let of_issuer = Scan::<Matches>::of(&(*index, issuer.clone()));
            found.extend(now.scan(of_issuer, share)?);
        }
        found.truncate(HITS_MAX);
    }
    Ok((found.into_iter().map(|((_, id), entry)| (id, entry)).collect(), more))
}

/// An alert that has one of these keys, and which of them it has. The index only says where to
/// look: a hit needs the value in the record itself.
fn having(
    node: &Node,
    now: &Snapshot<'_>,
    id: &AlertId,
    keys: &[&MatchKey],
) -> Result<Option<(View, bool, Vec<&'static str>)>, DeskError> {
    let held = read_held(now, id)?;
    let having = held.and_then(|(view, own)| {
        let had = match_keys(&view);
        let fields = keys.iter().filter(|key| had.contains(key)).map(|key| key.kind());
        let fields: Vec<_> = fields.collect();
        (!fields.is_empty()).then_some((view, own, fields))
    });
    if having.is_none() && !now.is_torn() {
        tracing::error!(
            "the index names {id} for what it does not say, so it was not shown: end the node and \
             run `entente-node check`"
        );
        telemetry::index_fault(&node.authority);
    }
    Ok(having)
}

/// `None` when the alert does not have the keys, or its time is over.
fn hit(
    node: &Node,
    now: &Snapshot<'_>,
    id: AlertId,
    keys: &[&MatchKey],
    sought: Option<SubjectCategory>,
) -> Result<Option<Hit>, DeskError> {
    let Some((view, own, fields)) = having(node, now, &id, keys)? else { return Ok(None) };
    if view.content.expires_at().is_some_and(|end| end <= node.clock.now()) {
        return Ok(None);
    }
    let (leased, confirmed_at) = exchange::lease_of(node, now, &id, view.head.version)?;
    let confirmed = own || leased;
    let gap = now.get::<Copies>(&id)?.is_some_and(|copy| copy.gap);
    let category = view.content.category;
    let action = category.filter(|category| confirmed || !category.coercive());
    Ok(Some(Hit {
        version: view.head.version,
        own,
        quality: fields.iter().map(|field| Quality::of(field)).max().unwrap_or(Quality::Possible),
        matched: fields.iter().map(|field| (*field).to_owned()).collect(),
        category,
        action: action.map(Category::action),
        confirmed,
        confirmed_at: confirmed_at.filter(|_| !own),
        contact: contact(node, id.authority()),
        warnings: warnings(&view, confirmed, gap),
        non_punishment: non_punishment(sought, &view.people()),
        people: view.people(),
        id,
    }))
}

/// One state's suspect may be another's victim, who is not punished for what they were compelled to
/// do (2011/36 Art. 8).
fn non_punishment(sought: Option<SubjectCategory>, people: &[SubjectCategory]) -> Option<String> {
    let sought = sought?;
    let contrary = |person: &SubjectCategory| {
        sought.accused() && person.protected() || sought.protected() && person.accused()
    };
    let person = people.iter().copied().find(contrary)?;
    Some(format!(
        "non-punishment [2011/36 Art. 8]: sought as {sought}, shown here as {person}; a victim is \
         not punished for what they were compelled to do: speak to the issuer before you act"
    ))
}
