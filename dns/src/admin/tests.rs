//! The rights that each path needs, hosts, readiness, and connections that hang.

use super::*;

use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::explain::shown::Shown;
use crate::log::recent::{self, Recent};
use crate::metrics::{LoadResult, Served, ServedZone};
use crate::zone::privacy::Rules;
use crate::zone::tree::testing::view;

fn admin(ready: bool) -> Arc<Admin> {
    Arc::new(Admin {
        metrics: Arc::default(),
        ready: Arc::new(AtomicBool::new(ready)),
        terms: Arc::new(ArcSwap::from_pointee(Terms {
            token: Token::of("secret\nread seer").unwrap(),
            hosts: vec!["ns1.example".to_owned()],
        })),
        reload: Box::new(|| {}),
        drain: Box::new(|address, _| address.is_ipv4().then_some(()).ok_or(NotDrained::NoMember)),
        seen: Seen::default(),
        live: Live::default(),
    })
}

fn by(exposed: bool) -> By {
    let place = Places::default().take().unwrap();
    By { exposed, end: CancellationToken::new(), stays: AtomicBool::new(false), place }
}

#[tokio::test]
async fn what_changes_something_needs_the_token() {
    for (method, path, token, exposed, expected) in [
        ("GET", "/healthz", None, true, 200),
        ("HEAD", "/readyz", None, false, 503),
        ("GET", "/metrics", None, false, 200),
        ("GET", "/metrics", None, true, 401),
        ("GET", "/metrics", Some("Bearer secret"), true, 200),
        ("POST", "/metrics", None, false, 405),
        ("GET", "/status", None, false, 200),
        ("GET", "/status", None, true, 401),
        ("GET", "/status", Some("Bearer secret"), true, 200),
        ("POST", "/status", Some("Bearer secret"), true, 405),
        ("GET", "/reload", Some("Bearer secret"), false, 405),
        ("POST", "/reload", None, false, 401),
        ("POST", "/reload", Some("Bearer secreT"), false, 401),
        ("POST", "/reload", Some("Bearer secre"), false, 401),
        ("POST", "/reload", Some("secret"), false, 401),
        ("POST", "/reload", Some("Bearer secret"), true, 202),
        ("GET", "/drain?address=192.0.2.1", Some("Bearer secret"), false, 405),
        ("POST", "/drain?address=192.0.2.1", None, false, 401),
        ("POST", "/undrain?address=192.0.2.1", None, false, 401),
        ("POST", "/drain?address=192.0.2.1", Some("Bearer secret"), true, 200),
        ("POST", "/undrain?address=192.0.2.1", Some("Bearer secret"), true, 200),
        ("POST", "/drain?address=2001:db8::1", Some("Bearer secret"), true, 404),
        ("POST", "/drain?address=www", Some("Bearer secret"), true, 400),
        ("POST", "/drain", Some("Bearer secret"), true, 400),
        ("POST", "/reload", Some("Bearer seer"), true, 403),
        ("POST", "/drain?address=192.0.2.1", Some("Bearer seer"), true, 403),
        ("GET", "/metrics", Some("Bearer seer"), true, 200),
        ("GET", "/none", None, false, 404),
        ("GET", "/", None, false, 200),
        ("GET", "/", None, true, 401),
        // x:secret: a browser sends it by itself, so that it is good for reading only.
        ("GET", "/", Some("Basic eDpzZWNyZXQ="), true, 200),
        ("GET", "/hidden", Some("Basic eDpzZWNyZXQ="), true, 200),
        ("POST", "/reload", Some("Basic eDpzZWNyZXQ="), false, 401),
        ("GET", "/explain?name=a.example&type=A&from=192.0.2.1", Some("Basic eDpzZWNyZXQ="), false, 401),
        ("GET", "/hidden", None, false, 401),
        ("GET", "/explain?name=a.example&type=A&from=192.0.2.1", None, false, 401),
        ("GET", "/explain?name=a.example&type=A&from=192.0.2.1", Some("Bearer seer"), false, 200),
        ("GET", "/explain?name=a.example&from=192.0.2.1", Some("Bearer seer"), false, 200),
        ("GET", "/explain?name=a.example&type=nonsense&from=192.0.2.1", Some("Bearer seer"), false, 400),
        ("GET", "/explain?name=a..example&type=A&from=192.0.2.1", Some("Bearer seer"), false, 400),
        ("GET", "/explain", Some("Bearer seer"), false, 400),
        ("GET", "/explain?name=a.example&type=A&from=192.0.2.1&qtype=A", Some("Bearer seer"), false, 400),
        ("GET", "/tail", None, false, 401),
        ("GET", "/tail?view=nonsense", Some("Bearer seer"), false, 400),
        ("GET", "/events", None, true, 401),
        ("GET", "/page.js", None, true, 200),
    ] {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header(hyper::header::AUTHORIZATION, token);
        }
        let response = respond(&admin(true), &by(exposed), &request.body(()).unwrap());
        assert_eq!(response.status(), expected, "{method} {path} {token:?} exposed: {exposed}");
    }
}

#[test]
fn a_question_has_the_parts_that_it_is_asked_with_and_no_others() {
    let asked = |rest: &str| question(&format!("name=www.example.com&type=A&from=192.0.2.8{rest}"));
    assert_eq!(asked("").unwrap().subnet, None);
    assert_eq!(asked("&subnet=").unwrap().subnet, None, "a field that is left empty");
    let network = "198.51.100.0/24".parse().unwrap();
    assert_eq!(asked("&subnet=198.51.100.0%2F24").unwrap().subnet, Some(network));
    for (rest, expected) in [
        ("&subnet=www", "subnet: write a network"),
        ("&subnets=198.51.100.0/24", "`subnets` is no part of a question: write name="),
        ("&x", "`x` is no part of a question"),
    ] {
        let sentence = asked(rest).unwrap_err();
        assert!(sentence.starts_with(expected), "{sentence}");
    }
}

#[tokio::test]
async fn a_drain_tells_which_answers_go_on_naming_the_member() {
    let world = World { public: view(&[("ex.", "www A 192.0.2.1")]), ..World::default() };
    let world = Arc::new(ArcSwap::from_pointee(world));
    let admin =
        Admin { seen: Seen::new(&world, &Arc::default(), false), ..Arc::into_inner(admin(true)).unwrap() };
    for (is_out, address, expected) in [
        (true, "192.0.2.1", "drained\n192.0.2.1 is also in www.ex. A, which is not steered\n"),
        (true, "192.0.2.2", "drained\n"),
        (false, "192.0.2.1", "back in service\n"),
    ] {
        let body = drain(&admin, is_out, &format!("address={address}")).into_body();
        assert_eq!(body.collect().await.unwrap().to_bytes(), expected, "{address} out: {is_out}");
    }
}

#[tokio::test]
async fn a_name_that_is_not_ours_is_refused_without_the_token() {
    for (host, token, expected) in [
        (Some("127.0.0.1:9300"), false, 200),
        (Some("[::1]:9300"), false, 200),
        (Some("192.0.2.1"), false, 200),
        (Some("LOCALHOST:1"), false, 200),
        (Some("NS1.example:9300"), false, 200),
        (Some("evil.example"), false, 421),
        (Some("127.0.0.1.evil.example:9300"), false, 421),
        (Some("localhost.evil.example"), false, 421),
        (Some("[::1"), false, 421),
        (Some(""), false, 421),
        (Some("evil.example"), true, 200),
        (None, false, 200),
    ] {
        let mut request = Request::get("/metrics");
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        if token {
            request = request.header(hyper::header::AUTHORIZATION, "Bearer secret");
        }
        let response = respond(&admin(true), &by(false), &request.body(()).unwrap());
        assert_eq!(response.status(), expected, "{host:?} token: {token}");
    }
}

#[tokio::test]
async fn a_server_that_drains_is_not_ready_but_healthy() {
    for (path, expected) in [("/readyz", 503), ("/healthz", 200)] {
        let request = Request::get(path).body(()).unwrap();
        assert_eq!(respond(&admin(false), &by(false), &request).status(), expected);
    }
}

#[tokio::test]
async fn a_server_is_ready_when_every_zone_is_served_and_reloading_stands() {
    let served = |states: &[(&str, &'static str)]| Served {
        generation: 1,
        zones: states
            .iter()
            .map(|&(apex, state)| ServedZone {
                apex: apex.to_owned(),
                state,
                serial: None,
                records: None,
                journal_bytes: 0,
                undecided: 0,
                error: None,
                hidden: Default::default(),
                loads: Default::default(),
            })
            .collect(),
    };
    let some = [("a.example.", "current"), ("b.example.", "previous")];
    let broken = [("a.example.", "current"), ("lab.example.", "broken")];
    for (states, fell, exposed, expected) in [
        (&some[..], false, false, "ready\n"),
        (&[], false, false, "no zone is in service; is there a *.zone file in the folder?\n"),
        (&broken, false, false, "never had a good version: lab.example.\n"),
        (&broken, false, true, "zones that never had a good version: 1\n"),
        (&some, true, false, "reloading ended by a fault and has not succeeded since; see the log\n"),
    ] {
        let admin = admin(true);
        admin.metrics.loaded(LoadResult::Good, served(states));
        if fell {
            admin.metrics.reloading_fell();
        }
        let response = respond(&admin, &by(exposed), &Request::get("/readyz").body(()).unwrap());
        assert_eq!(response.status() == StatusCode::OK, expected == "ready\n");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_keeps_no_slot() {
    // A pipe that takes less than an answer.
    let (mut client, server) = tokio::io::duplex(256);
    let admin = admin(true);
    let served = timeout(2 * CONNECTION_TIMEOUT, converse(server, &admin, by(false)));
    let ask = client.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (served, asked) = tokio::join!(served, ask);
    served.expect("it ends");
    asked.unwrap();
    let mut read = Vec::new();
    client.read_to_end(&mut read).await.unwrap();
    assert!(read.starts_with(b"HTTP/1.1 200 OK\r\n"), "it was answered: {}", read.escape_ascii());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_wait_for_an_answer_has_a_slot_until_it_is_made() {
    let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
    let (go_on, goes_on) = std::sync::mpsc::channel::<()>();
    let goes_on = std::sync::Mutex::new(goes_on);
    let drain = move |_, _| {
        begun.send(()).unwrap();
        // It fails once all of them may go on.
        let _ = goes_on.lock().unwrap().recv();
        Err(NotDrained::NoMember)
    };
    let admin = Admin { drain: Box::new(drain), ..Arc::into_inner(admin(true)).unwrap() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    let running = run(Arrivals::Tcp(listener, None), None, admin);
    let ask = async |request: &str| {
        let mut stream = tokio::net::TcpStream::connect(server).await.unwrap();
        let head = format!("{request} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    };
    for _ in 0..places::MOST {
        let stream = ask("POST /drain?address=192.0.2.1").await;
        begins.recv().await.unwrap();
        drop(stream);
    }
    let answer = async || {
        let mut read = String::new();
        // A connection without a slot is closed, or reset.
        let _ = ask("GET /healthz").await.read_to_string(&mut read).await;
        read
    };
    for _ in 0..3 {
        assert_eq!(answer().await, "", "all slots are taken");
    }
    drop(go_on);
    while answer().await.is_empty() {
        tokio::task::yield_now().await;
    }
    running.stop(false).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_one_request() {
    let (mut client, server) = tokio::io::duplex(4096);
    let admin = admin(true);
    let talk = async {
        client.write_all(&b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(3)).await.unwrap();
        let mut read = String::new();
        client.read_to_string(&mut read).await.unwrap();
        read
    };
    let ((), read) = tokio::join!(converse(server, &admin, by(false)), talk);
    assert_eq!(read.matches("HTTP/1.1 200 OK").count(), 1, "{read}");
    assert!(read.contains("connection: close"), "{read}");
}

#[test]
fn a_token_file_that_is_of_no_use_says_which_setting_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    for text in ["# none\n", "short\n"] {
        std::fs::write(&path, text).unwrap();
        assert!(token(&path).is_err_and(|error| error.to_string().contains("admin.token_file")), "{text}");
    }
}

#[tokio::test]
async fn streams_are_bounded_and_one_that_ends_makes_room() {
    let admin = admin(true);
    let ask = |path: &str| {
        let request = Request::get(path).header(hyper::header::AUTHORIZATION, "Bearer secret");
        respond(&admin, &by(false), &request.body(()).unwrap())
    };
    for (path, most) in [("/events", 8), ("/tail", 4)] {
        let mut open: Vec<_> = (0..most).map(|_| ask(path)).collect();
        assert!(open.iter().all(|response| response.status() == StatusCode::OK), "{path}");
        assert_eq!(ask(path).status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        open.pop();
        while ask(path).status() != StatusCode::OK {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn errors_are_problem_details() {
    for (path, status) in [("/none", 404), ("/reload", 401), ("/explain", 401)] {
        let response = respond(&admin(true), &by(false), &Request::get(path).body(()).unwrap());
        assert_eq!(response.headers()[hyper::header::CONTENT_TYPE], "application/problem+json");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let problem: Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!((problem.status, problem.kind.as_str()), (status, "about:blank"), "{path}");
    }
}

#[tokio::test]
async fn no_page_of_another_site_reads_the_page_or_its_stream() {
    for path in ["/", "/events", "/status", "/hidden", "/page.js"] {
        let request = Request::get(path).header(HOST, "evil.example").body(()).unwrap();
        assert_eq!(respond(&admin(true), &by(false), &request).status(), 421, "{path}");
    }
    let request = Request::get("/events").header("sec-fetch-site", "cross-site").body(()).unwrap();
    assert_eq!(respond(&admin(true), &by(false), &request).status(), 403);
}

/// A zone of which the log and the state of the server name a hidden record.
fn admin_of_hidden_faults(folder: &tempfile::TempDir) -> Arc<Admin> {
    let zone = "$TTL 60\n@ SOA ns hostmaster 1 2h 30m 2w 5m\n@ NS ns\nns A 203.0.113.53\n\
                payroll-alias CNAME payroll-secret.exmaple.com\npayroll-alias A 10.0.0.1\n";
    std::fs::write(folder.path().join("example.com.zone"), zone).unwrap();
    let internal_names = vec![Name::parse_absolute("payroll-alias.example.com").unwrap()];
    let rules = Rules { internal_names, ..Rules::default() };
    let terms = crate::catalog::Terms { rules, ..crate::catalog::Terms::default() };
    let mut catalog = crate::catalog::Catalog::new(vec![folder.path().into()], terms);
    let report = catalog.load(clock::system_now()).unwrap().report;
    tracing::subscriber::with_default(tracing_subscriber::registry().with(Recent), || {
        crate::catalog::log::report(&report);
    });
    let zones = report.zones.iter().map(Shown::of).map(|zone| ServedZone {
        apex: zone.apex.to_string(),
        state: zone.state,
        serial: zone.serial,
        records: None,
        journal_bytes: 0,
        undecided: 0,
        error: zone.error.clone(),
        hidden: zone.hidden_by_rule(),
        loads: Default::default(),
    });
    let admin = admin(true);
    admin.metrics.loaded(LoadResult::Refused, Served { generation: 1, zones: zones.collect() });
    admin
}

#[test]
fn no_path_names_a_hidden_record_without_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let _one = recent::ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let admin = admin_of_hidden_faults(&folder);
    // Not an asynchronous test: it holds a lock.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let ask = async |path: &str, token: Option<&str>| {
            let mut request = Request::get(path);
            if let Some(token) = token {
                request = request.header(hyper::header::AUTHORIZATION, token);
            }
            let mut body = respond(&admin, &by(false), &request.body(()).unwrap()).into_body();
            // A stream of events goes on; the first has all of it.
            let frame = body.frame().await.unwrap().unwrap();
            String::from_utf8(frame.into_data().unwrap().into()).unwrap()
        };
        let paths = THERE_IS.split([' ', ',', ';', '?']).filter(|word| word.starts_with('/'));
        for path in paths.filter(|path| *path != "/tail") {
            let text = ask(path, None).await;
            assert!(!text.contains("payroll"), "{path}: {text}");
        }
        for path in ["/", "/status", "/events"] {
            let place = format!(
                "{}:6:1; verge-dns check tells more",
                folder.path().join("example.com.zone").display()
            );
            let text = ask(path, None).await;
            assert!(text.contains(&place), "{path}: {place}: {text}");
            for token in ["Bearer secret", "Bearer seer", "Basic eDpzZWNyZXQ="] {
                let text = ask(path, Some(token)).await;
                assert!(text.contains("payroll-alias"), "{path} {token}: {text}");
            }
            let text = ask(path, Some("Bearer another")).await;
            assert!(!text.contains("payroll"), "{path}: {text}");
        }
    });
}

#[tokio::test]
async fn silent_connections_keep_no_operator_out() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    let running = run(Arrivals::Tcp(listener, None), None, Arc::into_inner(admin(true)).unwrap());
    let mut silent = Vec::new();
    for _ in 0..2 * places::MOST {
        silent.push(tokio::net::TcpStream::connect(server).await.unwrap());
    }
    for _ in 0..10 {
        let mut stream = tokio::net::TcpStream::connect(server).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut read = String::new();
        let _ = stream.read_to_string(&mut read).await;
        assert!(read.starts_with("HTTP/1.1 200 OK\r\n"), "{read:?}");
    }
    running.stop(false).await;
}
