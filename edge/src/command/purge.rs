//! `verge-edge purge URL…`: tells a running edge, through its admin listener.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use verge_edge::admin::{PurgeRequest, Purged, Token};
use verge_edge::config;

use super::Failed;

#[derive(Debug, clap::Args)]
pub(super) struct Purge {
    /// As clients ask for them: http://host/path
    #[arg(required = true, value_name = "URL")]
    urls: Vec<String>,
    /// The edge's config: says where its admin listener and its token are
    #[arg(long, value_name = "FILE", default_value = "edge.toml")]
    config: PathBuf,
    /// The admin listener, instead of the config's
    #[arg(long, value_name = "ADDRESS", requires = "token_file")]
    admin: Option<SocketAddr>,
    /// The token's file, instead of the config's
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// A purge is answered when it is in effect; that takes no time worth waiting for.
const LIMIT: Duration = Duration::from_secs(10);
/// An answer is a number or a sentence.
const MAX_ANSWER_BYTES: usize = 64 << 10;

impl Purge {
    #[expect(clippy::print_stdout, reason = "this is what the command says")]
    pub(super) async fn run(self) -> Result<(), Failed> {
        let (address, token) = self.desk()?;
        for url in self.urls {
            let asked = purge(address, &token, &url);
            let late = |_| Failed::because(format!("no answer from {address} in {LIMIT:?}"));
            let Purged { purged } = timeout(LIMIT, asked).await.map_err(late)??;
            println!("{url}: {purged} stored responses purged");
        }
        Ok(())
    }

    fn desk(&self) -> Result<(SocketAddr, Token), Failed> {
        let (address, path) = match (self.admin, &self.token_file) {
            (Some(address), Some(path)) => (address, path.clone()),
            (_, path) => {
                let config = config::load(&self.config).map_err(Failed::because)?;
                let none = || Failed::because(format!("{} has no [admin]", self.config.display()));
                let admin = config.admin.ok_or_else(none)?;
                (admin.listen, path.clone().unwrap_or(admin.token_file))
            }
        };
        let unreadable =
            |error| Failed::because(format!("cannot read the token file {}: {error}", path.display()));
        Ok((address, Token::read(&path).map_err(unreadable)?))
    }
}

async fn purge(address: SocketAddr, token: &Token, url: &str) -> Result<Purged, Failed> {
    let unreachable = |error| Failed::because(format!("no edge's admin listener at {address}: {error}"));
    let stream = TcpStream::connect(address).await.map_err(unreachable)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(Failed::because)?;
    tokio::spawn(connection);
    let body = serde_json::to_vec(&PurgeRequest { url: url.to_owned() }).expect("a string is JSON");
    let request = Request::builder()
        .method(Method::POST)
        .uri("/purge")
        .header(header::HOST, address.to_string())
        .header(header::AUTHORIZATION, token.authorization())
        .body(Full::new(Bytes::from(body)))
        .map_err(Failed::because)?;
    let response = sender.send_request(request).await.map_err(Failed::because)?;
    let status = response.status();
    let body =
        Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await.map_err(Failed::because)?;
    let body = body.to_bytes();
    if status != StatusCode::OK {
        let sentence = String::from_utf8_lossy(&body);
        return Err(Failed::because(format!("{url}: {status}: {}", sentence.trim())));
    }
    serde_json::from_slice(&body).map_err(Failed::because)
}
