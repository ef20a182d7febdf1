//! Access to a part of a site, and the file of its users.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;

use super::networks::networks;
use super::place::Fault;
use super::settings::{OFF, Settings};
use crate::site::access::{Access, Rate, Users};

pub(super) fn access(settings: &Settings, site: &str, base: &Path) -> Result<Access, Fault> {
    let realm = settings.realm.as_ref().map_or(site, |realm| realm.get_ref());
    let users = settings.basic_auth.as_ref().filter(|file| file.get_ref() != OFF);
    let rate = settings.rate_limit.as_ref().filter(|rate| rate.get_ref() != OFF);
    Ok(Access {
        allow: networks(Settings::texts(&settings.allow))?,
        deny: networks(Settings::texts(&settings.deny))?,
        users: users.map(|file| self::users(file, realm, base)).transpose()?.map(Arc::new),
        rate: rate.map(self::rate).transpose()?,
        max_body_bytes: settings.max_request_body.map(|size| size.0).filter(|bytes| *bytes > 0),
    })
}

/// Where it is written tells one rate from another: a route that has its site's counts together with it.
fn rate(written: &Spanned<String>) -> Result<Rate, Fault> {
    Rate::parse(written.get_ref(), written.span().start as u64).ok_or_else(|| {
        let message =
            "a rate is a whole number a second, minute or hour: \"20/s\", \"600/m\", \"1000/h\", or \"off\"";
        Fault::new(written.span(), message)
    })
}

fn users(file: &Spanned<String>, realm: &str, base: &Path) -> Result<Users, Fault> {
    let path = base.join(file.get_ref());
    let read = || {
        let mut text = String::new();
        std::fs::File::open(&path)?.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
        Ok::<_, std::io::Error>(text)
    };
    let help = format!("make one: htpasswd -cB -C 10 {} NAME", path.display());
    let text = read().map_err(|error| {
        Fault::new(file.span(), format!("cannot read the users in {}: {error}", path.display())).help(&help)
    })?;
    Users::read(&text, realm)
        .map_err(|why| Fault::new(file.span(), format!("{}: {why}", path.display())).help(&help))
}

/// More than the users that one file may have take.
const MAX_FILE_BYTES: u64 = 4 << 20;
