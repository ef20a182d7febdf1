//! Notices of change (NOTIFY, RFC 1996): heard of the primaries of a zone that is taken from them, and of nobody else.
//!
//! Invariant: to all others the answer is the same bytes, whether there is such a zone or not (D14, D16).

use std::net::IpAddr;

use super::query::{self, Verdict};
use super::signature::Signature;
use super::{CLASS_IN, Content, Draft, Exchange, Moment, Outcome, Sent};
use crate::client::Client;
use crate::name::Name;
use crate::rcode::Rcode;
use crate::rtype::Type;
use crate::transfer::Secondary;
use crate::world::World;

/// A primary says that it has a new version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Noticed {
    pub(crate) apex: Name,
    pub(crate) from: IpAddr,
    /// By the zone's key. All other notices can be forged.
    pub(crate) is_proved: bool,
}

/// The notice that a message is, if it is one and its sender is a primary of the zone; `outcome` is that of its answer.
pub(crate) fn noticed(
    world: &World,
    packet: &[u8],
    outcome: &Outcome<'_>,
    client: &Client,
    now: Moment,
) -> Option<Noticed> {
    if world.protocol.secondaries.is_empty() || !query::is_notify(packet) {
        return None;
    }
    // A notice that was refused, or came too often, is not looked at again.
    let Outcome::Sent(Sent { rcode: Rcode::NoError, .. }) = outcome else { return None };
    let message = query::read(packet).ok().filter(|message| message.verdict == Verdict::Notify)?;
    let signature = Signature::of(&message, &world.protocol.keys, now);
    let exchange = Exchange::new(world, signature, &message, client, now);
    let secondary = exchange.noticed()?;
    let is_proved = matches!(exchange.signature, Signature::Good(_));
    Some(Noticed { apex: secondary.apex.clone(), from: client.real_address(), is_proved })
}

impl<'w: 'm, 'm> Exchange<'w, 'm> {
    pub(super) fn answer_to_notice(&self) -> Draft<'w, 'm> {
        if self.world.protocol.secondaries.is_empty() {
            return Draft { content: Content::HeaderOnly, ..Draft::without_data(Rcode::NotImp, None) };
        }
        match (self.signature.refusal(), self.noticed()) {
            (Some(refusal), _) => Draft::without_data(refusal, None),
            (None, Some(_)) => Draft::without_data(Rcode::NoError, None),
            (None, None) => Draft::without_data(Rcode::Refused, None),
        }
    }

    /// The zone that this notice is about. A primary that signs nothing is believed by its address, which can be forged: what
    /// it says is looked up, and costs a question now and then at most.
    fn noticed(&self) -> Option<&'w Secondary> {
        let question =
            self.message.question.as_ref().filter(|it| it.qclass == CLASS_IN && it.qtype == Type::SOA)?;
        let secondary = self.world.protocol.secondaries.get(question.name())?;
        let is_primary = secondary.primaries.contains(&self.client.real_address());
        let is_signed = match &self.signature {
            Signature::None => true,
            Signature::Good(signer) => Some(&signer.key().name) == secondary.key.as_ref(),
            Signature::Refused(_) => false,
        };
        (is_primary && is_signed).then_some(secondary)
    }
}
