//! `verge-edge health`: whether an edge on this machine is ready, for the health checks of containers.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use verge_edge::config::{self, AdminAddress};

use super::desk::Desk;
use super::{Failed, say};

#[derive(Debug, clap::Args)]
pub(super) struct Health {
    /// The edge's config: says where its admin listener is
    #[arg(long, value_name = "FILE", default_value = "edge.toml")]
    config: PathBuf,
    /// The admin listener, instead of the config's
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<AdminAddress>,
    /// Speak TLS, and believe the certificates of this file and those that they have signed for the address
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Only whether it runs; one that drains is well, too
    #[arg(long)]
    live: bool,
}

/// Container runtimes and Kubernetes wait for one second by default, systems under load longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The metrics of thousands of sites; a word and the disks that are not used are far less.
const MOST_BYTES: u64 = 16 << 20;

impl Health {
    pub(super) async fn run(&self) -> Result<(), Failed> {
        let configured = || {
            let admin = config::load_admin(&self.config).map_err(Failed::of_config)?;
            let none = || Failed::because(format!("{} has no [admin]", self.config.display()));
            Desk::of(&admin.ok_or_else(none)?, self.ca.as_deref())
        };
        let desk = match &self.admin {
            Some(address) => Desk::at(address.clone(), self.ca.as_ref())?,
            None => configured()?,
        };
        let path = if self.live { "/healthz" } else { "/readyz" };
        let unreachable =
            |error| Failed::because(format!("no edge's admin listener at {}: {error}", desk.address));
        let (is_well, word) = ask(&desk, path).await.map_err(unreachable)?;
        match is_well {
            true => {
                say(word);
                Ok(())
            }
            false => Err(Failed::because(word)),
        }
    }
}

/// Whether it is well, and its word.
pub(super) async fn ask(desk: &Desk, path: &str) -> io::Result<(bool, String)> {
    let asked = async {
        let mut stream = desk.connect().await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.take(MOST_BYTES).read_to_string(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    let answer = timeout(PATIENCE, asked).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let (head, body) =
        answer.split_once("\r\n\r\n").ok_or_else(|| io::Error::other("it does not speak HTTP"))?;
    Ok((head.starts_with("HTTP/1.1 200 "), body.trim_end().to_owned()))
}
