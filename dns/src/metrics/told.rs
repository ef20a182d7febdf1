//! Counters of what answers tell and of what was asked, which the status page has no need of.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::counters::{PLACES, PROOFS, TYPES, kind_at, type_label};
use super::{Metrics, VIEWS, counters};
use crate::cookie::Proof;

impl Metrics {
    /// For all transports together.
    pub(super) fn encode_kinds(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut kinds: Vec<&str> = (0..PLACES).map(kind_at).collect();
        // All rcodes of what is no view's answer stand together.
        kinds.dedup();
        let all = VIEWS.iter().enumerate().flat_map(|(view_at, view)| {
            kinds.iter().map(move |kind| {
                let places = (0..PLACES).filter(|place| kind_at(*place) == *kind);
                let sum = places.map(|place| self.sum(None, |c| &c.sent[view_at][place])).sum();
                ([("view", view.as_str()), ("kind", *kind)], sum)
            })
        });
        counters(encoder, "answer_kinds", "Answers sent, by what they tell", all)
    }

    pub(super) fn encode_queries(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let all = VIEWS.iter().enumerate().flat_map(|(view_at, view)| {
            (0..=TYPES.len()).map(move |at| {
                let labels = [("view", view.as_str()), ("type", type_label(at))];
                (labels, self.sum(None, |c| &c.types[view_at][at]))
            })
        });
        counters(encoder, "queries", "Questions that were answered, by the type asked for", all)
    }

    pub(super) fn encode_truncated(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let all = VIEWS
            .iter()
            .enumerate()
            .map(|(at, view)| ([("view", view.as_str())], self.sum(None, |c| &c.truncated[at])));
        let help = "Answers that send the client to TCP because they are long";
        counters(encoder, "truncated", help, all)
    }

    pub(super) fn encode_cookies(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let all = PROOFS.iter().enumerate().map(|(at, proof)| {
            let word = if *proof == Proof::Proved { "proved" } else { "unproved" };
            ([("result", word)], self.sum(None, |c| &c.cookies[at]))
        });
        let help = "Answers to clients that sent a DNS cookie, by whether it proves their address";
        counters(encoder, "cookies", help, all)
    }
}
