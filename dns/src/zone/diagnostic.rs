//! Problems as a person reads them: file:line:column, the line, a caret, the reason, what to do.
