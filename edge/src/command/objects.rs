//! `verge-edge objects`: what a running edge holds.

use std::cmp::Reverse;

use verge_edge::admin::{ObjectTold, ObjectsRequest, ObjectsTold};

use super::Failed;
use super::admin_client::WhichEdge;

#[derive(Debug, clap::Args)]
pub(super) struct Objects {
    /// Only those whose URL begins so
    #[arg(long, value_name = "URL")]
    prefix: Option<String>,
    /// Only those with this tag
    #[arg(long)]
    tag: Option<String>,
    /// Only those of this site, by its first host
    #[arg(long, value_name = "HOST")]
    site: Option<String>,
    /// In this order, instead of the one in which they are found; then all are looked at
    #[arg(long)]
    sort: Option<Order>,
    /// At most so many; 0 is all
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    limit: usize,
    /// One line of JSON each
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    edge: WhichEdge,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Order {
    /// The largest first
    Size,
    /// The oldest first
    Age,
    /// The ones asked for most often first
    Hits,
    Url,
}

impl Order {
    fn sort(self, objects: &mut [ObjectTold]) {
        match self {
            Self::Size => objects.sort_by_key(|object| Reverse(object.bytes)),
            Self::Age => objects.sort_by_key(|object| Reverse(object.age_secs)),
            Self::Hits => objects.sort_by_key(|object| Reverse(object.hits.unwrap_or(0))),
            Self::Url => objects.sort_by(|one, other| one.url.cmp(&other.url)),
        }
    }
}

impl Objects {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let edge = self.edge.client()?;
        let limit = if self.limit == 0 { usize::MAX } else { self.limit };
        let mut asked = ObjectsRequest { prefix: self.prefix, tag: self.tag, site: self.site, from: None };
        let (mut all, mut shown) = (Vec::new(), 0);
        if !self.json {
            super::say(format_args!(
                "{:>12} {:>8} {:>8} {:>6} {:6} URL",
                "BYTES", "AGE", "FRESH", "HITS", "WHERE"
            ));
        }
        loop {
            let told: ObjectsTold = edge.ask("/objects", &asked).await?;
            if self.sort.is_some() {
                all.extend(told.objects);
            } else {
                for object in told.objects.iter().take(limit - shown) {
                    show(object, self.json)?;
                    shown += 1;
                }
            }
            asked.from = told.next;
            if asked.from.is_none() || shown >= limit {
                break;
            }
        }
        if let Some(order) = self.sort {
            order.sort(&mut all);
            for object in all.iter().take(limit) {
                show(object, self.json)?;
            }
        }
        Ok(())
    }
}

fn show(object: &ObjectTold, json: bool) -> Result<(), Failed> {
    if json {
        super::say(serde_json::to_string(object).map_err(Failed::because)?);
        return Ok(());
    }
    let hits = object.hits.map_or_else(|| "-".to_owned(), |hits| hits.to_string());
    let about = [object.encoding.clone(), object.part.as_ref().map(|part| format!("bytes {part}"))];
    let about: String = about.into_iter().flatten().map(|word| format!(" ({word})")).collect();
    let ObjectTold { bytes, age_secs, fresh_secs, tier, url, .. } = object;
    super::say(format_args!("{bytes:>12} {age_secs:>8} {fresh_secs:>8} {hits:>6} {tier:6} {url}{about}"));
    Ok(())
}
