//! Files of origins that two configs name alike and that have other contents in the newer one. Pure.

use super::{Change, Config};
use crate::site::Site;
use crate::site::origin::{Roots, Way};

/// A change for each such file. It tells the setting and the file, and nothing of what is in it.
#[must_use]
pub fn contents(older: &Config, newer: &Config) -> Vec<Change> {
    let mut all: Vec<Change> = Vec::new();
    for part in parts(newer) {
        let Some(before) = parts(older).find(|before| before.part() == part.part()) else { continue };
        for ((name, before), after) in NAMES.into_iter().zip(files(before)).zip(files(part)) {
            let differs = before.zip(after).is_some_and(|(before, after)| before != after);
            let Some((setting, file)) = written(newer, part, name).filter(|_| differs) else { continue };
            let is_told = all.iter().any(|change| change.setting == setting);
            // Where the config names another file, that is the change.
            if !is_told && older.written.get(&setting) == Some(file) {
                let (from, to) = (file.to_owned(), format!("{file}, with other content"));
                all.push(Change { setting, from: Some(from), to: Some(to) });
            }
        }
    }
    all
}

const NAMES: [&str; 3] = ["origin_roots", "origin_certificate", "origin_key"];

fn parts(config: &Config) -> impl Iterator<Item = &Site> {
    config.sites.all().iter().flat_map(|site| std::iter::once(site).chain(&site.routes)).map(|part| &**part)
}

/// The contents of the files of [`NAMES`], which all origins of a part have in common.
fn files(part: &Site) -> [Option<&[u8]>; 3] {
    let canary = part.canary.iter().flat_map(|canary| &canary.origins);
    let mut origins = part.origins.iter().chain(&part.parents).chain(canary);
    let secure = origins.find_map(|origin| match &origin.way {
        Way::Tls(secure) => Some(secure),
        Way::Plain | Way::H2c => None,
    });
    let roots = secure.and_then(|secure| match &secure.roots {
        Roots::Given(pem) => Some(&**pem),
        Roots::System => None,
    });
    let identity = secure.and_then(|secure| secure.identity.as_ref());
    [roots, identity.map(|identity| &*identity.chain), identity.map(|identity| &*identity.key)]
}

/// The setting of this name that counts for a part, its site's if a route has none, and its value.
fn written<'c>(config: &'c Config, part: &Site, name: &str) -> Option<(String, &'c str)> {
    let (site, route) = part.part();
    let own = route.map(|route| format!("site {site}: route {route}: {name}"));
    let of_site = format!("site {site}: {name}");
    own.into_iter().chain([of_site]).find_map(|setting| {
        let file = config.written.get(&setting)?;
        Some((setting, file))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::parse;

    /// Certificates of authorities, each another one.
    fn authority() -> String {
        rcgen::generate_simple_self_signed(["ca.test".to_owned()]).unwrap().cert.pem()
    }

    #[test]
    fn a_file_with_other_content_is_told_once_by_the_setting_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str| std::fs::write(folder.path().join(name), authority()).unwrap();
        let text = "listen = [\"127.0.0.1:0\"]\n[[site]]\nhosts = [\"A.test\"]\norigins = [\"https://o\"]\n\
                    origin_roots = \"ca.pem\"\n[[site.route]]\npaths = [\"/x/*\"]\norigin_roots = \"x.pem\"\n\
                    [[site.route]]\npaths = [\"/y/*\"]\n[[site]]\nhosts = [\"b.test\"]\norigins = [\"http://o\"]\n\
                    origin_roots = \"ca.pem\"\n";
        let read = |text: &str| parse(text, folder.path(), Path::new("edge.toml")).unwrap();
        ["ca.pem", "x.pem", "z.pem"].into_iter().for_each(put);
        let older = read(text);
        let check = |text: &str, expected: &[&str]| {
            let found = contents(&older, &read(text));
            assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
        };
        check(text, &[]);
        let of_site = "site a.test: origin_roots: \"ca.pem\" → \"ca.pem\", with other content";
        let of_route = "site a.test: route /x/*: origin_roots: \"x.pem\" → \"x.pem\", with other content";
        put("ca.pem");
        check(text, &[of_site]);
        put("x.pem");
        check(text, &[of_site, of_route]);
        check(&text.replace("x.pem", "z.pem"), &[of_site]);
    }
}
