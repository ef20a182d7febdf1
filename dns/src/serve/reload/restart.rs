//! Settings that a reload does not apply.

use crate::config::{AdminAddress, Config, Tls};

/// The settings that are read at the start only and that differ.
pub(super) fn restart_needed(old: &Config, new: &Config) -> Vec<&'static str> {
    let differences = [
        ("listen", old.listen != new.listen),
        ("internal.listen", old.internal.listen != new.internal.listen),
        ("admin.listen", listener(old) != listener(new)),
        ("admin.tls", certificate(old) != certificate(new)),
        ("log", old.log != new.log),
        ("udp", old.udp != new.udp),
        ("tcp", old.tcp != new.tcp),
        ("listen_tls, listen_https or listen_quic", old.encrypted != new.encrypted),
        ("internal's encrypted listeners", old.internal.encrypted != new.internal.encrypted),
        ("tls", old.tls != new.tls),
        ("https", old.https != new.https),
        ("steer.quorum", old.quorum != new.quorum),
        ("rate_limit", old.rate_limit != new.rate_limit),
        ("run_folder", old.run_folder != new.run_folder),
    ];
    differences.iter().filter(|(_, differs)| *differs).map(|(setting, _)| *setting).collect()
}

fn listener(config: &Config) -> Option<&AdminAddress> {
    config.admin.as_ref().map(|admin| &admin.listen)
}

fn certificate(config: &Config) -> Option<&Tls> {
    config.admin.as_ref().and_then(|admin| admin.tls.as_ref())
}
