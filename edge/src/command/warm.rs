//! `verge-edge warm URL…`: asks a running edge for URLs as a client would, so that it has them.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use verge_edge::config::{self, Listen};
use verge_edge::http::spelling;

use super::batch::{Done, Pace};
use super::{Failed, own_tls};

#[derive(Debug, clap::Args)]
pub(super) struct Warm {
    /// As clients ask for them: http://host/path, or https:// for those behind a proxy that ends TLS
    #[arg(required_unless_present = "from", value_name = "URL")]
    urls: Vec<String>,
    /// More URLs, one a line; - is standard input
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// A field of the requests, for variants
    #[arg(short = 'H', long, value_name = "NAME: VALUE", value_parser = super::field)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// The edge's config: says where it listens
    #[arg(long, value_name = "FILE", default_value = "edge.toml")]
    config: PathBuf,
    /// The edge's public listener, instead of the config's
    #[arg(long, value_name = "ADDRESS")]
    edge: Option<SocketAddr>,
    /// The edge's listener over TLS, for https URLs, instead of the config's
    #[arg(long, value_name = "ADDRESS", conflicts_with = "edge")]
    edge_tls: Option<SocketAddr>,
    #[command(flatten)]
    pace: Pace,
}

/// One of the edge's listeners.
#[derive(Debug, Clone, Copy)]
enum Door {
    /// In clear. For https URLs the command speaks as a proxy that ends TLS in front of the edge.
    Plain(SocketAddr),
    /// Over TLS.
    Tls(SocketAddr),
}

/// An origin that says nothing for so long has nothing to say.
const STALL_LIMIT: Duration = Duration::from_secs(120);

struct Warmed {
    status: StatusCode,
    bytes: u64,
    cache_status: String,
}

impl Warm {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let items = self.all_urls()?.into_iter().map(|url| (url, ())).collect();
        let warm = Arc::new(self);
        let one = |url: String, ()| {
            let warm = Arc::clone(&warm);
            async move {
                let Warmed { status, bytes, cache_status } = warm.warm(&url).await?;
                let line = format!("{url}: {}, {bytes} bytes, {cache_status}", status.as_u16());
                Ok(Done { line, bytes, is_failed: status.as_u16() >= 400 })
            }
        };
        match warm.pace.each(items, one).await? {
            (0, _) => Ok(()),
            (failed, all) => Err(Failed::because(format!("{failed} of {all} failed"))),
        }
    }

    fn all_urls(&self) -> Result<Vec<String>, Failed> {
        let mut urls = self.urls.clone();
        if let Some(path) = &self.from {
            let read = match path.as_os_str() == "-" {
                true => io::read_to_string(io::stdin()),
                false => fs::read_to_string(path),
            };
            let text = read.map_err(|error| Failed::because(format!("{}: {error}", path.display())))?;
            urls.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
        }
        Ok(urls)
    }

    /// The listener to ask: for https the edge's own TLS, if it has that.
    fn door(&self, is_https: bool) -> Result<Door, Failed> {
        if let Some(address) = self.edge {
            return Ok(Door::Plain(address));
        }
        if let Some(address) = self.edge_tls.filter(|_| is_https) {
            return Ok(Door::Tls(address));
        }
        let Listen { plain, tls } = config::load_listen(&self.config).map_err(Failed::of_config)?;
        let none = || Failed::because(format!("{} listens nowhere for such a URL", self.config.display()));
        match (is_https, tls.first(), plain.first()) {
            (true, Some(address), _) => Ok(Door::Tls(reachable(*address))),
            (_, _, Some(address)) => Ok(Door::Plain(reachable(*address))),
            _ => Err(none()),
        }
    }

    /// The edge takes this command's word for https only as it takes a proxy's. A config that is being edited, or another
    /// machine's, is not asked.
    fn trusted(&self, address: IpAddr) -> Result<(), Failed> {
        let Ok(config) = config::load(&self.config) else { return Ok(()) };
        if self.edge.is_some() || config.trusted_proxies.iter().any(|network| network.contains(&address)) {
            return Ok(());
        }
        let path = self.config.display();
        Err(Failed::because(format!(
            "the edge believes https only from trusted_proxies: add \"{address}\" to them in {path}"
        )))
    }

    async fn warm(&self, url: &str) -> Result<Warmed, Failed> {
        let absolute = || Failed::because("write http://host/path, or https://host/path");
        let uri = Uri::try_from(&*spelling::of_reference(url.as_bytes())).map_err(|_| absolute())?;
        let scheme = uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme));
        let (Some(scheme), Some(authority)) = (scheme, uri.authority()) else { return Err(absolute()) };
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let mut request = Request::get(target).body(Empty::<Bytes>::new()).map_err(Failed::because)?;
        let host = HeaderValue::from_str(authority.as_str()).map_err(Failed::because)?;
        request.headers_mut().extend(self.header.iter().cloned());
        request.headers_mut().insert(header::HOST, host);
        let is_https = scheme == "https";
        let door = self.door(is_https)?;
        let (Door::Plain(address) | Door::Tls(address)) = door;
        let unreachable = |error| Failed::because(format!("no edge at {address}: {error}"));
        let stream = TcpStream::connect(address).await.map_err(unreachable)?;
        if let Door::Tls(_) = door {
            let host = authority.host().trim_start_matches('[').trim_end_matches(']');
            return ask(own_tls::connect(stream, host, &self.config).await?, request).await;
        }
        if is_https {
            // As a proxy that ends TLS in front of the edge says it. The edge warns of one that it does not trust.
            request.headers_mut().insert("x-forwarded-proto", HeaderValue::from_static("https"));
            self.trusted(stream.local_addr().map_err(Failed::because)?.ip())?;
        }
        ask(stream, request).await
    }
}

/// An address at which this machine finds a listener.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Asks, and reads the answer to its end.
async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Empty<Bytes>>,
) -> Result<Warmed, Failed> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(Failed::because)?;
    tokio::spawn(connection);
    let late = |_| Failed::because(format!("nothing came for {STALL_LIMIT:?}"));
    let sent = timeout(STALL_LIMIT, sender.send_request(request)).await.map_err(late)?;
    let (head, mut body) = sent.map_err(Failed::because)?.into_parts();
    let mut bytes = 0_u64;
    while let Some(frame) = timeout(STALL_LIMIT, body.frame()).await.map_err(late)? {
        bytes += frame.map_err(Failed::because)?.data_ref().map_or(0, |data| data.len() as u64);
    }
    let cache_status = head.headers.get("cache-status").map(HeaderValue::as_bytes).unwrap_or_default();
    let cache_status = String::from_utf8_lossy(cache_status).into_owned();
    Ok(Warmed { status: head.status, bytes, cache_status })
}
