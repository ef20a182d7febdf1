//! The access log: a line a request, where the config says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use super::{config, get, serve, serve_logging_to, serve_with};

/// Each takes some microseconds, and a line some milliseconds.
const MOST_LOOKS: usize = 2_000_000;

fn config_with(folder: &Path, settings: &str) {
    config(folder);
    let path = folder.join("edge.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, format!("{text}[log.access]\n{settings}")).unwrap();
}

/// The file's lines, once there are so many.
#[track_caller]
pub(crate) fn lines(path: &Path, count: usize) -> Vec<serde_json::Value> {
    // A thread of its own writes the log.
    for _ in 0..MOST_LOOKS {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if text.lines().count() >= count && text.ends_with('\n') {
            assert_eq!(text.lines().count(), count, "{text}");
            return text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        }
        std::thread::yield_now();
    }
    panic!("{count} lines do not come");
}

fn signal(which: &str, id: u32) {
    assert!(Command::new("kill").args([&format!("-{which}"), &id.to_string()]).status().unwrap().success());
}

#[test]
fn a_file_has_a_line_for_each_request_and_is_opened_anew_when_it_was_renamed() {
    let folder = tempfile::tempdir().unwrap();
    config_with(folder.path(), "format = \"json\"\nto = \"./access.log\"\n");
    let (path, old) = (folder.path().join("access.log"), folder.path().join("old"));
    let mut serving = serve_logging_to(Stdio::piped(), folder.path());
    let mut log = BufReader::new(serving.child.stderr.take().unwrap()).lines().map(Result::unwrap);
    get(&serving.public);
    get(&serving.public);
    let found = lines(&path, 2);
    for (line, cache) in found.iter().zip(["miss", "hit"]) {
        assert_eq!(line["cache"], cache, "{line}");
        assert_eq!(line["status"], 200);
        assert_eq!(line["bytes"], 2, "the body's, once it has been sent");
        assert_eq!(line["url"], "http://site.test/a");
        assert_eq!(line["client"], "127.0.0.1");
        assert_eq!(line["site"], "*");
        assert!(line["total_us"].as_u64().unwrap() >= line["waited_us"].as_u64().unwrap(), "{line}");
    }
    std::fs::rename(&path, &old).unwrap();
    get(&serving.public);
    assert_eq!(lines(&path, 1)[0]["cache"], "hit");
    signal("USR1", serving.child.id());
    log.find(|line| line.contains("the access log's file is opened anew")).unwrap();
    get(&serving.public);
    // The end of the program writes what waits.
    signal("TERM", serving.child.id());
    assert_eq!(serving.child.wait().unwrap().code(), Some(0));
    assert_eq!((lines(&path, 2).len(), lines(&old, 2).len()), (2, 2));
}

/// NEWCOMER 28: which host, which target?
#[test]
fn a_request_that_no_site_sees_has_its_host_and_target_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    config_with(folder.path(), "format = \"json\"\nto = \"./access.log\"\n");
    let config = folder.path().join("edge.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains("[\"*\"]"), "{text}");
    std::fs::write(&config, text.replace("[\"*\"]", "[\"site.test\"]")).unwrap();
    let serving = serve(folder.path());
    let asked: [(&str, u16, &str, &str); 5] = [
        (
            "GET /some?x=1 HTTP/1.1\r\nHost: Stranger.test:81\r\n",
            421,
            "GET",
            "http://stranger.test:81/some?x=1",
        ),
        ("PUT /two HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n", 400, "PUT", "http://a.test/two"),
        ("GET /bad\x01 HTTP/1.1\r\nHost: site.test\r\n", 400, "GET", "http://site.test/bad%01"),
        ("POST /cl HTTP/1.1\r\nHost: site.test\r\nContent-Length: x\r\n", 400, "POST", "http://site.test/cl"),
        ("GET /none HTTP/1.1\r\n", 400, "GET", "/none"),
    ];
    for (head, status, ..) in asked {
        let mut stream = TcpStream::connect(&serving.public).unwrap();
        stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {answer}");
    }
    // Threads write them as they come.
    let lines = lines(&folder.path().join("access.log"), asked.len());
    for (_, status, method, url) in asked {
        let line = lines.iter().find(|line| line["url"] == url).unwrap_or_else(|| panic!("{url}: {lines:?}"));
        assert_eq!((&line["status"], &line["method"]), (&status.into(), &method.into()), "{line}");
    }
}

#[test]
fn a_reload_changes_where_lines_go_how_they_look_and_the_level() {
    let folder = tempfile::tempdir().unwrap();
    config_with(folder.path(), "format = \"json\"\nto = \"./one.log\"\n");
    let path = folder.path().join("edge.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    // It goes before the config's level, which this is about.
    let mut serving = serve_with(Stdio::piped(), folder.path(), "");
    let mut log = BufReader::new(serving.child.stderr.take().unwrap()).lines().map(Result::unwrap);
    get(&serving.public);
    lines(&folder.path().join("one.log"), 1);
    let other = text.replace("one.log", "two.log") + "[log]\nlevel = \"info,verge_edge::request=debug\"\n";
    std::fs::write(&path, other).unwrap();
    signal("HUP", serving.child.id());
    log.find(|line| line.contains("log.access.to: \"./one.log\" → \"./two.log\"")).unwrap();
    log.find(|line| line.contains("reloaded")).unwrap();
    get(&serving.public);
    lines(&folder.path().join("two.log"), 1);
    lines(&folder.path().join("one.log"), 1);
    // A place that cannot be written to changes nothing.
    std::fs::write(&path, text.replace("./one.log", "./missing/a.log")).unwrap();
    signal("HUP", serving.child.id());
    log.find(|line| line.contains("nothing was changed") && line.contains("missing/a.log")).unwrap();
    get(&serving.public);
    lines(&folder.path().join("two.log"), 2);
    std::fs::write(
        &path,
        text.replace("[log.access]", "[log]\nlevel = \"off\"\n[log.access]\nlines = \"off\""),
    )
    .unwrap();
    signal("HUP", serving.child.id());
    signal("TERM", serving.child.id());
    assert_eq!(serving.child.wait().unwrap().code(), Some(0));
    assert!(!log.any(|line| line.contains("drained")), "the level is off");
}

#[test]
fn a_config_that_wants_its_files_to_be_followed_is_reloaded_when_one_changes() {
    let folder = tempfile::tempdir().unwrap();
    config(folder.path());
    let path = folder.path().join("edge.toml");
    let text = format!("follow_files = true\n{}", std::fs::read_to_string(&path).unwrap());
    let page = "[[site.error_page]]\nstatus = [\"4xx\"]\nfile = \"page.html\"\n[admin]";
    std::fs::write(folder.path().join("page.html"), "one").unwrap();
    std::fs::write(&path, text.replace("[admin]", page)).unwrap();
    let mut serving = serve_logging_to(Stdio::piped(), folder.path());
    let mut log = BufReader::new(serving.child.stderr.take().unwrap()).lines().map(Result::unwrap);
    std::fs::write(folder.path().join("page.html"), "two").unwrap();
    log.find(|line| line.contains("reloaded")).unwrap();
    std::fs::write(&path, text.replace("[admin]", "default_ttl = \"5s\"\n[admin]")).unwrap();
    log.find(|line| line.contains("default_ttl")).unwrap();
}

#[test]
fn a_log_that_is_off_has_no_line_and_a_sample_has_few() {
    for (settings, expected) in [
        ("lines = \"off\"\n", None),
        ("lines = \"sampled\"\nsample = 1000\nformat = \"json\"\n", Some(1..=10)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        config_with(folder.path(), &format!("{settings}to = \"./access.log\"\n"));
        let mut serving = serve(folder.path());
        (0..20).for_each(|_| assert!(get(&serving.public).contains("200 OK")));
        signal("TERM", serving.child.id());
        assert_eq!(serving.child.wait().unwrap().code(), Some(0));
        let text = std::fs::read_to_string(folder.path().join("access.log"));
        match expected {
            None => assert!(text.is_err(), "{text:?}"),
            // Each thread of the program has a sample of its own.
            Some(few) => assert!(few.contains(&text.unwrap().lines().count())),
        }
    }
}

#[test]
fn a_place_that_cannot_be_written_to_is_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    config_with(folder.path(), "to = \"./missing/access.log\"\n");
    let failed = super::run(&["serve", "--config", "edge.toml"], folder.path());
    assert!(!failed.status.success());
    let told = String::from_utf8_lossy(&failed.stderr);
    assert!(
        told.contains("cannot write the access log to ") && told.contains("missing/access.log"),
        "{told}"
    );
}

/// Answers by the path. One that is broken gives no answer to `/retried`.
fn origin_by_path(is_broken: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut head, mut lines) = (String::new(), BufReader::new(stream.try_clone().unwrap()));
            while lines.read_line(&mut head).unwrap_or(0) > 2 {}
            let tag = if head.starts_with("GET /resumed ") { "ETag: \"a\"\r\n" } else { "" };
            let fields = format!("Connection: close\r\nCache-Control: max-age=60\r\n{tag}");
            let response = if head.starts_with("GET /retried ") && is_broken {
                String::new()
            } else if head.contains("range: bytes=5-") {
                format!(
                    "HTTP/1.1 206 Part\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5\r\n{fields}\r\n56789"
                )
            } else if head.starts_with("GET /retried ") {
                format!("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n{fields}\r\n0123456789")
            } else {
                format!("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n{fields}\r\n01234")
            };
            let _ = stream.write_all(response.as_bytes());
        }
    });
    address
}

#[test]
fn a_line_tells_what_happened_between_the_edge_and_its_origins() {
    let folder = tempfile::tempdir().unwrap();
    let (broken, good) = (origin_by_path(true), origin_by_path(false));
    // Nobody listens there.
    let gone = crate::ports::address();
    let text = format!(
        "name = \"edge\"\nlisten = [\"127.0.0.1:0\"]\n\
         [[site]]\nhosts = [\"site.test\"]\norigins = [\"http://{broken}\", \"http://{good}\"]\n\
         [[site]]\nhosts = [\"child.test\"]\norigins = [\"http://{good}\"]\nparents = [\"http://{gone}\"]\n\
         [[site]]\nhosts = [\"new.test\"]\norigins = [\"http://{broken}\"]\n\
         [site.canary]\norigins = [\"http://{good}\"]\nshare = \"100%\"\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n[log.access]\nformat = \"json\"\nto = \"./access.log\"\n"
    );
    std::fs::write(folder.path().join("edge.toml"), text).unwrap();
    let serving = serve(folder.path());
    let ask = |host: &str, path: &str| {
        let mut stream = TcpStream::connect(&serving.public).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    };
    let expected = [
        ("site.test", "/retried", true, ("miss", Some("retried"))),
        ("site.test", "/resumed", true, ("miss", Some("resumed"))),
        ("site.test", "/cut", false, ("miss", Some("cut"))),
        ("site.test", "/retried", true, ("hit", None)),
        ("child.test", "/retried", true, ("miss", Some("past-parents"))),
        ("child.test", "/resumed", true, ("miss", Some("past-parents+resumed"))),
        ("new.test", "/retried", true, ("miss", Some("canary"))),
    ];
    for (host, path, is_whole, _) in expected {
        assert_eq!(ask(host, path).ends_with("\r\n\r\n0123456789"), is_whole, "{host}{path}");
    }
    let told = lines(&folder.path().join("access.log"), expected.len());
    // Each thread of the edge has its own lines, in their order.
    let mut found: Vec<_> = told
        .iter()
        .map(|line| {
            (line["url"].as_str().unwrap().to_owned(), line["cache"].as_str(), line["events"].as_str())
        })
        .collect();
    let mut wanted: Vec<_> = expected
        .map(|(host, path, _, (cache, events))| (format!("http://{host}{path}"), Some(cache), events))
        .to_vec();
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
}
