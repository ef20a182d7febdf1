//! An object that is being read, so that its body is accounted for wherever it is kept.

use std::ops::Deref;
use std::sync::Arc;

use super::body::Holders;
use super::object::Object;

/// An object whose body somebody needs, wherever it is kept.
#[derive(Debug)]
pub struct Reading {
    object: Arc<Object>,
    need: Need,
}

/// The kinds of readers that need a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// A client is being sent it.
    Client,
    /// A fetch may store it again, or send it.
    Fetch,
}

impl Need {
    fn of(self, holders: &mut Holders) -> &mut usize {
        match self {
            Self::Client => &mut holders.readers,
            Self::Fetch => &mut holders.fetches,
        }
    }
}

impl Reading {
    /// By a client, from now on.
    #[must_use]
    pub fn new(object: Arc<Object>) -> Self {
        Self::by(Need::Client, object)
    }

    /// By a fetch, from now on: it is not let go unless it was before.
    #[must_use]
    pub fn for_fetch(object: Arc<Object>) -> Self {
        Self::by(Need::Fetch, object)
    }

    fn by(need: Need, object: Arc<Object>) -> Self {
        object.body.settle(|holders| *need.of(holders) += 1);
        Self { object, need }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let need = self.need;
        self.object.body.settle(|holders| *need.of(holders) -= 1);
    }
}

impl Deref for Reading {
    type Target = Arc<Object>;

    fn deref(&self) -> &Arc<Object> {
        &self.object
    }
}
