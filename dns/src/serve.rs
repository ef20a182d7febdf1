//! How it travels: sockets, reload, drain. The only part of verge-dns that does IO.
