//! Nodes as processes of their own, to be killed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use entente_node::config::Choices;
use entente_node::home::{Layout, init};
use entente_node::id::{AuthorityId, Clock, Entropy};
use entente_node::outbound::connect;
use entente_node::tls::{Target, TlsIdentity, read_pem_certificates};
use entente_node::trust::SignedDescriptor;
use entente_proto::admin::admin_client::AdminClient;
use entente_proto::admin::{ApprovePeerRequest, ImportPeerRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tonic::transport::Channel;

use crate::federation::{PATIENCE, free_port, sign};

/// One node as a process.
pub struct Process {
    /// Whose.
    pub authority: AuthorityId,
    /// Its home folder.
    pub home: PathBuf,
    program: Command,
    /// Its desk door.
    pub desk: SocketAddr,
    /// Its exchange door.
    pub exchange: SocketAddr,
    /// Where it tells its health.
    pub telemetry: SocketAddr,
    child: Option<Child>,
}

impl Process {
    /// Makes a home below `folder`; `program` is one that knows `node run --home`.
    pub fn prepare(folder: &Path, name: &str, program: &str) -> anyhow::Result<Self> {
        let authority: AuthorityId = name.parse()?;
        let home = folder.join(name);
        let exchange = free_port()?;
        let (desk, telemetry) = (free_port()?, free_port()?);
        let choices = Choices {
            trial: true,
            authority: authority.clone(),
            contact: "test desk".parse().map_err(anyhow::Error::msg)?,
            exchange_listen: Some(exchange),
            exchange_advertise: Some(exchange.to_string().parse().map_err(anyhow::Error::msg)?),
            desk_listen: Some(desk),
            telemetry_listen: Some(telemetry.to_string().parse().map_err(anyhow::Error::msg)?),
        };
        init(&home, &choices, None, &Clock::system(), &Entropy::os())?;
        sign(&Layout::new(&home))?;
        let program = Command::new(program);
        Ok(Self { authority, home, program, desk, exchange, telemetry, child: None })
    }

    /// It gets what the others leave of the machine's time: as little as if it ran on another.
    #[must_use]
    pub fn in_the_background(self) -> Self {
        let mut program = Command::new("nice");
        program.args(["-n", "19"]).arg(self.program.as_std().get_program());
        Self { program, ..self }
    }

    /// No file of its grows beyond so many blocks of 512 bytes: a write further on fails.
    #[must_use]
    pub fn with_files_up_to(self, blocks: u32) -> Self {
        let mut program = Command::new("sh");
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        program.args(["-c", &script]).arg(self.program.as_std().get_program());
        Self { program, ..self }
    }

    /// It may hold so many files and connections at once.
    #[must_use]
    pub fn with_descriptors_up_to(self, count: u32) -> Self {
        let mut program = Command::new("sh");
        let script = format!("ulimit -n {count}; exec \"$0\" \"$@\"");
        program.args(["-c", &script]).arg(self.program.as_std().get_program());
        Self { program, ..self }
    }

    /// It runs another program from its next start on.
    #[must_use]
    pub fn with_program(self, program: &str) -> Self {
        Self { program: Command::new(program), ..self }
    }

    /// Its descriptor.
    pub fn descriptor(&self) -> anyhow::Result<SignedDescriptor> {
        let jws = std::fs::read_to_string(Layout::new(&self.home).descriptor())?;
        Ok(SignedDescriptor::parse(&jws)?)
    }

    /// Imports a descriptor, which waits for approval.
    pub async fn import(&self, descriptor: &SignedDescriptor) -> anyhow::Result<()> {
        let mut one = AdminClient::new(self.desk("administrator").await?);
        let jws = descriptor.jws().to_owned();
        one.import_peer(ImportPeerRequest { descriptor: jws }).await?;
        Ok(())
    }

    /// Imports a descriptor and approves it, as two people do.
    pub async fn admit(&self, descriptor: &SignedDescriptor) -> anyhow::Result<()> {
        self.import(descriptor).await?;
        let mut two = AdminClient::new(self.desk("coordinator").await?);
        let authority = descriptor.descriptor().authority.to_string();
        let fingerprint = descriptor.fingerprint().to_string();
        two.approve_peer(ApprovePeerRequest { authority, fingerprint }).await?;
        Ok(())
    }

    /// Starts it, and waits until its desk answers.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log())?;
        let (program, before) = (self.program.as_std().get_program(), self.program.as_std());
        let child = Command::new(program)
            .args(before.get_args())
            .args(["node", "run", "--home"])
            .arg(&self.home)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        self.child = Some(child);
        let answering = async {
            while self.desk("officer").await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, answering).await?;
        Ok(())
    }

    /// What it wrote about its own doings.
    pub fn log(&self) -> PathBuf {
        self.home.join("run/node.log")
    }

    /// Where its desk door listens.
    pub fn desk_address(&self) -> SocketAddr {
        self.desk
    }

    /// SIGKILL.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().await?;
        }
        Ok(())
    }

    /// Sends it a signal; only while it runs.
    pub fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let pid = self.child.as_ref().and_then(Child::id).context("it runs")?.to_string();
        let sent = std::process::Command::new("kill").args(["-s", signal, &pid]).status()?;
        anyhow::ensure!(sent.success(), "no {signal} was sent");
        Ok(())
    }

    /// SIGTERM; returns whether it ended well.
    pub async fn terminate(&mut self) -> anyhow::Result<bool> {
        let Some(mut child) = self.child.take() else { return Ok(true) };
        let pid = child.id().unwrap_or_default().to_string();
        std::process::Command::new("kill").arg(pid).status()?;
        Ok(tokio::time::timeout(PATIENCE, child.wait()).await??.success())
    }

    /// A channel to its desk as one of the first users.
    pub async fn desk(&self, user: &str) -> anyhow::Result<Channel> {
        let users = Layout::new(&self.home).users();
        let (pem, key) = (users.join(format!("{user}.pem")), users.join(format!("{user}.key")));
        self.connect(&pem, &key, self.desk).await
    }

    /// A channel to one of its doors, with any certificate.
    pub async fn connect(
        &self,
        pem: &Path,
        key: &Path,
        door: SocketAddr,
    ) -> anyhow::Result<Channel> {
        let target = Target {
            authority: self.authority.clone(),
            roots: read_pem_certificates(&Layout::new(&self.home).roots())?,
            own: TlsIdentity::read(pem, key, Clock::system().now())?,
        };
        connect(&door.to_string(), &target).await.map_err(anyhow::Error::msg)
    }

    /// Resident memory of the process, in bytes; only while it runs.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        let pid = self.child.as_ref().and_then(Child::id).context("it runs")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()).context("VmRSS")?;
        Ok(kib.parse::<u64>()? * 1024)
    }
}

/// First line and body of what is answered over HTTP.
pub async fn http_get(address: SocketAddr, path: &'static str) -> anyhow::Result<(String, String)> {
    let asked = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(asked.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    Ok((head.lines().next().unwrap_or_default().to_owned(), body.to_owned()))
}
