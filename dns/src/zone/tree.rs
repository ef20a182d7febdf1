//! A zone of one view, immutable: exact name, empty non-terminal, cut and closest encloser by hash look-ups.
