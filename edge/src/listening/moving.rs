//! Sockets that a reload moves from one setting to another.

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

use super::operator::Operator;
use super::{Open, StartError, sockets};
use crate::config::{AdminAddress, Config};
use crate::handover::{Handed, Listener as For, Setting};
use crate::turn::Turn;

impl Open {
    /// The sockets of listeners whose address is another setting's from now on: bound anew it would be in use, and the
    /// connections that wait for it lost.
    pub(super) fn moving(&self, config: &Config) -> Result<Vec<Handed>, StartError> {
        let asked = asked(config);
        let moves = |setting: Setting, configured: SocketAddr| {
            let is_asked = |of: &dyn Fn(Setting) -> bool| {
                asked.iter().any(|(other, address)| *address == configured && of(*other))
            };
            let other = |other: Setting| other != setting && other.transport() == setting.transport();
            configured.port() != 0 && is_asked(&other) && !is_asked(&|other| other == setting)
        };
        let open = self
            .kinds()
            .into_iter()
            .flat_map(|(setting, open)| open.iter().map(move |one| (setting, one.configured, &one.copy)));
        let operator = self.operator.iter().filter_map(Operator::over_tcp);
        let operator = operator.map(|(configured, copy)| (Setting::Admin, configured, copy));
        open.chain(operator)
            .filter(|(setting, configured, _)| *setting != Setting::Quic && moves(*setting, *configured))
            .map(|(setting, configured, copy)| {
                let socket = copy.try_clone().map_err(|error| sockets::failed(setting, configured, error))?;
                Ok(Handed { listener: For::Of(setting, configured), socket, channels: Vec::new() })
            })
            .collect()
    }

    /// The turns of new listeners over TCP at the sockets of those that are open.
    pub(super) fn turns(&self) -> impl Fn(SocketAddr) -> Turn + use<> {
        let open = self.kinds().into_iter().filter(|(setting, _)| *setting != Setting::Quic);
        let open = open.flat_map(|(_, open)| open).map(|one| (one.address, one.closing.ended()));
        let operator = self.operator.iter().filter_map(|one| Some((one.address()?, one.ended.clone())));
        let before: Vec<(SocketAddr, CancellationToken)> = open.chain(operator).collect();
        move |address| {
            let same = before.iter().find(|(other, _)| *other == address);
            Turn::behind(same.map(|(_, ended)| ended.clone()))
        }
    }
}

/// The addresses of a config, each with its setting.
pub(super) fn asked(config: &Config) -> Vec<(Setting, SocketAddr)> {
    let mut asked = Vec::new();
    let mut add = |setting, all: &[SocketAddr]| asked.extend(all.iter().map(|one| (setting, *one)));
    add(Setting::Plain, &config.listen);
    config.tls.iter().for_each(|tls| add(Setting::Tls, &tls.listen));
    config.tls.iter().for_each(|tls| add(Setting::Quic, &tls.quic));
    if let Some(AdminAddress::Tcp(address)) = config.admin.as_ref().map(|admin| &admin.listen) {
        add(Setting::Admin, &[*address]);
    }
    config.streams.iter().for_each(|stream| add(Setting::Stream, &stream.listen));
    asked
}
