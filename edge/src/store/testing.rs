//! Objects for tests.

use std::sync::Arc;

use super::{Body, Bounds, Eviction, Object};
use crate::http::testing::{at, get, response};
use crate::policy::{Admit, Entry, admit};
use crate::site::Rules;

/// An object with this body that no store has.
pub(crate) fn object(body: Arc<Body>) -> Arc<Object> {
    let (asked, head) = (get(&[]), response(200, &[("cache-control", "max-age=1000")]));
    let Admit::Keep(lifetime) = admit(&asked, &head, at(0), &Rules::default(), at(0)) else { panic!() };
    let entry = Entry::new(&asked, &head, lifetime, at(0), at(0), Some(body.bytes()));
    let store = super::Store::new(&Bounds {
        memory_bytes: 1 << 20,
        eviction: Eviction::Lru,
        tag_fields: Default::default(),
    });
    Arc::new(Object::new(entry, body, "a".into(), store.begin().epoch()))
}
