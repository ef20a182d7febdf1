//! What an operator may write, parsed into types that cannot be wrong.
