//! Fetching what of an object is not stored yet: slices of a large one, the rest of a part.

use std::sync::Arc;

use http::{HeaderValue, StatusCode};

use super::Task;
use super::arriving::Arriving;
use super::asking::Response;
use super::keep::Storing;
use crate::flight::verdict::{Cut, Filling};
use crate::http::range::{Part, part};
use crate::origin::{Answered, Retry};
use crate::policy;
use crate::policy::headers::origin::Ask;
use crate::policy::select::{Fit, fit};
use crate::store::Object;

impl Task {
    /// Slices in which the client's range lies. If the origin gives something else, it is asked as the client asks.
    pub(super) async fn slice(&self, slice: &Part) -> Option<Storing> {
        let ask = if slice.is_all() { Ask::Whole } else { Ask::Slice(slice.range()) };
        match self.ask(&ask, Retry::Another).await {
            Err(no_answer) => self.unanswered(no_answer),
            Ok(answered) => match self.sliced(answered, slice) {
                Ok(storing) => storing,
                Err(NotThat) => self.ask_anew().await,
            },
        }
    }

    fn sliced(&self, answered: Answered, slice: &Part) -> Result<Option<Storing>, NotThat> {
        let response = self.response(answered);
        let holds = match response.head.status {
            StatusCode::OK => true,
            StatusCode::PARTIAL_CONTENT => part(&response.head).is_some_and(|part| part.holds(slice)),
            _ => false,
        };
        match self.admitted(&response) {
            Ok(lifetime) if holds => {
                let Response { answered, head, length, .. } = response;
                let version = answered.response.version();
                let entry = self.entry(&head, lifetime, length, &answered);
                // It may be of another representation by now: the client's If-Range, or its suffix, is about the stored one.
                if fit(&self.fetch.request, &entry) != Fit::Fits {
                    return Err(NotThat);
                }
                let filling = Filling { response: head, version, entry, length, cut: Cut::AsAsked };
                let body = Arriving::new(answered.response.into_body(), &self.fetch.site.metrics);
                Ok(self.storing(filling, body))
            }
            // A whole that may not be stored is an answer to a range (RFC 9110 §14.2).
            Err(why) if response.head.status == StatusCode::OK => Ok(self.apart(response, why)),
            _ => Err(NotThat),
        }
    }

    /// The rest of a stored part, joined to it (RFC 9111 §3.4).
    pub(super) async fn complete(
        &self,
        object: &Arc<Object>,
        missing: &Part,
        if_range: &HeaderValue,
    ) -> Option<Storing> {
        let ask = Ask::Rest { range: missing.range(), if_range: if_range.clone() };
        match self.ask(&ask, Retry::Another).await {
            Err(no_answer) => self.unanswered(no_answer),
            Ok(answered) => match answered.response.status() {
                StatusCode::PARTIAL_CONTENT => match self.joined(answered, object, missing) {
                    Ok(storing) => storing,
                    Err(NotThat) => self.ask_anew().await,
                },
                StatusCode::RANGE_NOT_SATISFIABLE => self.ask_anew().await,
                // It has changed, or the origin does not know ranges: this is the whole.
                _ => self.received(answered),
            },
        }
    }

    fn joined(
        &self,
        answered: Answered,
        object: &Object,
        missing: &Part,
    ) -> Result<Option<Storing>, NotThat> {
        let mut response = self.response(answered);
        response.length = missing.complete;
        response.head = policy::complete(&object.entry, missing, &response.head).ok_or(NotThat)?;
        let lifetime = self.admitted(&response).map_err(|_| NotThat)?;
        let Response { answered, head, length, .. } = response;
        let version = answered.response.version();
        let entry = self.entry(&head, lifetime, length, &answered);
        let filling = Filling { response: head, version, entry, length, cut: Cut::AsAsked };
        let body = answered.response.into_body();
        let held = object.body.pieces().ok_or(NotThat)?;
        Ok(self.storing(filling, Arriving::joined(held, missing, body, &self.fetch.site.metrics)))
    }
}

/// The origin's answer is not what was hoped for.
struct NotThat;
