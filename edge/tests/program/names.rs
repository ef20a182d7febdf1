//! Where the names of origins lead, and the token's file: told before the first client finds out.

use super::run;

fn check(origin: &str, more: &[&str]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\n[[site]]\nhosts = [\"a.test\"]\norigins = [\"http://{origin}\"]\n"
    );
    std::fs::write(folder.path().join("edge.toml"), text).unwrap();
    let checked = run(&[&["check", "--deny-warnings"], more].concat(), folder.path());
    (checked.status.success(), String::from_utf8_lossy(&checked.stdout).into_owned())
}

/// RFC 6761 §6.4: such a name is found nowhere.
#[test]
fn check_tells_of_an_origin_that_is_not_found() {
    let (good, told) = check("nosuch.invalid:80", &[]);
    assert!(
        !good && told.contains("edge.toml: warning: site a.test: the origin nosuch.invalid:80 is not found"),
        "{told}"
    );
    assert!(check("nosuch.invalid:80", &["--offline"]).0);
    assert!(check("127.0.0.1:8000", &[]).0);
}

#[test]
fn a_token_that_cannot_be_made_is_told_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let text = "listen = [\"127.0.0.1:0\"]\n[[site]]\nhosts = [\"*\"]\norigins = [\"http://127.0.0.1:1\"]\n\
                [admin]\nlisten = \"127.0.0.1:0\"\ntoken_file = \"nosuch/token\"\n";
    std::fs::write(folder.path().join("edge.toml"), text).unwrap();
    let served = run(&["serve"], folder.path());
    let told = String::from_utf8_lossy(&served.stderr).into_owned();
    assert!(!served.status.success() && told.contains("nosuch/token"), "{told}");
    assert!(told.contains("admin.token_file = \"/var/lib/verge-edge/token\""), "{told}");
}

/// The start waits for no name, and the log says of one what clients would find out.
#[test]
fn the_start_tells_of_an_origin_that_is_not_found() {
    let folder = tempfile::tempdir().unwrap();
    let text = "listen = [\"127.0.0.1:0\"]\n[[site]]\nhosts = [\"a.test\"]\norigins = [\"http://nosuch.invalid\"]\n\
                [admin]\nlisten = \"127.0.0.1:0\"\n";
    std::fs::write(folder.path().join("edge.toml"), text).unwrap();
    let mut serving = super::serve_logging_to(std::process::Stdio::piped(), folder.path());
    let stderr = std::io::BufReader::new(serving.child.stderr.take().unwrap());
    let told =
        std::io::BufRead::lines(stderr).map_while(Result::ok).find(|line| line.contains("nosuch.invalid"));
    assert!(told.as_ref().is_some_and(|line| line.contains("is not found")), "{told:?}");
}
