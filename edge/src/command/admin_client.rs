//! How the other commands speak to a running edge: through its admin listener, with its token.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use verge_edge::admin::Token;
use verge_edge::admin::problem::Problem;
use verge_edge::config::{self, AdminAddress};

use crate::command::Failed;
use crate::command::desk::Desk;

/// Which edge.
#[derive(Debug, clap::Args)]
pub(super) struct WhichEdge {
    /// The edge's config: says where its admin listener and its token are
    #[arg(long, value_name = "FILE", default_value = "edge.toml")]
    pub(super) config: PathBuf,
    /// The admin listener, instead of the config's: 127.0.0.1:9301, or unix:/run/verge-edge/admin.sock
    #[arg(long, value_name = "ADDRESS", requires = "token_file")]
    admin: Option<AdminAddress>,
    /// Speak TLS, and believe the certificates of this file and those that they have signed for the address
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Show the token to another machine without TLS, where all who are on the way can read it
    #[arg(long, requires = "admin", conflicts_with = "ca")]
    clear: bool,
    /// The token's file, instead of the config's
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// A running edge's admin listener.
#[derive(Debug)]
pub(super) struct AdminClient {
    desk: Desk,
    token: Token,
    token_file: PathBuf,
}

/// The edge does at once what it is asked; that takes no time worth waiting for.
const LIMIT: Duration = Duration::from_secs(10);
/// A long list of purges is carried out as fast as the edge allows; what it does not allow within this is an error.
const MAX_WAIT: Duration = Duration::from_secs(120);
/// An answer is a sentence or a list of variants with their fields.
const MAX_ANSWER_BYTES: usize = 4 << 20;

impl WhichEdge {
    pub(super) fn client(&self) -> Result<AdminClient, Failed> {
        let (desk, path) = match (&self.admin, &self.token_file) {
            (Some(address), Some(path)) => {
                let desk = Desk::at(address.clone(), self.ca.as_ref())?;
                if desk.is_read_on_the_way() && !self.clear {
                    return Err(Failed::because(format!(
                        "without TLS, all who are on the way to {address} could read the token: name the file that its \
                         certificate is believed by (--ca FILE), or say that it may be read (--clear)"
                    )));
                }
                (desk, path.clone())
            }
            (_, path) => {
                let none = || Failed::because(format!("{} has no [admin]", self.config.display()));
                let admin = config::load_admin(&self.config).map_err(Failed::of_config)?.ok_or_else(none)?;
                (Desk::of(&admin, self.ca.as_deref())?, path.clone().unwrap_or(admin.token_file))
            }
        };
        let unreadable =
            |error| Failed::because(format!("cannot read the token file {}: {error}", path.display()));
        let token = Token::read(&path).map_err(unreadable)?;
        Ok(AdminClient { desk: desk.shown(&path), token, token_file: path })
    }
}

impl AdminClient {
    /// Asks with JSON, for JSON.
    pub(super) async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        question: &Q,
    ) -> Result<A, Failed> {
        let body = Bytes::from(serde_json::to_vec(question).expect("plain data is JSON"));
        let mut waited = Duration::ZERO;
        loop {
            let request = Request::builder().method(Method::POST).uri(path).body(Full::new(body.clone()));
            let asked = self.send(request.map_err(Failed::because)?);
            let late = |_| Failed::because(format!("no answer from {} in {LIMIT:?}", self.desk.address));
            let response = timeout(LIMIT, asked).await.map_err(late)??;
            match retry_after(&response) {
                Some(wait) if waited + wait <= MAX_WAIT => {
                    tokio::time::sleep(wait).await;
                    waited += wait;
                }
                _ => return serde_json::from_slice(&answer(response).await?).map_err(Failed::because),
            }
        }
    }

    /// Asks for JSON.
    pub(super) async fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A, Failed> {
        let request = Request::builder().uri(path).body(Full::new(Bytes::new())).map_err(Failed::because)?;
        let late = |_| Failed::because(format!("no answer from {} in {LIMIT:?}", self.desk.address));
        let response = timeout(LIMIT, self.send(request)).await.map_err(late)??;
        serde_json::from_slice(&answer(response).await?).map_err(Failed::because)
    }

    /// Sends one request on a connection of its own, with the token that suffices for its path.
    pub(super) async fn send<B>(&self, mut request: Request<B>) -> Result<Response<Incoming>, Failed>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync,
    {
        let unreachable =
            |error| Failed::because(format!("no edge's admin listener at {}: {error}", self.desk.address));
        let stream = self.desk.connect().await.map_err(unreachable)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(Failed::because)?;
        tokio::spawn(connection);
        let token = self.token.authorization(request.uri().path()).try_into().map_err(Failed::because)?;
        let host = self.desk.host().try_into().expect("an address is visible ASCII");
        request.headers_mut().insert(header::HOST, host);
        request.headers_mut().insert(header::AUTHORIZATION, token);
        let response = sender.send_request(request).await.map_err(Failed::because)?;
        match response.status() {
            StatusCode::UNAUTHORIZED => Err(Failed::because(format!(
                "the token in {} is not this server's ({})",
                self.token_file.display(),
                self.desk.address
            ))),
            _ => Ok(response),
        }
    }
}

/// How long to wait if this was one question too many (RFC 6585 §4).
fn retry_after(response: &Response<Incoming>) -> Option<Duration> {
    let secs = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    (response.status() == StatusCode::TOO_MANY_REQUESTS).then(|| Duration::from_secs(secs))
}

/// The body of a 2xx answer; the sentence of another.
pub(super) async fn answer(response: Response<Incoming>) -> Result<Bytes, Failed> {
    let status = response.status();
    let body =
        Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await.map_err(Failed::because)?;
    let body = body.to_bytes();
    if status == StatusCode::OK {
        return Ok(body);
    }
    // Another program behind this address may say anything.
    let sentence = serde_json::from_slice::<Problem>(&body)
        .map_or_else(|_| String::from_utf8_lossy(&body).trim().to_owned(), |problem| problem.detail);
    Err(Failed::because(format!("{status}: {sentence}")))
}
