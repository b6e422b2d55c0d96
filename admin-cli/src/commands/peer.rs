//! `entente peer`: the authorities that this one trusts.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use entente_proto::admin::admin_client::AdminClient;
use entente_proto::admin::{
    ApprovePeerRequest, ChangePeerRequest, ExportDescriptorRequest, ImportPeerRequest,
    ListPeersRequest, Parked, Peer, PeerRequest, TestPeerResponse,
};
use serde_json::{Value, json};

use super::node::time;
use crate::kind::Kind;
use crate::output::{Answer, Failure, Outcome, at, fields, list, table};
use crate::{files, profile};

#[derive(Subcommand)]
pub enum Command {
    /// Exports your authority's descriptor, to send to another authority
    #[command(
        after_help = "Example:\n  entente peer export --out dk.descriptor --profile administrator"
    )]
    Export {
        /// The file to write; stdout when omitted
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Imports another authority's descriptor, for a coordinator to approve
    #[command(after_help = "Example:\n  entente peer import fr.descriptor --profile administrator")]
    Import {
        /// The signed descriptor that the other authority sent; - for stdin
        file: PathBuf,
    },
    /// Lists the peers
    #[command(after_help = "Example:\n  entente peer list --profile coordinator")]
    List,
    /// Shows one peer
    #[command(
        after_help = "Example:\n  entente peer show fr.police-judiciaire --profile coordinator"
    )]
    Show(One),
    /// Approves an imported peer, as the second person, with the fingerprint that the peer read out
    #[command(
        after_help = "Call the peer's coordinator and ask for the fingerprint that `entente \
                      identity fingerprint` shows there:\n  \
                      entente peer approve fr.police-judiciaire --fingerprint '01234 56789 01234 \
                      56789 01234 56789 01234 56789' --profile coordinator"
    )]
    Approve {
        /// The authority of the peer
        #[arg(value_name = "PEER")]
        authority: String,
        /// The fingerprint that you heard: eight groups of five digits
        #[arg(long, value_name = "DIGITS")]
        fingerprint: String,
    },
    /// Stops the exchange with a peer at once; erases nothing
    #[command(after_help = "Example:\n  \
                            entente peer suspend fr.police-judiciaire --reason 'incident 12' \
                            --profile administrator")]
    Suspend(Change),
    /// Resumes the exchange with a suspended peer
    #[command(after_help = "Example:\n  \
                            entente peer resume fr.police-judiciaire --reason 'incident 12 closed' \
                            --profile coordinator")]
    Resume(Change),
    /// Ends the trust in a peer
    #[command(after_help = "Example:\n  \
                            entente peer remove fr.police-judiciaire --reason 'agreement ended' \
                            --profile administrator")]
    Remove(Change),
    /// Tries each step of the connection to a peer; says which one fails and what to do
    #[command(
        after_help = "Example:\n  entente peer test fr.police-judiciaire --profile administrator"
    )]
    Test(One),
    /// Lists the parked statements: those that one of the two nodes refused, with the reasons
    #[command(
        after_help = "Example:\n  entente peer parked fr.police-judiciaire --profile coordinator"
    )]
    Parked(One),
    /// Offers the parked statements to the peer again
    #[command(
        after_help = "Example:\n  entente peer retry fr.police-judiciaire --profile administrator"
    )]
    Retry(One),
}

#[derive(Args)]
pub struct One {
    /// The authority of the peer
    #[arg(value_name = "PEER")]
    authority: String,
}

#[derive(Args)]
pub struct Change {
    /// The authority of the peer
    #[arg(value_name = "PEER")]
    authority: String,
    /// The reason for the change; kept in the audit log
    #[arg(long)]
    reason: String,
}

impl From<Change> for ChangePeerRequest {
    fn from(change: Change) -> Self {
        Self { authority: change.authority, reason: change.reason }
    }
}

impl From<One> for PeerRequest {
    fn from(one: One) -> Self {
        Self { authority: one.authority }
    }
}

impl Command {
    pub async fn run(self, as_whom: Option<&str>) -> Outcome {
        // A wrong file is refused before the node is called.
        let descriptor = match &self {
            Self::Import { file } => Kind::Descriptor.read(file)?.trim().to_owned(),
            _ => String::new(),
        };
        let mut admin = AdminClient::new(profile::open(as_whom).await?);
        match self {
            Self::Export { out } => {
                let asked = ExportDescriptorRequest {};
                let own = admin.export_descriptor(asked).await?.into_inner();
                let json = json!({ "descriptor": own.descriptor, "fingerprint": own.fingerprint });
                let Some(path) = out else { return Ok(Answer::new(json, own.descriptor)) };
                files::write_over(&path, &format!("{}\n", own.descriptor))?;
                let done = format!("wrote {}", path.display());
                Ok(Answer::new(json, fields(&[("fingerprint", own.fingerprint), ("done", done)])))
            }
            Self::Import { .. } => {
                let peer = admin.import_peer(ImportPeerRequest { descriptor }).await?.into_inner();
                let next = format!(
                    "next: a coordinator calls the peer, compares the fingerprint and approves:\n  \
                     entente peer approve {} --fingerprint '…'\n",
                    peer.authority
                );
                Ok(Answer::new(shown(&peer), described(&peer) + &next))
            }
            Self::List => {
                let peers = admin.list_peers(ListPeersRequest {}).await?.into_inner().peers;
                let row = |peer: &Peer| {
                    let endpoints = peer.endpoints.join(", ");
                    let (name, state) = (peer.authority.clone(), peer.state.clone());
                    vec![name, state, endpoints, peer.contact.clone(), peer.warnings.join("; ")]
                };
                let rows = peers.iter().map(row).collect();
                let text = table(&["peer", "state", "endpoint", "24 h desk", "warnings"], rows);
                Ok(Answer::new(list(peers.iter().map(shown)), text))
            }
            Self::Show(one) => {
                answered(admin.show_peer(PeerRequest::from(one)).await?.into_inner())
            }
            Self::Approve { authority, fingerprint } => {
                let asked = ApprovePeerRequest { authority, fingerprint };
                answered(admin.approve_peer(asked).await?.into_inner())
            }
            Self::Suspend(change) => {
                answered(admin.suspend_peer(ChangePeerRequest::from(change)).await?.into_inner())
            }
            Self::Resume(change) => {
                answered(admin.resume_peer(ChangePeerRequest::from(change)).await?.into_inner())
            }
            Self::Remove(change) => {
                answered(admin.remove_peer(ChangePeerRequest::from(change)).await?.into_inner())
            }
            Self::Test(one) => tested(admin.test_peer(PeerRequest::from(one)).await?.into_inner()),
            Self::Parked(one) => {
                let answer = admin.list_parked(PeerRequest::from(one)).await?.into_inner();
                Ok(parked(answer.parked))
            }
            Self::Retry(one) => {
                let done = admin.retry_parked(PeerRequest::from(one)).await?.into_inner();
                let text = format!("offering {} statements again", done.retried);
                Ok(Answer::new(json!({ "retried": done.retried }), text))
            }
        }
    }
}

fn parked(parked: Vec<Parked>) -> Answer {
    let json = list(parked.iter().map(|p| {
        json!({
            "kind": p.kind, "alert": p.alert, "version": p.version, "direction": p.direction,
            "reason": p.reason, "refused_at": at(p.at),
        })
    }));
    let row =
        |p: Parked| vec![p.kind, p.alert, p.version.to_string(), p.direction, p.reason, time(p.at)];
    let headers = ["kind", "alert", "version", "direction", "reason", "refused at"];
    Answer::new(json, table(&headers, parked.into_iter().map(row).collect()))
}

fn answered(peer: Peer) -> Outcome {
    Ok(Answer::new(shown(&peer), described(&peer)))
}

fn shown(peer: &Peer) -> Value {
    json!({
        "authority": peer.authority, "state": peer.state, "fingerprint": peer.fingerprint,
        "endpoints": peer.endpoints, "contact": peer.contact, "serial": peer.serial,
        "imported_by": peer.imported_by, "approved_by": peer.approved_by,
        "changed_at": at(peer.changed_at), "warnings": peer.warnings, "pending": peer.pending,
    })
}

fn described(peer: &Peer) -> String {
    fields(&[
        ("peer", peer.authority.clone()),
        ("state", peer.state.clone()),
        ("fingerprint", peer.fingerprint.clone()),
        ("endpoint", peer.endpoints.join(", ")),
        ("24 h desk", peer.contact.clone()),
        ("serial", peer.serial.to_string()),
        ("imported by", peer.imported_by.clone()),
        ("approved by", peer.approved_by.clone()),
        ("changed at", time(peer.changed_at)),
        ("pending", peer.pending.clone()),
        ("warnings", peer.warnings.join("; ")),
    ])
}

/// A failed step is a failure of the command, so that scripts notice it.
fn tested(tested: TestPeerResponse) -> Outcome {
    let steps: Vec<_> = tested
        .steps
        .iter()
        .map(|step| {
            json!({
                "name": step.name, "ok": step.ok, "found": step.found, "hint": step.hint,
            })
        })
        .collect();
    let row = |step: &entente_proto::admin::TestStep| {
        let mark = if step.ok { "ok" } else { "failed" };
        vec![step.name.clone(), mark.to_owned(), step.found.clone()]
    };
    let text = table(&["step", "result", "found"], tested.steps.iter().map(row).collect());
    let answer = Answer::new(json!({ "ok": tested.ok, "steps": steps }), text);
    match tested.steps.into_iter().find(|step| !step.ok) {
        None => Ok(answer),
        Some(step) => {
            crate::output::say(answer.text.trim_end())?;
            let failure = Failure::new(format!("{}: {}", step.name, step.found));
            Err(if step.hint.is_empty() { failure } else { failure.hint(step.hint) })
        }
    }
}
