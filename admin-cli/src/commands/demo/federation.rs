//! Three nodes as processes of this program, in a temporary folder, on free loopback ports.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use entente_node::config::{Choices, Endpoint};
use entente_node::home::{Layout, init};
use entente_node::id::{AuthorityId, Clock, Entropy};
use entente_node::jose::SigningKey;
use entente_node::pki::write_example;
use entente_node::text;
use entente_node::trust::{Draft, SignedDescriptor};
use entente_proto::admin::admin_client::AdminClient;
use entente_proto::desk::desk_client::DeskClient;
use entente_proto::desk::notices_client::NoticesClient;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::Instant;
use tonic::transport::Channel;

use crate::output::{Answer, Failure};
use crate::profile;

pub const DK: usize = 0;
pub const FR: usize = 1;
pub const DE: usize = 2;

const NAMES: [&str; 3] = ["dk.politi", "fr.police-judiciaire", "de.bka"];

/// How often something that other processes do is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// How long a killed process may take to be gone.
const ENDED_WITHIN: Duration = Duration::from_secs(5);

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Federation {
    // Dropped before the folder, which they write to.
    nodes: Vec<Node>,
    folder: Option<TempDir>,
    path: PathBuf,
    /// Alert that the scenes follow.
    pub followed: String,
    /// Another one, which stays in force.
    pub live: String,
}

pub struct Node {
    pub authority: AuthorityId,
    home: PathBuf,
    child: Option<Child>,
    descriptor: SignedDescriptor,
}

impl Drop for Node {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        let _ = child.start_kill();
        let gone = Instant::now() + ENDED_WITHIN;
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < gone {
            std::thread::sleep(LOOK);
        }
    }
}

impl Federation {
    /// Makes PKI, identities, homes and descriptors.
    pub fn prepare() -> Result<Self, Failure> {
        let folder = TempDir::with_prefix("entente-demo-").map_err(io)?;
        let path = folder.path().to_owned();
        let authorities: Vec<AuthorityId> =
            NAMES.iter().filter_map(|name| name.parse().ok()).collect();
        let certs = path.join("certs");
        let made = write_example(&certs, &authorities, Clock::system().now());
        made.map_err(|error| Failure::new(error.to_string()))?;
        let nodes =
            authorities.into_iter().map(|authority| Node::prepare(&path, &certs, authority));
        let nodes = nodes.collect::<Result<_, _>>()?;
        Ok(Self { folder: Some(folder), path, nodes, followed: String::new(), live: String::new() })
    }

    pub fn folder(&self) -> &Path {
        &self.path
    }

    /// A node; one of [`DK`], [`FR`], [`DE`].
    pub fn node(&self, index: usize) -> Result<&Node, Failure> {
        self.nodes.get(index).ok_or_else(|| Failure::new("no such node"))
    }

    pub fn node_mut(&mut self, index: usize) -> Result<&mut Node, Failure> {
        self.nodes.get_mut(index).ok_or_else(|| Failure::new("no such node"))
    }

    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub fn nodes_mut(&mut self) -> &mut [Node] {
        &mut self.nodes
    }

    /// The folder stays, for whoever looks for what went wrong.
    pub fn keep_logs(&mut self) {
        if let Some(folder) = self.folder.take() {
            let _ = folder.keep();
        }
    }

    /// Ends the nodes in good order.
    pub async fn end(mut self) {
        for node in &mut self.nodes {
            node.end().await;
        }
    }

    /// Says how to go on with the nodes.
    pub fn leave_running(mut self) -> Answer {
        self.keep_logs();
        let mut pids = Vec::new();
        let mut profiles = Vec::new();
        for node in &mut self.nodes {
            profiles.push(node.home.join("profiles").display().to_string());
            pids.extend(node.child.as_ref().and_then(Child::id));
            // Forgotten, not dropped: dropping would end the process.
            std::mem::forget(node.child.take());
        }
        let first = self.nodes.first().map(|node| node.home.join("profiles")).unwrap_or_default();
        let of = |role: &str| first.join(format!("{role}.toml")).display().to_string();
        let program = this_program();
        let commands = [
            format!("{program} status --profile {}", of("coordinator")),
            format!("{program} alert list --profile {}", of("officer")),
            format!(
                "{program} policy explain {} fr.police-judiciaire --profile {}",
                self.live,
                of("administrator")
            ),
        ];
        let numbers: Vec<String> = pids.iter().map(ToString::to_string).collect();
        let text = format!(
            "the nodes go on. Profiles:\n  {}\ntry:\n  {}\nend them: kill {}\nthen remove {}",
            profiles.join("\n  "),
            commands.join("\n  "),
            numbers.join(" "),
            self.path.display()
        );
        let json = json!({
            "folder": self.path.display().to_string(), "profiles": profiles, "pids": pids,
            "commands": commands,
        });
        Answer::new(json, text)
    }
}

impl Node {
    fn prepare(folder: &Path, certs: &Path, authority: AuthorityId) -> Result<Self, Failure> {
        let home = folder.join(authority.as_str());
        // Held until all three are known, so that none is given twice.
        let ports: Vec<TcpListener> = (0..3)
            .map(|_| TcpListener::bind("127.0.0.1:0"))
            .collect::<Result<_, _>>()
            .map_err(io)?;
        let at = |index: usize| ports.get(index).and_then(|port| port.local_addr().ok());
        let advertise: Option<Endpoint> =
            at(0).and_then(|address| address.to_string().parse().ok());
        let telemetry = at(2).and_then(|address| address.to_string().parse().ok());
        let contact = format!("24 h desk of {authority}").parse();
        let choices = Choices {
            trial: true,
            authority: authority.clone(),
            contact: contact.map_err(|_| Failure::new("no contact"))?,
            exchange_listen: at(0),
            exchange_advertise: advertise,
            desk_listen: at(1),
            telemetry_listen: telemetry,
        };
        drop(ports);
        let failed = |error: entente_node::home::HomeError| Failure::new(error.to_string());
        init(&home, &choices, Some(certs), &Clock::system(), &Entropy::os()).map_err(failed)?;
        let descriptor = sign(&Layout::new(&home))?;
        Ok(Self { authority, home, child: None, descriptor })
    }

    pub fn descriptor(&self) -> &SignedDescriptor {
        &self.descriptor
    }

    /// Starts this very program as the node, and waits until it answers.
    pub async fn start(&mut self) -> Result<(), Failure> {
        let program = std::env::current_exe().map_err(io)?;
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log());
        let child = Command::new(program)
            .args(["node", "run", "--home"])
            .arg(&self.home)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.map_err(io)?)
            .kill_on_drop(true)
            .spawn()
            .map_err(io)?;
        self.child = Some(child);
        let home = self.home.clone();
        until("the node to answer", || async {
            Ok(profile::open(profile_of(&home, "officer").to_str()).await.ok().map(|_| ()))
        })
        .await
    }

    /// The log of the node's own doings.
    pub fn log(&self) -> PathBuf {
        self.home.join("run/node.log")
    }

    /// SIGKILL, as a power cut would.
    pub async fn kill(&mut self) -> Result<(), Failure> {
        if let Some(mut child) = self.child.take() {
            child.kill().await.map_err(io)?;
        }
        Ok(())
    }

    async fn end(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = tokio::time::timeout(PATIENCE, child.wait()).await;
    }

    async fn channel(&self, role: &str) -> Result<Channel, Failure> {
        profile::open(profile_of(&self.home, role).to_str()).await
    }

    pub async fn officer(&self) -> Result<DeskClient<Channel>, Failure> {
        Ok(DeskClient::new(self.channel("officer").await?))
    }

    pub async fn notices(&self) -> Result<NoticesClient<Channel>, Failure> {
        Ok(NoticesClient::new(self.channel("officer").await?))
    }

    pub async fn administrator(&self) -> Result<AdminClient<Channel>, Failure> {
        Ok(AdminClient::new(self.channel("administrator").await?))
    }

    pub async fn coordinator(&self) -> Result<AdminClient<Channel>, Failure> {
        Ok(AdminClient::new(self.channel("coordinator").await?))
    }

    pub fn profile(&self, role: &str) -> PathBuf {
        profile_of(&self.home, role)
    }

    pub fn descriptor_file(&self) -> PathBuf {
        Layout::new(&self.home).descriptor()
    }
}

/// How the shell finds this program from here.
fn this_program() -> String {
    let Ok(program) = std::env::current_exe() else { return "entente".to_owned() };
    let here = std::env::current_dir().unwrap_or_default();
    match program.strip_prefix(&here) {
        Ok(below) => Path::new(".").join(below).display().to_string(),
        Err(_) => program.display().to_string(),
    }
}

fn profile_of(home: &Path, role: &str) -> PathBuf {
    home.join("profiles").join(format!("{role}.toml"))
}

/// The identity key is used once, here, and forgotten.
fn sign(layout: &Layout) -> Result<SignedDescriptor, Failure> {
    let draft = text::read(&layout.draft()).map_err(io)?;
    let draft: Draft =
        serde_json::from_str(&draft).map_err(|error| Failure::new(error.to_string()))?;
    let identity = SigningKey::generate(&Entropy::os());
    let signed = SignedDescriptor::sign(draft, Clock::system().now(), &identity);
    let signed = signed.map_err(|error| Failure::new(error.to_string()))?;
    std::fs::write(layout.descriptor(), signed.jws()).map_err(io)?;
    Ok(signed)
}

/// Looks again and again until `look` finds something.
pub async fn until<T, F>(what: &str, mut look: impl FnMut() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<Option<T>, Failure>>,
{
    let looking = async {
        loop {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, looking).await;
    waited.unwrap_or_else(|_| Err(Failure::new(format!("waited 30 s in vain for {what}"))))
}

fn io(error: std::io::Error) -> Failure {
    Failure::new(error.to_string())
}
