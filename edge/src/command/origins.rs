//! `verge-edge origins`: how the origins of a running edge stand; takes one out, or puts it back.

use verge_edge::admin::{OriginsRequest, OriginsTold, Switch};
use verge_edge::origin::OriginStanding;

use super::Failed;
use super::admin_client::WhichEdge;

#[derive(Debug, clap::Args)]
pub(super) struct Origins {
    /// Give this origin no new requests, whatever the config says
    #[arg(long, value_name = "HOST:PORT", group = "switch")]
    drain: Option<String>,
    /// Give this origin its share, whatever the config says
    #[arg(long, value_name = "HOST:PORT", group = "switch")]
    resume: Option<String>,
    /// Leave this origin to the config
    #[arg(long, value_name = "HOST:PORT", group = "switch")]
    as_configured: Option<String>,
    /// The site, by one of its hosts; without it, all sites and streams
    #[arg(long, value_name = "HOST")]
    site: Option<String>,
    /// The stream, by its first `sni`, else its first address
    #[arg(long, value_name = "NAME", conflicts_with = "site")]
    stream: Option<String>,
    /// As the edge says it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    edge: WhichEdge,
}

impl Origins {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let switches = [
            (self.drain, Switch::On),
            (self.resume, Switch::Off),
            (self.as_configured, Switch::AsConfigured),
        ];
        let switched = switches.into_iter().find_map(|(origin, switch)| Some((origin?, switch)));
        let (origin, drain) = switched.unzip();
        let asked = OriginsRequest { site: self.site, stream: self.stream, origin, drain };
        let told: OriginsTold = self.edge.client()?.ask("/origins", &asked).await?;
        if self.json {
            super::say(serde_json::to_string_pretty(&told).map_err(Failed::because)?);
            return Ok(());
        }
        for site in told.sites {
            let route = site.route.map_or_else(String::new, |route| format!(" {route}"));
            super::say(format!("{}{route}, {}", site.site, site.balance));
            if let Some(canary) = site.canary {
                let state = if canary.ended { "ended, it failed" } else { "asked" };
                super::say(format!(
                    "  canary, {} % of the requests: {state}; {} errors in {} answers, {} % of the others'",
                    canary.share, canary.errors, canary.answers, canary.others_percent
                ));
            }
            say_origins(&site.origins);
        }
        for stream in told.streams {
            super::say(format!("stream {}, {}", stream.stream, stream.balance));
            say_origins(&stream.origins);
        }
        Ok(())
    }
}

fn say_origins(origins: &[OriginStanding]) {
    for origin in origins {
        super::say(format!("  {origin}"));
        for change in &origin.changes {
            super::say(format!("    {} s ago {}: {}", change.secs_ago, change.state, change.why));
        }
    }
}
