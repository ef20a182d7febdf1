//! `verge-edge purge URL…`: tells a running edge what is to go, through its admin listener.

use verge_edge::admin::{PurgeRequest, Purged};

use super::Failed;
use crate::command::admin_client::WhichEdge;

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["urls", "prefix", "tag", "site", "all"]))]
pub(super) struct Purge {
    /// As clients ask for them, every variant of each, over http at port 80 and https at port 443: http://host/path. One
    /// with another port is purged at that port alone. A `*` stands for any run of characters: 'http://host/img/*'
    #[arg(value_name = "URL")]
    urls: Vec<String>,
    /// Every URL that begins so
    #[arg(long, value_name = "URL")]
    prefix: Vec<String>,
    /// Every response with this tag in Surrogate-Key or Cache-Tag; with --site, on that site only
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Everything of the site with this host
    #[arg(long, value_name = "HOST")]
    site: Option<String>,
    /// Everything
    #[arg(long, conflicts_with_all = ["urls", "prefix", "tag", "site"])]
    all: bool,
    /// Stale instead of gone: validated before its next use, served meanwhile where stale-while-revalidate allows it
    #[arg(long)]
    soft: bool,
    #[command(flatten)]
    edge: WhichEdge,
}

impl Purge {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let client = self.edge.client()?;
        let mut missed = 0_usize;
        let asked = self.asked();
        let number = asked.len();
        for (name, asked) in asked {
            let done: Purged = client.ask("/purge", &asked).await.map_err(|failed| failed.about(&name))?;
            super::say(format!("{name}: {done}"));
            missed += usize::from(done.purged == Some(0) && asked.url.is_some());
        }
        match missed {
            0 => Ok(()),
            _ => Err(Failed::because(format!("{missed} of {number} purges took nothing"))),
        }
    }

    /// One request for each thing named.
    fn asked(&self) -> Vec<(String, PurgeRequest)> {
        let plain = || PurgeRequest { soft: self.soft, ..PurgeRequest::default() };
        let mut asked = Vec::new();
        for url in &self.urls {
            asked.push((url.clone(), PurgeRequest { url: Some(url.clone()), ..plain() }));
        }
        for prefix in &self.prefix {
            asked.push((format!("{prefix}…"), PurgeRequest { prefix: Some(prefix.clone()), ..plain() }));
        }
        for tag in &self.tag {
            let request = PurgeRequest { tag: Some(tag.clone()), site: self.site.clone(), ..plain() };
            asked.push((format!("tag {tag}"), request));
        }
        if let (Some(site), []) = (&self.site, self.tag.as_slice()) {
            asked.push((format!("site {site}"), PurgeRequest { site: Some(site.clone()), ..plain() }));
        }
        if self.all {
            asked.push(("everything".to_owned(), PurgeRequest { all: true, ..plain() }));
        }
        asked
    }
}
