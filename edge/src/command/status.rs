//! `verge-edge status`: how a running edge does.

use verge_edge::admin::Board;

use super::Failed;
use super::admin_client::WhichEdge;
use super::{terminal, top};

#[derive(Debug, clap::Args)]
pub(super) struct Status {
    /// As the edge says it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    edge: WhichEdge,
}

impl Status {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let board: Board = self.edge.client()?.get("/status").await?;
        if self.json {
            super::say(serde_json::to_string_pretty(&board).map_err(Failed::because)?);
        } else {
            super::say(top::screen(&board, usize::MAX, terminal::is_coloured()).join("\n"));
        }
        Ok(())
    }
}
