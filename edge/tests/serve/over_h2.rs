//! The rules for a request and its answer over HTTP/1.1 hold over HTTP/2.

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

/// RFC 9113 §8.2.3: browsers send each cookie as a field of its own, and mean one field.
#[tokio::test]
async fn cookies_are_one_field_however_many_they_are() {
    let origin = Origin::answering(|_| response("200 OK", "Cache-Control: no-store\r\n", "page")).await;
    let edge = Edge::with(&origin, "", "").await;
    let crumbs = |count: usize, value: &str| {
        let all: Vec<String> = (0..count).map(|n| format!("c{n}={value}")).collect();
        let mut headers = HeaderMap::new();
        for crumb in &all {
            headers.append("cookie", crumb.parse().unwrap());
        }
        (headers, all.join("; "))
    };
    let (sent, joined) = crumbs(150, "1");
    assert_eq!(edge.ask("GET", "/", sent, "").await.status(), 200);
    let seen = origin.seen();
    let lines =
        |head: &str| head.lines().filter(|line| line.to_ascii_lowercase().starts_with("cookie: ")).count();
    assert!(seen[0].contains(&joined) && lines(&seen[0]) == 1, "{}", seen[0]);
    // The limit in bytes that origins take bounds them all the same.
    let (sent, _) = crumbs(150, &"1".repeat(52));
    assert_eq!((edge.ask("GET", "/", sent, "").await.status().as_u16(), origin.count()), (431, 1));
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

#[tokio::test]
async fn a_part_of_a_site_lets_in_and_turns_away_and_shows_its_page() {
    let origin = Origin::answering(|head| response("200 OK", "Cache-Control: max-age=60\r\n", head)).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        format!("{path:?}")
    };
    // htpasswd -nbB -C 5 ann secret
    let users = file("users", "ann:$2y$05$TJysGwJAo977pCPOoUKRheG03MWAjcBnjbxO64BYgah6sEbRLiROq\n");
    let page = file("sorry.html", "<h1>Sorry</h1>");
    let site = format!(
        "max_request_body = \"4B\"\n[[site.error_page]]\nstatus = [\"4xx\", 503]\nfile = {page}\n\
         [[site.route]]\npaths = [\"/api/*\"]\norigin_path = \"/*\"\nrate_limit = \"1/h\"\n\
         [[site.route]]\npaths = [\"/staff/*\"]\nbasic_auth = {users}\n\
         [[site.route]]\npaths = [\"/inside/*\"]\nallow = [\"10.0.0.0/8\"]\n\
         [[site.route]]\npaths = [\"/shop/*\"]\nmaintenance = true\n"
    );
    let edge = Edge::with(&origin, "", &site).await;
    let right = fields(&[("authorization", "Basic YW5uOnNlY3JldA==")]);
    let html = || fields(&[("accept", "text/html")]);
    for (method, path, sent, body, status) in [
        ("GET", "/api/x", html(), "", 200),
        ("GET", "/api/x", html(), "", 429),
        ("GET", "/staff/x", html(), "", 401),
        ("GET", "/staff/x", right, "", 200),
        ("GET", "/inside/x", html(), "", 403),
        ("GET", "/shop/x", html(), "", 503),
        ("POST", "/x", html(), "12345", 413),
        ("POST", "/x", html(), "1234", 200),
    ] {
        let got = edge.ask(method, path, sent, body).await;
        assert_eq!(got.status(), status, "{method} {path}: {got:?}");
        assert_eq!(got.status() != 200, got.body() == "<h1>Sorry</h1>", "{method} {path}: {got:?}");
        assert_eq!(got.headers().contains_key("retry-after"), [429, 503].contains(&status));
    }
    assert!(origin.seen()[0].starts_with("GET /x HTTP/1.1"), "{:?}", origin.seen());
}
