//! Our own client of the server's protocol, version 3: simple queries, COPY out, and COPY in both directions, which is how
//! the log is read. Plain TCP; TLS comes with the caller's `sslmode`.
//!
//! Why not a ready-made client: none of the maintained ones speaks COPY BOTH, and the log must be decoded from the read
//! buffer. Messages to the server and authentication come from `postgres-protocol`.

pub(crate) mod cancel;
pub(crate) mod connect;
pub(crate) mod duplex;
pub(crate) mod input;
pub(crate) mod pace;
pub(crate) mod replies;
pub(crate) mod server_error;
pub(crate) mod session;
mod socket;
