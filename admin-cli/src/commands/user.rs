//! `entente user`: the people and systems that may call this authority's node.

use std::path::PathBuf;

use clap::Subcommand;
use entente_node::roles::Role;
use entente_proto::admin::admin_client::AdminClient;
use entente_proto::admin::{AddUserRequest, ListUsersRequest, User, UserRequest};
use serde_json::{Value, json};

use crate::output::{Answer, Outcome, fields, list, table};
use crate::{files, profile, words};

#[derive(Subcommand)]
pub enum Command {
    /// Lists the users
    #[command(after_help = "Example:\n  entente user list --profile auditor")]
    List,
    /// Adds a user, for a coordinator to approve
    #[command(after_help = "Example:\n  \
                            entente user add jensen --role officer --certificate jensen/jensen.pem \
                            --profile administrator")]
    Add {
        /// The name of the user, as in the certificate
        name: String,
        /// A role of the user; repeatable
        #[arg(
            long = "role",
            value_name = "ROLE",
            required = true,
            value_parser = words::of(&Role::ALL, Role::as_str)
        )]
        roles: Vec<String>,
        /// The file with the user's certificate (PEM)
        #[arg(long, value_name = "FILE")]
        certificate: PathBuf,
    },
    /// Approves a user, as the second person
    #[command(after_help = "Example:\n  entente user approve jensen --profile coordinator")]
    Approve {
        /// The name of the user
        name: String,
    },
    /// Removes a user, whose open calls end at once
    #[command(after_help = "Example:\n  entente user remove jensen --profile administrator")]
    Remove {
        /// The name of the user
        name: String,
    },
}

impl Command {
    pub async fn run(self, as_whom: Option<&str>) -> Outcome {
        let mut admin = AdminClient::new(profile::open(as_whom).await?);
        let user = match self {
            Self::List => {
                let users = admin.list_users(ListUsersRequest {}).await?.into_inner().users;
                let row = |user: &User| {
                    let (name, state) = (user.name.clone(), user.state.clone());
                    let (added, approved) = (user.added_by.clone(), user.approved_by.clone());
                    vec![name, user.roles.join(", "), state, added, approved]
                };
                let headers = ["user", "roles", "state", "added by", "approved by"];
                let text = table(&headers, users.iter().map(row).collect());
                return Ok(Answer::new(list(users.iter().map(shown)), text));
            }
            Self::Add { name, roles, certificate } => {
                let certificate = files::read(&certificate)?;
                let asked = AddUserRequest { name, roles, certificate };
                let user = admin.add_user(asked).await?.into_inner();
                let next =
                    format!("next: a coordinator approves: entente user approve {}\n", user.name);
                return Ok(Answer::new(shown(&user), described(&user) + &next));
            }
            Self::Approve { name } => admin.approve_user(UserRequest { name }).await?.into_inner(),
            Self::Remove { name } => admin.remove_user(UserRequest { name }).await?.into_inner(),
        };
        Ok(Answer::new(shown(&user), described(&user)))
    }
}

fn described(user: &User) -> String {
    fields(&[
        ("user", user.name.clone()),
        ("roles", user.roles.join(", ")),
        ("state", user.state.clone()),
        ("key", user.key.clone()),
        ("added by", user.added_by.clone()),
        ("approved by", user.approved_by.clone()),
    ])
}

fn shown(user: &User) -> Value {
    json!({
        "name": user.name, "roles": user.roles, "state": user.state, "key": user.key,
        "added_by": user.added_by, "approved_by": user.approved_by,
    })
}
