//! `verge-edge export FILE` and `verge-edge import FILE`: a warm cache moves to another node.

use std::fs::{File, Permissions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use verge_edge::admin::moving::Imported;

use super::Failed;
use super::batch::now;
use super::push::FileBody;
use crate::command::admin_client::{WhichEdge, answer};

#[derive(Debug, clap::Args)]
pub(super) struct Export {
    /// Where all that is stored goes; - is standard output
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    edge: WhichEdge,
}

#[derive(Debug, clap::Args)]
pub(super) struct Import {
    /// The export of another edge; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    edge: WhichEdge,
}

impl Export {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let unwritable = |error| Failed::because(format!("{}: {error}", self.file.display()));
        let is_output = self.file.as_os_str() == "-";
        let request = Request::get("/export").body(Empty::<Bytes>::new()).map_err(Failed::because)?;
        let response = self.edge.client()?.send(request).await?;
        if response.status() != StatusCode::OK {
            return answer(response).await.map(drop);
        }
        // A refused export leaves an earlier one as it is. Responses may be for few: so is the file.
        let mut to: Box<dyn Write> = match is_output {
            true => Box::new(io::stdout()),
            false => Box::new(for_this_user(&self.file).map_err(unwritable)?),
        };
        let (mut body, mut bytes, began) = (response.into_body(), 0_u64, now());
        let (shows, mut shown) = (io::stderr().is_terminal(), began);
        while let Some(frame) = body.frame().await {
            let cut = |error| Failed::because(format!("the export is cut short: {error}"));
            let Ok(data) = frame.map_err(cut)?.into_data() else { continue };
            to.write_all(&data).map_err(unwritable)?;
            bytes += data.len() as u64;
            if shows && shown.elapsed().as_millis() > 200 {
                shown = now();
                let rate = bytes as f64 / began.elapsed().as_secs_f64() / 1e6;
                let _ = write!(io::stderr(), "\r\x1b[K{:.1} MB, {rate:.1} MB/s", bytes as f64 / 1e6);
            }
        }
        to.flush().map_err(unwritable)?;
        let line = format!("exported {bytes} bytes in {:.1} s", began.elapsed().as_secs_f64());
        let clear = if shows { "\r\x1b[K" } else { "" };
        let _ = writeln!(io::stderr(), "{clear}{line}");
        Ok(())
    }
}

/// An empty file that nobody else may read.
fn for_this_user(path: &Path) -> io::Result<File> {
    let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    // One that was there keeps its mode, and nothing is in it that others may not see yet.
    if file.metadata()?.is_file() {
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.set_len(0)?;
    }
    Ok(file)
}

impl Import {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let unreadable = |error| Failed::because(format!("{}: {error}", self.file.display()));
        let body = match self.file.as_os_str() == "-" {
            true => FileBody::of_unknown_length(io::stdin()),
            false => {
                let file = File::open(&self.file).map_err(unreadable)?;
                let length = file.metadata().map_err(unreadable)?.len();
                FileBody::new(file, length)
            }
        };
        let request = Request::builder().method(Method::PUT).uri("/import").body(body);
        let response = self.edge.client()?.send(request.map_err(Failed::because)?).await?;
        let told: Imported = serde_json::from_slice(&answer(response).await?).map_err(Failed::because)?;
        let Imported { objects, bytes, foreign, older, too_big, purged } = told;
        super::say(format_args!(
            "{objects} responses of {bytes} bytes are stored; left out: {older} that this edge has newer, {purged} that it was told to purge, {too_big} without room, {foreign} of other sites"
        ));
        Ok(())
    }
}
