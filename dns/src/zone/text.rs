//! RDATA in presentation form, both ways, by the shapes of [`crate::rdata`].
