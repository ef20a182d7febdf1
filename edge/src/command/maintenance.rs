//! `verge-edge maintenance`: has sites of a running edge say that they are being worked on.

use clap::ValueEnum;
use verge_edge::admin::{Maintained, MaintenanceRequest, Switch};

use super::Failed;
use super::admin_client::WhichEdge;

#[derive(Debug, clap::Args)]
pub(super) struct Maintenance {
    /// The switch to set; without it the command prints the state of all sites
    #[arg(value_name = "SWITCH")]
    switch: Option<Wanted>,
    /// The site, by one of its hosts; without it, all
    #[arg(long, value_name = "HOST", requires = "switch")]
    site: Option<String>,
    #[command(flatten)]
    edge: WhichEdge,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Wanted {
    /// Clients get 503, but for those in `maintenance_exempt`
    On,
    /// The site answers, whatever its config says
    Off,
    /// As the config says
    Config,
}

impl Maintenance {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let on = self.switch.map(|wanted| match wanted {
            Wanted::On => Switch::On,
            Wanted::Off => Switch::Off,
            Wanted::Config => Switch::AsConfigured,
        });
        let asked = MaintenanceRequest { site: self.site, on };
        let stand: Maintained = self.edge.client()?.ask("/maintenance", &asked).await?;
        for site in stand.sites {
            let state = if site.on { "being worked on" } else { "in service" };
            let switched = if site.switched { " (switched)" } else { "" };
            super::say(format!("{}: {state}{switched}", site.site));
        }
        Ok(())
    }
}
