//! The operator's HTTP: metrics, health, readiness.
