//! `verge-edge check`: tests a config without starting an edge.

use std::fmt::Write as _;
use std::path::PathBuf;

use verge_edge::config::{self, Config};
use verge_edge::origin::names;
use verge_edge::run;
use verge_edge::site::{OriginAddress, Site};

use super::Failed;

#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// The config file
    #[arg(long, value_name = "FILE", default_value = "edge.toml")]
    config: PathBuf,
    /// Say only what is wrong
    #[arg(long, short)]
    quiet: bool,
    /// Do not look up where the names of origins lead
    #[arg(long)]
    offline: bool,
    /// End with 1 for a warning, too
    #[arg(long)]
    deny_warnings: bool,
}

impl Check {
    pub(super) async fn run(&self) -> Result<(), Failed> {
        let config = config::load(&self.config).map_err(Failed::of_config)?;
        let standings = run::inspect(&config).map_err(Failed::of_start)?;
        for standing in &standings {
            super::say(format!("warning: {standing}"));
        }
        for warning in &config.warnings {
            super::say(warning);
        }
        let doubts = if self.offline { Vec::new() } else { names::doubts(&config.sites).await };
        for doubt in &doubts {
            super::say(format!("{}: warning: {doubt}", self.config.display()));
        }
        if !self.quiet {
            super::say(summary(&config, &self.config.display().to_string()).trim_end());
        }
        match (self.deny_warnings, standings.len() + config.warnings.len() + doubts.len()) {
            (true, 1) => Err(Failed::because("1 warning")),
            (true, warnings @ 2..) => Err(Failed::because(format!("{warnings} warnings"))),
            _ => Ok(()),
        }
    }
}

/// The addresses that the edge would listen on, and the sites that it would answer for.
fn summary(config: &Config, path: &str) -> String {
    let mut text = String::new();
    let listen: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
    if !listen.is_empty() {
        let _ = writeln!(text, "listen  {}", listen.join(", "));
    }
    if let Some(tls) = &config.tls {
        for (name, listen) in [("tls ", &tls.listen), ("quic", &tls.quic)] {
            let listen: Vec<String> = listen.iter().map(ToString::to_string).collect();
            if !listen.is_empty() {
                let _ = writeln!(text, "{name}    {}", listen.join(", "));
            }
        }
    }
    if let Some(admin) = &config.admin {
        let over = if admin.tls.is_some() { " over TLS" } else { "" };
        let _ = writeln!(text, "admin   {}{over}, token in {}", admin.listen, admin.token_file.display());
    }
    for site in config.sites.all() {
        let hosts: Vec<String> = site.hosts.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "site    {} from {}", hosts.join(", "), origins(site));
        for (route, part) in site.routes.iter().filter_map(|part| Some((part.route.as_ref()?, part))) {
            let there = route.origin_path().map_or_else(String::new, |path| format!(" as {path}"));
            let _ = writeln!(text, "route   {} from {}{there}", route.name, origins(part));
        }
    }
    for stream in &config.streams {
        let listen: Vec<String> = stream.listen.iter().map(ToString::to_string).collect();
        let names: Vec<String> = stream.relay.names.iter().map(ToString::to_string).collect();
        let names = if names.is_empty() { "every connection".to_owned() } else { names.join(", ") };
        let origins: Vec<String> = stream.relay.origins.iter().map(OriginAddress::shown).collect();
        let _ = writeln!(text, "stream  {}: {names} from {}", listen.join(", "), origins.join(", "));
    }
    let _ = writeln!(text, "{path}: good");
    text
}

fn origins(site: &Site) -> String {
    let shown =
        |origins: &[OriginAddress]| origins.iter().map(OriginAddress::shown).collect::<Vec<_>>().join(", ");
    let origins = shown(&site.origins);
    match site.parents.as_slice() {
        [] => origins,
        parents => format!("{origins} by way of {}", shown(parents)),
    }
}
