//! `verge-edge explain URL`: what would become of a request, and why.

use http::{HeaderName, HeaderValue};
use verge_edge::admin::{ExplainRequest, Explained, Variant};

use super::Failed;
use crate::command::admin_client::WhichEdge;

#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// As clients ask for it: http://host/path
    #[arg(value_name = "URL")]
    url: String,
    /// A field of the request
    #[arg(short = 'H', long, value_name = "NAME: VALUE", value_parser = super::field)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// As the edge says it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    edge: WhichEdge,
}

impl Explain {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = self.header.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let asked = ExplainRequest { url: self.url.clone(), headers };
        let explained: Explained = self.edge.client()?.ask("/explain", &asked).await?;
        if self.json {
            super::say(serde_json::to_string_pretty(&explained).map_err(Failed::because)?);
        } else {
            super::say(lines(&explained).join("\n"));
        }
        Ok(())
    }
}

fn lines(explained: &Explained) -> Vec<String> {
    let mut lines = vec![
        format!("{}: {}", explained.verdict, explained.because),
        format!("  site     {}", explained.site),
        format!("  key      {}", explained.key),
    ];
    lines.extend(explained.route.iter().map(|route| format!("  route    {route}")));
    let by = if explained.origins.len() > 1 { format!(", {}", explained.balance) } else { String::new() };
    lines.push(format!("  origin   {} from {}{by}", explained.path, explained.origins.join(", ")));
    for (name, value) in &explained.ingredients {
        lines.push(format!("           {name} = {value}"));
    }
    lines.extend(explained.dictionary.iter().map(|why| format!("  dictionary {why} (docs/caching.md)")));
    lines.extend(explained.rules.iter().map(|rule| format!("  rule     {rule}")));
    lines.extend(explained.settings.iter().map(|setting| format!("  setting  {setting}")));
    lines.extend(
        explained
            .unkept
            .iter()
            .map(|why| format!("  last     {why} (docs/attacks.md, docs/cache-status.md)")),
    );
    lines.push(format!("  purges   {}", explained.epoch));
    lines.push(format!("  stored   {}", explained.variants.len()));
    for variant in &explained.variants {
        lines.push(String::new());
        lines.extend(variant_lines(variant));
    }
    lines
}

fn variant_lines(variant: &Variant) -> Vec<String> {
    let mark = if variant.chosen { "→" } else { " " };
    let part = variant.part.as_deref().unwrap_or("whole");
    let encoding = variant.encoding.as_deref().unwrap_or("identity");
    let resident = variant.age_secs.saturating_sub(variant.initial_age_secs);
    let state = if variant.age_secs < variant.lifetime_secs { "fresh" } else { "stale" };
    let mut lines = vec![
        format!("{mark} status   {}, {} bytes, {encoding}, {part}", variant.status, variant.body_bytes),
        format!(
            "  age      {} s = {} s at receipt + {resident} s here",
            variant.age_secs, variant.initial_age_secs
        ),
        format!("  lifetime {} s by {}: {state}", variant.lifetime_secs, variant.source),
        format!("  stale    {}", variant.when_stale),
    ];
    lines.extend(variant.clock.iter().map(|clock| format!("  clock    {clock}")));
    for (name, value) in &variant.selecting {
        lines.push(format!("  vary     {name} = {}", value.as_deref().unwrap_or("(absent)")));
    }
    for (name, value) in [("etag    ", &variant.etag), ("modified", &variant.last_modified)] {
        lines.extend(value.iter().map(|value| format!("  {name} {value}")));
    }
    if !variant.tags.is_empty() {
        lines.push(format!("  tags     {}", variant.tags.join(" ")));
    }
    lines.push(format!("  epoch    {}", variant.epoch));
    lines
}
