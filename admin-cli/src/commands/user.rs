//! `entente user`: who may act at this authority's desk.

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
    /// Adds a user; a coordinator then approves it
    #[command(after_help = "Example:\n  \
                            entente user add jensen --role officer --certificate jensen/jensen.pem \
                            --profile administrator")]
    Add {
        /// As in the certificate
        name: String,
        /// What it may do; may be repeated
        #[arg(long = "role", required = true, value_parser = words::of(&Role::ALL, Role::as_str))]
        roles: Vec<String>,
        /// Its certificate, PEM
        #[arg(long, value_name = "FILE")]
        certificate: PathBuf,
    },
    /// Approves a user, as a second person
    #[command(after_help = "Example:\n  entente user approve jensen --profile coordinator")]
    Approve {
        /// Which
        name: String,
    },
    /// Removes a user; its next call is refused
    #[command(after_help = "Example:\n  entente user remove jensen --profile administrator")]
    Remove {
        /// Which
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
                let next = format!("waits for a coordinator: entente user approve {}\n", user.name);
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
