//! `verge-edge guard`: the reload that a running edge is watching, and those that it undid.

use verge_edge::admin::GuardTold;

use super::Failed;
use super::admin_client::WhichEdge;

#[derive(Debug, clap::Args)]
pub(super) struct Guard {
    /// As the edge says it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    edge: WhichEdge,
}

impl Guard {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let told: GuardTold = self.edge.client()?.ask("/guard", &()).await?;
        if self.json {
            super::say(serde_json::to_string_pretty(&told).map_err(Failed::because)?);
            return Ok(());
        }
        for change in &told.watched {
            super::say(format!("watched: {change}"));
        }
        if told.watched.is_empty() {
            super::say("no change is being watched");
        }
        if told.is_undone {
            super::say("the config file is not in service: its changes were undone");
        }
        for undone in &told.undone {
            super::say(format!(
                "undone at {}, after {} ms: {} of {} answers of {} were errors ({} %, before {} %)",
                undone.at,
                undone.in_service_ms,
                undone.errors,
                undone.answers,
                undone.site,
                undone.percent,
                undone.percent_before
            ));
            for change in &undone.changed {
                super::say(format!("  {change}"));
            }
        }
        Ok(())
    }
}
