//! The demo starts, holds what it prints, and ends as it says.
//!
//! The lines are read back from what the program printed, so the text that a newcomer follows cannot rot.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::{Child, Command, Output, Stdio};

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use verge_stack::dns_client::{Question, over_tcp, over_udp};
use verge_stack::guide::SHOWS;
use verge_stack::http_client::{self, Answer};

#[tokio::test(flavor = "multi_thread")]
async fn what_the_demo_prints_holds() {
    let mut demo = Started::new(&["--ports", "0"]);
    let steps = demo.steps();
    let (digs, rest): (Vec<_>, Vec<_>) = steps.iter().partition(|step| step.command.starts_with("dig "));
    assert!(digs.len() >= 8, "{steps:?}");
    for step in digs {
        dig(step).await;
    }
    for step in &rest {
        match step.command.split_once(" -i ") {
            Some(("curl", url)) => curl(url, &step.shows).await,
            _ if step.command.starts_with("kill -USR1 ") => {
                assert_eq!(step.command, format!("kill -USR1 {}", demo.child.id()));
                stop_second_edge(&step.command, demo.listening["dns-outside"][0]).await;
            }
            _ => twenty_at_once(&step.command, &demo.listening["origin"]).await,
        }
    }
    assert!(rest.len() >= 4, "{steps:?}");
    demo.ends_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_edge_serves_the_page_and_every_file_it_names() {
    let demo = Started::new(&["--ports", "0"]);
    let edges = demo.listening.get("edge").unwrap().clone();
    assert_eq!(edges.len(), 2);
    for edge in edges {
        for asset in verge_stack::site::ASSETS {
            let answer = get(edge, asset.path).await;
            assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, asset.content_type));
            assert_eq!(answer.body, asset.body, "{}", asset.path);
        }
        assert_eq!(get(edge, "/.well-known/verge/health").await.status, 200);
    }
    demo.ends_well();
}

#[test]
fn a_port_in_use_is_named_with_the_flag_that_changes_it() {
    for flag in
        ["--dns-port", "--dns-inside-port", "--edge-port", "--second-edge-admin-port", "--origin-port"]
    {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port().to_string();
        let free: Vec<_> =
            ALL_PORTS.iter().filter(|other| **other != flag).flat_map(|other| [*other, "0"]).collect();
        let output = run(&[free.as_slice(), &[flag, &port]].concat());
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        let expected = format!(
            "error: port {port} on 127.0.0.1 is in use by another program; choose another with {flag}"
        );
        assert!(message.contains(&expected), "{message}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "", "nothing is promised");
    }
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let output = run(&["--ports", "0", "--zones", "no/such/folder"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("no/such/folder") && message.contains("--zones"), "{message}");
}

const ALL_PORTS: [&str; 8] = [
    "--dns-port",
    "--dns-inside-port",
    "--dns-admin-port",
    "--edge-port",
    "--edge-admin-port",
    "--second-edge-port",
    "--second-edge-admin-port",
    "--origin-port",
];

// --- The program ---------------------------------------------------------------------------------------------------

/// The demo as a child that ends when our end of its standard input closes, even if the test panics.
struct Started {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    text: String,
    listening: BTreeMap<String, Vec<SocketAddr>>,
}

/// A line to try: the command, and what it should show.
#[derive(Debug)]
struct Step {
    command: String,
    shows: String,
}

impl Started {
    /// Reads what is printed up to the last line of the guide.
    fn new(arguments: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(arguments)
            .arg("--until-stdin-closes")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        while !text.contains(LAST_WORDS) {
            assert!(output.read_line(&mut text).unwrap() > 0, "the demo ended early: {text}");
        }
        let mut listening = BTreeMap::<_, Vec<_>>::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("listening ")) {
            let (what, address) = line.split_once(' ').unwrap();
            listening.entry(what.to_owned()).or_default().push(address.parse().unwrap());
        }
        Self { child, output, text, listening }
    }

    fn steps(&mut self) -> Vec<Step> {
        let steps =
            self.text.lines().filter(|line| line.starts_with("  ")).filter_map(|line| line.split_once(SHOWS));
        let steps =
            steps.map(|(command, shows)| Step { command: command.trim().into(), shows: shows.into() });
        steps.collect()
    }

    fn ends_well(mut self) {
        drop(self.child.stdin.take());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success());
        assert!(rest.ends_with("drained\n"), "{rest}");
    }
}

fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).arg("--until-stdin-closes").stdin(Stdio::null()).output().unwrap()
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_verge-stack");
const LAST_WORDS: &str = "Ctrl-C drains and ends.";

// --- The lines -----------------------------------------------------------------------------------------------------

/// Does what `dig @SERVER -p PORT NAME [TYPE]` or `… -x ADDRESS` does, and compares it with the words before the colon.
async fn dig(step: &Step) {
    let words: Vec<_> = step.command.split_whitespace().collect();
    let ["dig", server, "-p", port, question @ ..] = words.as_slice() else { panic!("{step:?}") };
    let server = SocketAddr::new(server[1..].parse().unwrap(), port.parse().unwrap());
    let (name, rtype) = match question {
        ["-x", address] => (reverse(address), RecordType::PTR),
        [name, "MX"] => ((*name).to_owned(), RecordType::MX),
        [name] => ((*name).to_owned(), RecordType::A),
        _ => panic!("{step:?}"),
    };
    let packet = Question { payload_bytes: Some(1232), ..Question::plain(9, &name, rtype.into()) }.to_bytes();
    let udp = over_udp(server, &packet).await.unwrap();
    assert_eq!(udp, over_tcp(server, &packet).await.unwrap(), "{step:?}");
    let answer = Message::from_vec(&udp).unwrap();
    let data: Vec<_> = answer.answers.iter().map(|record| record.data.to_string()).collect();
    let soa = answer.authorities.iter().any(|record| record.record_type() == RecordType::SOA);
    let got = match format!("{:?}", answer.metadata.response_code).as_str() {
        "NoError" => data.join(" "),
        "NXDomain" if soa => "NXDOMAIN with the SOA".to_owned(),
        other => other.to_uppercase(),
    };
    assert_eq!(step.shows.split(": ").next().unwrap(), got, "{step:?}");
}

/// Asks until the second edge is given no more.
async fn stop_second_edge(command: &str, server: SocketAddr) {
    let mut words = command.split(' ');
    assert!(Command::new(words.next().unwrap()).args(words).status().unwrap().success());
    let packet = Question::plain(9, "www.example.com", RecordType::A.into()).to_bytes();
    let addresses = async || {
        let answer = Message::from_vec(&over_udp(server, &packet).await.unwrap()).unwrap();
        answer.answers.iter().map(|record| record.data.to_string()).collect::<Vec<_>>()
    };
    let gone = async { while addresses().await != ["127.0.0.1"] {} };
    tokio::time::timeout(std::time::Duration::from_secs(20), gone).await.expect("it leaves the answers");
}

fn reverse(address: &str) -> String {
    let IpAddr::V4(address) = address.parse().unwrap() else { panic!("the demo shows an IPv4 address") };
    let [a, b, c, d] = address.octets();
    format!("{d}.{c}.{b}.{a}.in-addr.arpa")
}

async fn curl(url: &str, shows: &str) {
    let (server, path) = parts(url);
    let answer = get(server, path).await;
    assert_eq!(answer.status, 200, "{url}");
    let cache_status = answer.header("cache-status");
    match shows.split(": ").next().unwrap() {
        "miss" => {
            assert!(cache_status.contains("fwd=") && cache_status.contains("; stored"), "{cache_status}")
        }
        "hit" => {
            assert!(cache_status.contains("; hit"), "{cache_status}");
            answer.header("age").parse::<u32>().unwrap();
        }
        "no cache" => {
            assert_eq!(cache_status, "");
            let count: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(count["asked"]["/style.css"], 1);
        }
        other => panic!("{url} shows {other}?"),
    }
}

async fn twenty_at_once(command: &str, origin: &[SocketAddr]) {
    assert!(command.starts_with("seq 20 | xargs -P20 -I{} curl -s http://"), "{command}");
    let (server, path) = parts(command.rsplit(' ').next().unwrap());
    let clients: Vec<_> = (0..20).map(|_| tokio::spawn(get(server, path_of(path)))).collect();
    for client in clients {
        assert_eq!(client.await.unwrap().status, 200);
    }
    let count: serde_json::Value =
        serde_json::from_slice(&get(origin[0], "/origin.json").await.body).unwrap();
    assert_eq!(count["asked"]["/slow"], 1);
}

/// The paths of the demo, by their text: what is sent to another task must live on.
fn path_of(path: &str) -> &'static str {
    assert_eq!(path, "/slow");
    "/slow"
}

fn parts(url: &str) -> (SocketAddr, &str) {
    let rest = url.strip_prefix("http://").unwrap();
    let (server, _) = rest.split_once('/').unwrap();
    (server.parse().unwrap(), &rest[server.len()..])
}

async fn get(server: SocketAddr, path: &str) -> Answer {
    http_client::get(server, &server.to_string(), path).await.unwrap()
}
