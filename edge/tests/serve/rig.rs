//! A real edge on loopback, an origin that counts and can be held, a client that says what it got.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::Thread;
use std::time::Duration;

use verge_edge::clock::Clock;
use verge_edge::config::{self, Config};
use verge_edge::run::{self, Running};

use super::carrier::Carrier;
pub use super::client::{Client, Got};
pub use super::origin::{Origin, response};

/// One edge, its clock and its folder.
pub struct Rig {
    pub running: Option<Running>,
    pub clock: Clock,
    pub public: SocketAddr,
    pub admin: SocketAddr,
    pub folder: tempfile::TempDir,
}

impl Rig {
    /// An edge for every host in front of these origins.
    pub async fn start(origins: &[SocketAddr]) -> Self {
        Self::with(origins, "", "").await
    }

    /// As `start`, with more lines for the file's top and for the site.
    pub async fn with(origins: &[SocketAddr], top: &str, site: &str) -> Self {
        Self::for_hosts("\"*\"", origins, top, site).await
    }

    /// As `with`, for these hosts only.
    pub async fn for_hosts(hosts: &str, origins: &[SocketAddr], top: &str, site: &str) -> Self {
        Self::at(Clock::system(), hosts, origins, top, site).await
    }

    /// As `for_hosts`, by this clock.
    pub async fn at(clock: Clock, hosts: &str, origins: &[SocketAddr], top: &str, site: &str) -> Self {
        let origins: Vec<String> = origins.iter().map(ToString::to_string).collect();
        Self::named(clock, hosts, &origins, top, site).await
    }

    /// As `at`, with origins as a URL has them, `host:port`.
    pub async fn named(clock: Clock, hosts: &str, origins: &[String], top: &str, site: &str) -> Self {
        let origins: Vec<String> = origins.iter().map(|origin| format!("\"http://{origin}\"")).collect();
        let text = format!(
            "listen = [\"127.0.0.1:0\"]\n{top}\n[[site]]\nhosts = [{hosts}]\norigins = [{}]\n{site}\n[admin]\nlisten = \"127.0.0.1:0\"\nhosts = [\"site.test\"]\n",
            origins.join(", ")
        );
        Self::of(clock, &text).await
    }

    /// An edge with this file.
    pub async fn of(clock: Clock, text: &str) -> Self {
        Self::made(tempfile::tempdir().unwrap(), clock, text).await
    }

    /// As `of`, started from the file, which can be reloaded; usual hits may have the short way or not.
    pub async fn by(clock: Clock, text: &str, is_direct: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let carrier = Self::carrier(text);
        let config = config::load(&Self::written(text, folder.path())).unwrap();
        Self::run(folder, clock, config, carrier, is_direct).await
    }

    /// As `of`, in a folder that has the files which the text names.
    pub async fn in_folder(folder: tempfile::TempDir, clock: Clock, text: &str) -> Self {
        Self::made(folder, clock, text).await
    }

    async fn made(folder: tempfile::TempDir, clock: Clock, text: &str) -> Self {
        let carrier = Self::carrier(text);
        let carried = carrier.map(|_| Carrier::config(text, folder.path()));
        let text = carried.as_deref().unwrap_or(text);
        let config = config::parse(text, folder.path(), Path::new("edge.toml")).unwrap();
        Self::run(folder, clock, config, carrier, true).await
    }

    async fn run(
        folder: tempfile::TempDir,
        clock: Clock,
        config: Config,
        carrier: Option<Carrier>,
        is_direct: bool,
    ) -> Self {
        let running = match is_direct {
            true => run::start_at(config, clock.clone()).await.unwrap(),
            false => run::start_the_long_way(config, clock.clone()).await.unwrap(),
        };
        let public = match carrier {
            Some(carrier) => carrier.translate(&running).await,
            None => running.listening().public[0],
        };
        let admin = running.listening().admin.unwrap();
        Self { running: Some(running), clock, public, admin, folder }
    }

    /// Tests that have TLS of their own are about that.
    fn carrier(text: &str) -> Option<Carrier> {
        Carrier::of_this_run().filter(|_| !text.contains("[tls]"))
    }

    /// Writes the file, with listeners for the carrier of this run.
    fn written(text: &str, folder: &Path) -> PathBuf {
        let file = folder.join("edge.toml");
        let carried = Self::carrier(text).map(|_| Carrier::config(text, folder));
        std::fs::write(&file, carried.as_deref().unwrap_or(text)).unwrap();
        file
    }

    /// Has another file read in the place of the one that it was started from.
    pub async fn reload(&self, text: &str) {
        Self::written(text, self.folder.path());
        let got = self.ask("/reload", "").await;
        assert_eq!(got.status, 200, "{got:?}");
    }

    /// A new connection to it.
    pub async fn client(&self) -> Client {
        Client::connect(self.public).await
    }

    /// One GET on a connection of its own.
    pub async fn get(&self, path: &str) -> Got {
        self.client().await.get(path).await
    }

    /// Moves the edge's clock.
    pub fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Purges a path for the host that `get` uses.
    pub async fn purge(&self, path: &str) -> Got {
        let scheme = Carrier::of_this_run().map_or("http", |_| "https");
        self.ask("/purge", &format!("{{\"url\": \"{scheme}://site.test{path}\"}}")).await
    }

    /// Posts to the admin listener, with its token.
    pub async fn ask(&self, path: &str, body: &str) -> Got {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{body}",
            self.token(),
            body.len()
        );
        Client::connect(self.admin).await.raw(head.as_bytes()).await
    }

    /// The value of the metric whose line begins so; 0 as long as there is none.
    pub async fn metric(&self, line: &str) -> u64 {
        let metrics = Client::connect(self.admin).await.get("/metrics").await.text();
        let found = metrics.lines().find(|one| one.starts_with(line));
        found.map_or(0, |found| found.rsplit(' ').next().unwrap().parse().unwrap())
    }

    /// How many clients were dropped for this.
    pub async fn dropped(&self, why: &str) -> u64 {
        self.metric(&format!("verge_edge_clients_dropped_total{{why=\"{why}\"}} ")).await
    }

    /// Waits until a number of `/metrics` is this.
    pub async fn until(&self, name: &str, value: u64) {
        let reached = async {
            while self.metric(&format!("{name} ")).await != value {
                tokio::task::yield_now().await;
            }
        };
        soon(&format!("{name} {value}"), reached).await;
    }

    /// Waits until no client has a connection, whatever it speaks.
    pub async fn until_all_have_left(&self) {
        let left = async {
            loop {
                let metrics = Client::connect(self.admin).await.get("/metrics").await.text();
                let open = metrics.lines().filter(|line| line.starts_with("verge_edge_connections{"));
                if open.clone().count() > 0 && open.clone().all(|line| line.ends_with(" 0")) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        soon("the end of all connections", left).await;
    }

    /// The token that the admin listener asks for.
    pub fn token(&self) -> String {
        let text = std::fs::read_to_string(self.folder.path().join("verge-edge.token")).unwrap();
        text.trim().to_owned()
    }
}

/// Waits for something that must happen; a test that hangs says where. None waits so long on a machine that is not busy.
pub async fn soon<F: Future>(what: &str, event: F) -> F::Output {
    match tokio::time::timeout(Duration::from_secs(60), event).await {
        Ok(output) => output,
        Err(_) => panic!("did not happen: {what}"),
    }
}

/// Waits on this thread for something that other threads do: no task of the runtime has a turn here meanwhile.
pub fn alone<F: Future>(event: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let (mut event, mut context) = (pin!(event), Context::from_waker(&waker));
    loop {
        match event.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
