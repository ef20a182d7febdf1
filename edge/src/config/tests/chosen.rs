use super::*;
use crate::serve::Chosen;

const TLS: &str = "listen = [\"0.0.0.0:80\", \"10.0.0.1:81\"]
listen_tls = [\"0.0.0.0:443\", \"[::]:443\", \"0.0.0.0:8443\"]
listen_quic = [\"0.0.0.0:8443\", \"10.0.0.1:9443\"]
TOP
[tls]
certificate = \"a.pem\"
key = \"a.key\"
[tls.clients]
ca = \"ca.pem\"
CLIENTS
[[site]]
hosts = [\"*\"]
origins = [\"http://127.0.0.1:8000\"]
";

fn with(top: &str, clients: &str) -> Result<Config, ConfigError> {
    read(&TLS.replace("TOP", top).replace("CLIENTS", clients))
}

fn at(addresses: &[&str]) -> Chosen {
    Chosen::At(addresses.iter().map(|address| address.parse().unwrap()).collect())
}

#[test]
fn a_setting_is_for_all_listeners_or_for_those_that_it_names() {
    let config = with("proxy_protocol = [\"10.0.0.5\"]", "").unwrap();
    assert_eq!((config.tls.unwrap().clients_at, config.proxy_protocol.at), (Chosen::All, Chosen::All));
    let top = "proxy_protocol = [\"10.0.0.5\"]\nproxy_protocol_listen = [\"10.0.0.1:81\", \"0.0.0.0:8443\"]";
    let config = with(top, "listen = [\"0.0.0.0:8443\", \"10.0.0.1:9443\"]").unwrap();
    assert_eq!(config.proxy_protocol.at, at(&["10.0.0.1:81", "0.0.0.0:8443"]));
    assert_eq!(config.tls.unwrap().clients_at, at(&["0.0.0.0:8443", "10.0.0.1:9443"]));
    assert!(at(&["10.0.0.1:81"]).has("10.0.0.1:81".parse().unwrap()));
    assert!(!at(&["10.0.0.1:81"]).has("10.0.0.1:82".parse().unwrap()));
}

#[test]
fn an_address_that_is_no_listener_is_pointed_at() {
    let clients = |list: &str| with("", &format!("listen = {list}")).unwrap_err().to_string();
    let proxies = |list: &str| {
        let top = format!("proxy_protocol = [\"10.0.0.5\"]\nproxy_protocol_listen = {list}");
        with(&top, "").unwrap_err().to_string()
    };
    let check = |error: String, place: &str, message: &str, help: &str| {
        assert!(error.starts_with(&format!("edge.toml:{place}: error: {message}")), "{error}");
        assert!(error.contains(&format!("= help: {help}")), "{error}");
    };
    let no_listener = "no listener has this address";
    check(
        clients("[\"0.0.0.0:8443\", \"0.0.0.0:80\"]"),
        "10:27",
        no_listener,
        "write addresses as `listen_tls` and",
    );
    check(
        proxies("[\"10.0.0.1:9443\"]"),
        "5:26",
        no_listener,
        "write addresses as `listen` and `listen_tls` have them",
    );
    check(clients("[]"), "10:10", "a list of no listener", "write addresses as");
    check(clients("[\"[::]:443\"]"), "10:11", "0.0.0.0:443 is not named", "name the two addresses");
    let alone = with("proxy_protocol_listen = [\"0.0.0.0:80\"]", "").unwrap_err().to_string();
    check(alone, "4:25", "`proxy_protocol_listen` is for no proxy", "write `proxy_protocol` too");
}
