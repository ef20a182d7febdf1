//! `verge-edge push DIR|FILE…`: puts files into a running edge's cache ahead of demand; without a disk they are gone when it
//! restarts.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use hyper::body::{Body, Frame, SizeHint};
use verge_edge::admin::push::{BROWSER_TTL, Pushed, TTL, URL};
use verge_edge::admin::{ExplainRequest, Explained};

use super::Failed;
use super::batch::{Done, Pace};
use crate::command::admin_client::{AdminClient, WhichEdge, answer};

#[derive(Debug, clap::Args)]
pub(super) struct Push {
    /// Files, and folders with everything in them but hidden files; links that lead out of a folder are left out
    #[arg(required = true, value_name = "DIR|FILE")]
    sources: Vec<PathBuf>,
    /// The host that clients ask for
    #[arg(long, value_name = "HOST")]
    site: String,
    /// The path that they are put under; an index.html is put under its folder's path as well
    #[arg(long, value_name = "PATH", default_value = "/")]
    prefix: String,
    /// How long they are fresh: 90s, 30m, 1h, 7d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = seconds)]
    ttl: u64,
    /// How long browsers may use them without asking; no purge reaches those
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = seconds)]
    browser_ttl: u64,
    /// Over what clients ask for them; behind a proxy that ends TLS it is https
    #[arg(long, value_enum, default_value = "both")]
    scheme: Scheme,
    /// A field for each of them; Cache-Control goes before --ttl and --browser-ttl
    #[arg(long, value_name = "NAME: VALUE", value_parser = super::field)]
    header: Vec<(HeaderName, HeaderValue)>,
    #[command(flatten)]
    pace: Pace,
    #[command(flatten)]
    edge: WhichEdge,
}

/// Which of a file's two URLs it is put under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Scheme {
    Http,
    Https,
    Both,
}

impl Scheme {
    fn each(self) -> &'static [&'static str] {
        match self {
            Self::Http => &["http"],
            Self::Https => &["https"],
            Self::Both => &["http", "https"],
        }
    }
}

fn told(url: &str, pushed: &Pushed) -> String {
    let encoded = pushed.encoded.iter().map(|(coding, bytes)| format!(", {bytes} as {coding}"));
    let encoded: String = encoded.collect();
    format!("{url}: {}{encoded}, fresh for {} s", counted(pushed.bytes, "byte"), pushed.fresh_secs)
}

fn counted(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

fn seconds(text: &str) -> Result<u64, String> {
    let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400), ("w", 604_800)];
    let parsed = units
        .iter()
        .find_map(|(unit, factor)| text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(*factor));
    parsed.ok_or_else(|| "write a number and its unit: 90s, 30m, 1h, 7d".to_owned())
}

/// A file, and the path of the URL that it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    file: PathBuf,
    path: String,
}

impl Push {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let client = Arc::new(self.edge.client()?);
        let mut items = Vec::new();
        for item in self.items()? {
            let urls =
                self.scheme.each().iter().map(|scheme| format!("{scheme}://{}{}", self.site, item.path));
            items.extend(urls.map(|url| (url, item.clone())));
        }
        let push = Arc::new(self);
        let one = |url: String, item: Item| {
            let (push, client) = (Arc::clone(&push), Arc::clone(&client));
            async move {
                let pushed = push.push(&client, &item, &url).await;
                let pushed = pushed.map_err(|why| why.about(&item.file.display().to_string()))?;
                Ok(Done { line: told(&url, &pushed), bytes: pushed.bytes, is_failed: false })
            }
        };
        match push.pace.each(items, one).await? {
            (0, _) => Ok(()),
            (failed, all) => Err(Failed::because(format!("{failed} of {all} were not pushed"))),
        }
    }

    fn items(&self) -> Result<Vec<Item>, Failed> {
        let mut items = Vec::new();
        let prefix = format!("/{}", self.prefix.trim_matches('/'));
        let prefix = prefix.trim_end_matches('/');
        for source in &self.sources {
            let unreadable = |error: io::Error| Failed::because(format!("{}: {error}", source.display()));
            if source.is_dir() {
                let root = source.canonicalize().map_err(unreadable)?;
                walk(&root, &root, prefix, &mut items).map_err(unreadable)?;
            } else {
                let name = source.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
                items.push(Item { file: source.clone(), path: format!("{prefix}/{}", encoded(&name)) });
            }
        }
        Ok(items)
    }

    async fn push(&self, client: &AdminClient, item: &Item, url: &str) -> Result<Pushed, Failed> {
        let file = File::open(&item.file).map_err(Failed::because)?;
        let about = file.metadata().map_err(Failed::because)?;
        let asked = ExplainRequest { url: url.to_owned(), headers: Vec::new() };
        let explained: Explained = client.ask("/explain", &asked).await?;
        if about.len() > explained.max_object_bytes {
            let limit = explained.max_object_bytes;
            return Err(Failed::because(format!(
                "{} bytes are too big: the site keeps {limit} at most (`max_object`)",
                about.len()
            )));
        }
        let mut request = Request::new(FileBody::new(file, about.len()));
        *request.method_mut() = Method::PUT;
        *request.uri_mut() = http::Uri::from_static("/push");
        *request.headers_mut() = self.fields(url, item, about.modified().ok())?;
        let answer = answer(client.send(request).await?).await?;
        serde_json::from_slice(&answer).map_err(Failed::because)
    }

    fn fields(&self, url: &str, item: &Item, modified: Option<SystemTime>) -> Result<HeaderMap, Failed> {
        let mut headers = HeaderMap::new();
        let kind = mime_guess::from_path(&item.file).first_or_octet_stream();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(kind.as_ref()).map_err(Failed::because)?);
        if let Some(modified) = modified {
            let date = httpdate::fmt_http_date(modified);
            headers.insert(header::LAST_MODIFIED, HeaderValue::try_from(date).map_err(Failed::because)?);
        }
        for (name, _) in &self.header {
            headers.remove(name);
        }
        headers.extend(self.header.iter().cloned().map(|(name, value)| (Some(name), value)));
        headers.insert(URL, HeaderValue::from_bytes(url.as_bytes()).map_err(Failed::because)?);
        headers.insert(TTL, HeaderValue::from(self.ttl));
        headers.insert(BROWSER_TTL, HeaderValue::from(self.browser_ttl));
        Ok(headers)
    }
}

/// Everything below `folder` that is meant to be seen and lies in `root`.
fn walk(root: &Path, folder: &Path, path: &str, items: &mut Vec<Item>) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        // .git, .env, .htpasswd: nobody means to publish those.
        if name.starts_with('.') && name != ".well-known" {
            continue;
        }
        let (file, path) = (entry.path(), format!("{path}/{}", encoded(&name)));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(root, &file, &path, items)?;
        } else if kind.is_file() || is_file_inside(root, &file) {
            if name == "index.html" {
                let folder = path.strip_suffix("index.html").unwrap_or(&path);
                items.push(Item { file: file.clone(), path: folder.to_owned() });
            }
            items.push(Item { file, path });
        }
    }
    Ok(())
}

/// Links to folders are not followed at all: they could lead in circles.
fn is_file_inside(root: &Path, link: &Path) -> bool {
    link.canonicalize().is_ok_and(|target| target.is_file() && target.starts_with(root))
}

/// A path segment as a URL has it (RFC 3986 §3.3).
fn encoded(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A file as it is read; this program has nothing else to do meanwhile.
pub(super) struct FileBody {
    file: Box<dyn Read + Send>,
    /// None: to its end.
    left: Option<u64>,
}

impl FileBody {
    pub(super) fn new(file: File, length: u64) -> Self {
        Self { file: Box::new(file), left: Some(length) }
    }

    pub(super) fn of_unknown_length(file: impl Read + Send + 'static) -> Self {
        Self { file: Box::new(file), left: None }
    }
}

/// Read at once.
const PIECE_BYTES: u64 = 64 << 10;

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Self { file, left } = self.get_mut();
        if *left == Some(0) {
            return Poll::Ready(None);
        }
        let mut piece = Vec::new();
        let read = file.take(left.unwrap_or(PIECE_BYTES).min(PIECE_BYTES)).read_to_end(&mut piece);
        Poll::Ready(Some(match read {
            Ok(0) if left.is_none() => return Poll::Ready(None),
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter")),
            Ok(read) => {
                left.iter_mut().for_each(|left| *left -= read as u64);
                Ok(Frame::data(piece.into()))
            }
            Err(error) => Err(error),
        }))
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_walked_without_what_is_hidden_or_leads_out() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap().join("site");
        fs::create_dir_all(root.join("a b/.git")).unwrap();
        fs::create_dir_all(root.join(".well-known")).unwrap();
        for name in ["index.html", "a b/x.css", "a b/.env", "a b/.git/config", ".well-known/y", "../secret"] {
            fs::write(root.join(name), name).unwrap();
        }
        let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, root.join(name)).unwrap();
        link("../secret", "out");
        link("a b/x.css", "in.css");
        link("..", "up");
        link(".", "circle");
        link("nowhere", "dead");
        let mut items = Vec::new();
        walk(&root, &root, "/p", &mut items).unwrap();
        let paths: Vec<&str> = items.iter().map(|item| item.path.as_str()).collect();
        assert_eq!(paths, ["/p/.well-known/y", "/p/a%20b/x.css", "/p/in.css", "/p/", "/p/index.html"]);
    }

    #[test]
    fn a_time_is_a_number_and_its_unit() {
        let check = |text, expected: Option<u64>| assert_eq!(seconds(text).ok(), expected, "{text}");
        check("1h", Some(3_600));
        check("90s", Some(90));
        check("2w", Some(1_209_600));
        check("1", None);
        check("h", None);
        check("99999999999999999w", None);
    }
}
