//! The database of places while the server runs: it is optional, so that nothing else waits for it.

use std::sync::Arc;

use super::Follow;
use crate::config::Config;

/// Gives a new config whose database cannot be read the networks that the one in force knows.
pub(super) fn keep_networks(new: &mut Config, in_force: &Config) {
    let Some(fault) = new.database_fault() else { return };
    tracing::error!(
        "the database of places cannot be read; the networks that were read before stay\n{fault}"
    );
    new.steer.places = Arc::new(new.steer.places.with_networks_of(&in_force.steer.places));
}

impl Follow {
    /// Reads the database of the config in force if another file is in its place. The config's own file may be half edited, so it
    /// is not read until somebody asks for it.
    pub(super) fn follow_database(&mut self) {
        let Config { database, steer, .. } = &mut self.config;
        let Some(database) = database.as_mut().filter(|database| database.is_new()) else { return };
        let places = database.read(&steer.places);
        let fault = database.fault();
        self.service.tell_database(&self.config);
        if let Some(places) = places {
            tracing::info!("the database of places has changed");
            self.config.steer.places = Arc::new(places);
            let terms = self.secrets.clone().over(self.config.terms());
            self.catalog.set_terms(vec![self.config.zones.clone()], terms);
        }
        // This file is not tried again, so that it is told once.
        if let Some(fault) = fault {
            tracing::error!(
                "the database of places cannot be read; the networks that were read before stay\n{fault}"
            );
            self.service.progress.send_modify(|loads| loads.ended += 1);
        }
    }
}
