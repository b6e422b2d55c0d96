//! A sharing policy at the desk door: what widens waits for a second person, what narrows is in
//! force at once.

use entente_proto::admin::admin_client::AdminClient;
use entente_proto::admin::{
    ApplyPolicyRequest, ApplyPolicyResponse, ApprovePolicyRequest, ShowPolicyRequest,
};
use entente_tests::federation::{ALL, Federation};
use tonic::Status;
use tonic::transport::Channel;
use tonic_types::StatusExt;

type Admin = AdminClient<Channel>;

async fn apply(admin: &mut Admin, source: &str) -> Result<ApplyPolicyResponse, Status> {
    let asked = ApplyPolicyRequest { source: source.to_owned(), dry_run: false };
    admin.apply_policy(asked).await.map(tonic::Response::into_inner)
}

async fn waiting(admin: &mut Admin) -> Result<Vec<u64>, Status> {
    let policy = admin.show_policy(ShowPolicyRequest::default()).await?.into_inner();
    Ok(policy.proposals.into_iter().map(|proposal| proposal.number).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_waits_for_a_second_person_and_goes_with_its_base() -> anyhow::Result<()> {
    let federation = Federation::start(&["dk.politi", "fr.police-judiciaire"]).await?;
    let dk = &federation.nodes[0];
    let mut one = AdminClient::new(dk.desk("administrator").await?);
    let mut two = AdminClient::new(dk.desk("coordinator").await?);
    let misspelt = ALL.replacen("'*'", "'fr.police-judicaire'", 1);
    let slip = apply(&mut one, &misspelt).await?;
    assert_eq!(slip.unmatched, ["rule 1 (all) names fr.police-judicaire"]);
    let all = apply(&mut one, ALL).await?;
    assert!(all.unmatched.is_empty() && !all.widens.is_empty(), "{all:?}");
    assert_eq!(waiting(&mut two).await?, [all.proposal], "in place of the other");
    assert_eq!(all.version, slip.version, "nothing is in force yet");

    let proposal = all.proposal;
    let approved = two.approve_policy(ApprovePolicyRequest { proposal }).await?.into_inner();
    assert_eq!(approved.version, all.version + 1);
    let again = apply(&mut one, ALL).await?;
    assert_eq!((again.version, again.proposal, again.changes.len()), (approved.version, 0, 0));
    let narrowed = apply(&mut one, "").await?;
    assert_eq!((narrowed.version, narrowed.proposal), (approved.version + 1, 0));

    let proposal = apply(&mut one, ALL).await?.proposal;
    assert_eq!(waiting(&mut two).await?, [proposal]);
    let source = "# nobody gets anything\n".to_owned();
    let dry = ApplyPolicyRequest { source: source.clone(), dry_run: true };
    let before = one.apply_policy(dry).await?.into_inner().outdated;
    let narrowest = apply(&mut one, &source).await?;
    assert_eq!(narrowest.version, narrowed.version + 1);
    for named in [before, narrowest.outdated] {
        let named: Vec<_> = named.iter().map(|one| (one.number, one.by.as_str())).collect();
        assert_eq!(named, [(proposal, "administrator")], "nobody's proposal is dropped unnamed");
    }
    assert!(waiting(&mut two).await?.is_empty(), "what was compared with an older one is void");
    let refused = two.approve_policy(ApprovePolicyRequest { proposal }).await.expect_err("void");
    let reason = refused.get_details_error_info().map(|info| info.reason);
    assert_eq!(reason.as_deref(), Some("proposal_outdated"));
    federation.stop().await
}
