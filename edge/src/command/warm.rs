//! `verge-edge warm URL…`: asks a running edge for URLs as a client would, so that it has them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use verge_edge::config;

use super::Failed;

#[derive(Debug, clap::Args)]
pub(super) struct Warm {
    /// As clients ask for them: http://host/path, or https:// for those behind a proxy that ends TLS
    #[arg(required = true, value_name = "URL")]
    urls: Vec<String>,
    /// A field of the requests, for variants
    #[arg(short = 'H', long, value_name = "NAME: VALUE", value_parser = super::field)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// The edge's config: says where it listens
    #[arg(long, value_name = "FILE", default_value = "edge.toml")]
    config: PathBuf,
    /// The edge's public listener, instead of the config's
    #[arg(long, value_name = "ADDRESS")]
    edge: Option<SocketAddr>,
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
        let address = self.address()?;
        let mut failed = 0_usize;
        for url in &self.urls {
            match self.warm(address, url).await {
                Ok(Warmed { status, bytes, cache_status }) => {
                    super::say(format!("{url}: {}, {bytes} bytes, {cache_status}", status.as_u16()));
                    failed += usize::from(status.as_u16() >= 400);
                }
                Err(why) => {
                    failed += 1;
                    why.about(url).report();
                }
            }
        }
        match failed {
            0 => Ok(()),
            _ => Err(Failed::because(format!("{failed} of {} failed", self.urls.len()))),
        }
    }

    fn address(&self) -> Result<SocketAddr, Failed> {
        if let Some(address) = self.edge {
            return Ok(address);
        }
        let listen = config::load_listen(&self.config).map_err(Failed::of_config)?;
        let none = || Failed::because(format!("{} listens nowhere", self.config.display()));
        let mut address = *listen.first().ok_or_else(none)?;
        if address.ip().is_unspecified() {
            address.set_ip(match address.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        Ok(address)
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

    async fn warm(&self, address: SocketAddr, url: &str) -> Result<Warmed, Failed> {
        let uri: Uri = url.parse().map_err(Failed::because)?;
        let scheme = uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme));
        let (Some(scheme), Some(authority)) = (scheme, uri.authority()) else {
            return Err(Failed::because("write http://host/path, or https://host/path"));
        };
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let mut request = Request::get(target).body(Empty::<Bytes>::new()).map_err(Failed::because)?;
        let host = HeaderValue::from_str(authority.as_str()).map_err(Failed::because)?;
        request.headers_mut().extend(self.header.iter().cloned());
        request.headers_mut().insert(header::HOST, host);
        // As a proxy that ends TLS in front of the edge says it.
        request
            .headers_mut()
            .insert("x-forwarded-proto", HeaderValue::from_str(scheme).map_err(Failed::because)?);
        let unreachable = |error| Failed::because(format!("no edge at {address}: {error}"));
        let stream = TcpStream::connect(address).await.map_err(unreachable)?;
        if scheme == "https" {
            self.trusted(stream.local_addr().map_err(Failed::because)?.ip())?;
        }
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
}
