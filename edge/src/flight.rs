//! One fetch per key however many ask; readers stream while it fills.
