//! `verge-edge reload`: tells a running edge to read its config again.

use verge_edge::admin::ReloadDone;

use super::Failed;
use super::admin_client::WhichEdge;

#[derive(Debug, clap::Args)]
pub(super) struct Reload {
    #[command(flatten)]
    edge: WhichEdge,
}

impl Reload {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let done: ReloadDone = self.edge.client()?.ask("/reload", &()).await?;
        for change in &done.changed {
            super::say(format!("changed: {change}"));
        }
        for change in &done.needs_restart {
            super::say(format!("needs a restart: {change}"));
        }
        if done == ReloadDone::default() {
            super::say("nothing has changed");
        }
        Ok(())
    }
}
