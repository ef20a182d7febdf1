//! Which records each view may hold: rules D1 to D13 as a least fixpoint over all loaded zones.
