//! The messages of the desk door for administrators, coordinators and auditors.

use entente_proto::admin as proto;
use tonic::{Code, Status};

use super::refusal::{refusal, store_code};
use crate::admin::{
    AdminError, Applied, Explained, Review, Reviewed, TestStep, Waiting, WaitingRestart,
};
use crate::config::Endpoint;
use crate::id::{AuthorityId, PolicyVersion, Timestamp, printable};
use crate::policy::Sharing;
use crate::store::{LedgerEntry, Parked, PolicyRecord, Subject, User, UserState};
use crate::trust::{Peer, SignedDescriptor, certificate_end};

/// Warn this long before a root or key of a peer ends, in seconds.
const ENDS_SOON_S: i64 = 60 * 86_400;

/// A peer as it is shown.
pub fn peer(peer: &Peer, now: Timestamp) -> Result<proto::Peer, Status> {
    let descriptor =
        SignedDescriptor::parse(&peer.descriptor).map_err(|error| admin_status(&error.into()))?;
    let said = descriptor.descriptor();
    let pending = peer.pending.as_deref().and_then(|jws| SignedDescriptor::parse(jws).ok());
    let pending = pending.map(|newer| format!("serial {}", newer.descriptor().serial));
    Ok(proto::Peer {
        authority: peer.authority.to_string(),
        state: peer.state.as_str().to_owned(),
        fingerprint: descriptor.fingerprint().to_string(),
        descriptor: peer.descriptor.clone(),
        endpoints: said.endpoints.iter().map(|endpoint| printable(endpoint)).collect(),
        contact: printable(&said.contact),
        serial: said.serial,
        imported_by: peer.imported_by.clone(),
        approved_by: peer.approved_by.clone().unwrap_or_default(),
        changed_at: peer.changed_at.seconds(),
        warnings: warnings(&descriptor, now),
        pending: pending.unwrap_or_default(),
    })
}

fn warnings(descriptor: &SignedDescriptor, now: Timestamp) -> Vec<String> {
    let said = descriptor.descriptor();
    let soon = now.plus(ENDS_SOON_S).seconds();
    let mut warnings = Vec::new();
    let keys = said.statement_keys.iter().map(|key| key.not_after);
    if keys.max().is_none_or(|end| end < soon) {
        warnings.push(
            "its last statement key ends within 60 days: ask for a newer descriptor".to_owned(),
        );
    }
    let roots = said.tls_roots.iter().filter_map(|root| certificate_end(root));
    if roots.map(Timestamp::seconds).max().is_none_or(|end| end < soon) {
        warnings
            .push("its last TLS root ends within 60 days: ask for a newer descriptor".to_owned());
    }
    for endpoint in &said.endpoints {
        let reach = endpoint.parse::<Endpoint>().ok().and_then(|parsed| parsed.reach().too_few());
        warnings
            .extend(reach.map(|who| format!("{} can be reached by {who}", printable(endpoint))));
    }
    warnings
}

/// The steps of a test.
pub fn tested(steps: Vec<TestStep>) -> proto::TestPeerResponse {
    let ok = steps.iter().all(|step| step.ok);
    let step = |step: TestStep| proto::TestStep {
        name: step.name.to_owned(),
        ok: step.ok,
        found: step.found,
        hint: step.hint,
    };
    proto::TestPeerResponse { ok, steps: steps.into_iter().map(step).collect() }
}

/// A parked statement. Of one that is about no alert it says the kind alone: who administers a node
/// reads no notices.
pub fn parked(
    authority: &AuthorityId,
    theirs: bool,
    subject: &Subject,
    parked: &Parked,
) -> proto::Parked {
    proto::Parked {
        authority: authority.to_string(),
        direction: if theirs { "in" } else { "out" }.to_owned(),
        alert: subject.alert().map(ToString::to_string).unwrap_or_default(),
        version: parked.version,
        reason: printable(&parked.reason),
        at: parked.at.seconds(),
        kind: subject.kind().to_owned(),
    }
}

/// A policy with what waits to take its place.
pub fn policy(version: PolicyVersion, record: PolicyRecord, waiting: &[Waiting]) -> proto::Policy {
    let pending: Vec<String> =
        waiting.iter().map(|one| format!("{} by {}", one.number, one.by)).collect();
    proto::Policy {
        version,
        source: record.source,
        applied_by: record.applied_by,
        approved_by: record.approved_by.unwrap_or_default(),
        applied_at: record.applied_at.seconds(),
        pending: pending.join(", "),
        proposals: waiting.iter().map(waiting_policy).collect(),
    }
}

fn waiting_policy(one: &Waiting) -> proto::PolicyProposal {
    proto::PolicyProposal {
        number: one.number,
        by: one.by.clone(),
        at: one.at.seconds(),
        source: one.source.clone(),
    }
}

/// The result of applying a policy.
pub fn applied(applied: Applied) -> proto::ApplyPolicyResponse {
    proto::ApplyPolicyResponse {
        version: applied.version,
        proposal: applied.proposal.unwrap_or_default(),
        widens: applied.widens,
        changes: applied.changes,
        unmatched: applied.unmatched,
        outdated: applied.outdated.iter().map(waiting_policy).collect(),
    }
}

/// What a peer gets, and why.
pub fn explained(explained: Explained) -> proto::ExplainPolicyResponse {
    let names = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
    let (rule_number, rule) = explained.rule.unwrap_or_default();
    let level = match explained.sharing {
        Sharing::None => "none",
        Sharing::View(_) => "view",
    };
    proto::ExplainPolicyResponse {
        level: level.to_owned(),
        rule,
        rule_number: u32::try_from(rule_number).unwrap_or(u32::MAX),
        claims: names(explained.claims),
        withheld: names(explained.withheld),
        considered: explained.considered,
        held: held(explained.ledger.as_ref()),
    }
}

/// What the ledger says, in a sentence.
fn held(ledger: Option<&LedgerEntry>) -> String {
    let Some(ledger) = ledger else { return "was never offered anything of it".to_owned() };
    if ledger.erased {
        return "confirmed that it erased what it held".to_owned();
    }
    if ledger.taken_back.is_some() {
        return "was told to erase it, and has not confirmed yet".to_owned();
    }
    let newest = ledger.possible.last().or(ledger.held.as_ref());
    let certain = if ledger.possible.is_empty() { "holds" } else { "may hold" };
    match newest {
        Some(newest) => {
            let claims = newest.claims.names().len();
            format!(
                "{certain} version {} with {claims} claims, offered {}",
                newest.version, newest.at
            )
        }
        None => "holds nothing of it".to_owned(),
    }
}

/// A user as shown.
pub fn user(name: &str, user: &User) -> proto::User {
    let state = match user.state {
        UserState::Pending => "pending",
        UserState::Active => "active",
        UserState::Removed => "removed",
    };
    proto::User {
        name: name.to_owned(),
        roles: user.roles.iter().map(|role| role.as_str().to_owned()).collect(),
        state: state.to_owned(),
        key: user.key.to_string(),
        added_by: user.added_by.clone(),
        approved_by: user.approved_by.clone().unwrap_or_default(),
    }
}

/// What is to be reviewed, and what was proposed.
pub fn review(review: &Review, waiting: Vec<WaitingRestart>) -> proto::EpochReview {
    let peer = |peer: &Reviewed| proto::ReviewedPeer {
        authority: peer.authority.to_string(),
        state: peer.state.as_str().to_owned(),
        fingerprint: peer.fingerprint.clone(),
        asked: peer.asked,
        alerts: peer.counts.alerts,
        anew: peer.counts.anew,
        unsure: peer.counts.unsure,
        again: peer.counts.again,
    };
    let proposal = |one: WaitingRestart| proto::EpochProposal {
        number: one.number,
        by: one.by,
        reason: one.reason,
        review: one.review,
    };
    proto::EpochReview {
        stopped: review.stopped,
        review: review.name.clone(),
        policy_version: review.policy,
        peers: review.peers.iter().map(peer).collect(),
        users: review.users.iter().map(|(name, one)| user(name, one)).collect(),
        again: review.again(),
        found: review.found.clone().unwrap_or_default(),
        proposals: waiting.into_iter().map(proposal).collect(),
    }
}

/// The status for a refusal or failure.
pub fn admin_status(error: &AdminError) -> Status {
    use AdminError as E;
    let code = match error {
        E::Policy(_) | E::Certificate(_) | E::User(_) | E::Reason => Code::InvalidArgument,
        E::UnknownPeer(_)
        | E::UnknownPolicy(_)
        | E::UnknownAlert(_)
        | E::UnknownUser
        | E::UnknownProposal(_) => Code::NotFound,
        E::Trust(_)
        | E::KnownUser
        | E::ActiveUser
        | E::SamePerson
        | E::Outdated
        | E::LastOne(_)
        | E::NotStopped
        | E::ClockDiffers { .. }
        | E::ReviewChanged
        | E::Again(_)
        | E::Reload(_)
        | E::TooManyProposals => Code::FailedPrecondition,
        E::Sign(_) => Code::Unavailable,
        E::Holding(_) | E::Node(_) => Code::DataLoss,
        E::Panicked(_) => Code::Internal,
        E::Store(error) => store_code(error),
    };
    refusal(code, error.reason(), &error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::ClaimSet;
    use crate::id::{NoticeId, Timestamp};

    #[test]
    fn a_parked_notice_is_shown_without_its_id() {
        let peer: AuthorityId = "dk.politi".parse().expect("a name");
        let held = Parked {
            version: 0,
            claims: ClaimSet::EMPTY,
            reason: "too_many_notices".to_owned(),
            at: Timestamp::from_seconds(1),
            epoch: 1,
            seq: 1,
            retry_at: None,
        };
        let id = NoticeId::new(peer.clone(), [7; 6]);
        for (subject, kind) in [
            (Subject::Notice(id.clone()), "notice"),
            (Subject::Acknowledgement(id.clone()), "acknowledgement"),
        ] {
            let shown = parked(&peer, true, &subject, &held);
            assert_eq!((shown.kind.as_str(), shown.alert.as_str()), (kind, ""));
            assert_eq!(shown.reason, "too_many_notices");
            assert!(!format!("{shown:?}").contains(&id.to_string()));
        }
        let alert: crate::id::AlertId = "dk.politi:2026-481920375".parse().expect("an id");
        let shown = parked(&peer, false, &alert.clone().into(), &held);
        assert_eq!((shown.kind.as_str(), shown.alert), ("alert", alert.to_string()));
    }
}
