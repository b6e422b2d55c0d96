//! What may change while a node runs: read from the home folder, validated whole, then published.

use std::sync::Arc;

use super::{Credentials, HomeError, Layout, read_config};
use crate::config::Config;
use crate::node::Node;
use crate::tls::{Published, SetUp, TlsError};

/// What a reload brought into force, and what it did not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// What was read anew.
    pub in_force: Vec<String>,
    /// Settings of the configuration that changed since the start, each with what brings it into
    /// force.
    pub not_in_force: Vec<String>,
}

/// Puts what was read at the start in force: doors may open with what is returned.
///
/// # Errors
/// When rustls refuses it.
pub fn publish(node: &Node, credentials: &Credentials) -> Result<Arc<Published>, TlsError> {
    let published = Arc::new(Published::new(set_up(node, credentials)?));
    // A second start of one node would open other doors than those that a reload reaches; there is
    // none.
    let _ = node.tls.set(Arc::clone(&published));
    take_over(node, credentials);
    Ok(published)
}

/// Reads certificates, the descriptor and peers anew. Nothing is published before all of it is
/// known to be good: what does not validate leaves the old in force.
///
/// # Errors
/// The first thing that does not fit.
pub fn reload(node: &Node) -> Result<Reloaded, HomeError> {
    let layout = Layout::new(&node.home);
    let config = read_config(&layout)?;
    let (statement_key, log_key) = (&node.statement_key, &node.log_key);
    let fresh = Credentials::read(&layout, &config, statement_key, log_key, &node.clock)?;
    let set_up = set_up(node, &fresh)?;
    node.refresh()?;
    if let Some(published) = node.tls.get() {
        published.publish(set_up);
    }
    take_over(node, &fresh);
    Ok(Reloaded {
        in_force: vec![
            "the node's certificate".to_owned(),
            "the user CA".to_owned(),
            format!("descriptor {}", fresh.descriptor.descriptor().serial),
            "peers and policy".to_owned(),
        ],
        not_in_force: not_in_force(node, &config, &fresh),
    })
}

fn set_up(node: &Node, credentials: &Credentials) -> Result<SetUp, TlsError> {
    let Credentials { tls, user_ca, .. } = credentials;
    SetUp::new(&node.authority, tls, user_ca, &node.directory)
}

/// What the node says of itself, and when each part of it ends.
fn take_over(node: &Node, credentials: &Credentials) {
    node.ends.store(Arc::new(credentials.ends(&node.statement_key, &node.log_key)));
    node.descriptor.store(Arc::new(Some(credentials.descriptor.clone())));
}

fn not_in_force(node: &Node, config: &Config, fresh: &Credentials) -> Vec<String> {
    let mut changed = node.config.wait_for_restart(config);
    let said = &fresh.descriptor.descriptor().contact;
    if !config.contact.is_empty() && config.contact.to_string() != *said {
        changed.push("contact: sign a new descriptor (`entente-node draft`)".to_owned());
    }
    changed
}
