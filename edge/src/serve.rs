//! Sockets, and the one function that holds every branch of a request.
