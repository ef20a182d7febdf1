//! What holds for a request and its answer over HTTP/1.1 holds over HTTP/2.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use verge_edge::clock::Clock;

use super::encrypted::{certificate, connect, terms};
use super::rig::{Origin, Rig, response, soon};

/// An edge that is asked over HTTP/2.
pub struct Edge {
    _rig: Rig,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Edge {
    /// With more lines for the file's top and for the site.
    pub async fn with(origin: &Origin, top: &str, site: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tls = certificate(folder.path(), &["site.test"]);
        let text = format!(
            "listen = [\"127.0.0.1:0\"]\nlisten_tls = [\"127.0.0.1:0\"]\n{top}\n[tls]\n{tls}\n[[site]]\nhosts = [\"*\"]\n\
             origins = [\"http://{}\"]\n{site}\n[admin]\nlisten = \"127.0.0.1:0\"\n",
            origin.address
        );
        let rig = Rig::of(Clock::system(), &text).await;
        let address = rig.running.as_ref().unwrap().listening().tls[0];
        Self { _rig: rig, address, _folder: folder }
    }

    /// The answer to a request for a path of `site.test`.
    pub async fn ask(&self, method: &str, path: &str, fields: HeaderMap, body: &str) -> Response<Bytes> {
        let stream = connect(self.address, &terms(&["h2"])).await;
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
        let mut request =
            Request::builder().method(method).uri(format!("https://site.test{path}")).body(body).unwrap();
        *request.headers_mut() = fields;
        let (parts, body) = soon("an answer", sender.send_request(request)).await.unwrap().into_parts();
        Response::from_parts(parts, soon("a body", body.collect()).await.unwrap().to_bytes())
    }
}

/// Fields of a request.
pub fn fields(all: &[(&str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&str, &str)| {
        let name: http::HeaderName = name.parse().unwrap();
        (name, value.parse().unwrap())
    };
    all.iter().map(field).collect()
}

#[tokio::test]
async fn a_head_that_common_origins_refuse_is_refused_here() {
    let origin = Origin::answering(|_| response("200 OK", "Cache-Control: max-age=60\r\n", "page")).await;
    let edge = Edge::with(&origin, "[limits]\nfields = 200", "origin_fields = 150").await;
    let many = |count: usize| (0..count).map(|n| (format!("x-{n}").parse().unwrap(), "y".parse().unwrap()));
    for (count, status) in [(100, 200), (148, 431), (201, 431)] {
        let got = edge.ask("GET", &format!("/{count}"), many(count).collect(), "").await;
        assert_eq!(got.status(), status, "{count}");
    }
    let long = fields(&[("x", &"y".repeat(8_100))]);
    assert_eq!((edge.ask("GET", "/", long, "").await.status().as_u16(), origin.count()), (431, 1));
}

#[tokio::test]
async fn a_redirect_to_the_origins_own_name_leads_to_the_site_over_tls() {
    let fields = "Location: http://app.internal:81/next\r\nSet-Cookie: a=1; Domain=app.internal\r\n";
    let origin = Origin::answering(move |_| response("302 Found", fields, "")).await;
    let edge = Edge::with(&origin, "", "origin_names = [\"app.internal:81\"]").await;
    let got = edge.ask("GET", "/", HeaderMap::new(), "").await;
    assert_eq!(got.headers()["location"], "https://site.test/next");
    assert_eq!(got.headers()["set-cookie"], "a=1; Domain=site.test");
}
