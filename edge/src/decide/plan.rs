//! Plans for asking an origin.

use http::HeaderValue;

use crate::http::range::Part;
use crate::policy::validate::Validators;

/// A plan for asking an origin. `H` is a stored response: its place among the variants, its entry or object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan<H> {
    /// The whole response, to be stored.
    Whole {
        /// Something stale that may be served if the origin fails.
        reserve: Option<H>,
    },
    /// Whether a stored one still holds.
    Validate {
        /// The stored one.
        held: H,
        /// The conditions to send.
        validators: Validators,
    },
    /// A piece of a large object, of which a client asks for less.
    Slice(Part),
    /// The bytes that a stored part lacks of the whole.
    Complete {
        /// The stored part.
        held: H,
        /// The part that it lacks.
        missing: Part,
        /// Its strong tag.
        if_range: HeaderValue,
    },
    /// The head alone, for the request that asks for it (RFC 9110 §9.3.2).
    Head {
        /// Something stored that may be served if the origin fails.
        reserve: Option<H>,
    },
}

impl<H> Plan<H> {
    /// The stored response that the plan builds on.
    #[must_use]
    pub fn held(&self) -> Option<&H> {
        match self {
            Self::Whole { reserve } | Self::Head { reserve } => reserve.as_ref(),
            Self::Validate { held, .. } | Self::Complete { held, .. } => Some(held),
            Self::Slice(_) => None,
        }
    }

    /// The same about what `view` shows of the stored one.
    #[must_use]
    pub fn of<'a, G>(&'a self, view: impl FnOnce(&'a H) -> G) -> Plan<G> {
        match self {
            Self::Whole { reserve } => Plan::Whole { reserve: reserve.as_ref().map(view) },
            Self::Head { reserve } => Plan::Head { reserve: reserve.as_ref().map(view) },
            Self::Validate { held, validators } => {
                Plan::Validate { held: view(held), validators: validators.clone() }
            }
            Self::Slice(slice) => Plan::Slice(*slice),
            Self::Complete { held, missing, if_range } => {
                Plan::Complete { held: view(held), missing: *missing, if_range: if_range.clone() }
            }
        }
    }

    /// The same about what `resolve` makes of the stored one.
    #[must_use]
    pub fn map<G>(self, resolve: impl FnOnce(H) -> G) -> Plan<G> {
        match self {
            Self::Whole { reserve } => Plan::Whole { reserve: reserve.map(resolve) },
            Self::Head { reserve } => Plan::Head { reserve: reserve.map(resolve) },
            Self::Validate { held, validators } => Plan::Validate { held: resolve(held), validators },
            Self::Slice(slice) => Plan::Slice(slice),
            Self::Complete { held, missing, if_range } => {
                Plan::Complete { held: resolve(held), missing, if_range }
            }
        }
    }
}
