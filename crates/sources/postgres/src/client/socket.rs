//! A socket that does not block, and is watched only while somebody waits for it: a stream of many small sends would wake a
//! process that pauses at each of them, tens of thousands of times a second, to no end.

use std::io::{self, Write};
use std::net::TcpStream;

use tokio::io::Interest;

/// Sends all of it.
pub(super) async fn send(socket: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    let (mut socket, mut rest) = (socket, bytes);
    while !rest.is_empty() {
        match socket.write(rest) {
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready(socket, Interest::WRITABLE).await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits until there may be something to read.
pub(super) async fn readable(socket: &TcpStream) -> io::Result<()> {
    ready(socket, Interest::READABLE).await
}

async fn ready(socket: &TcpStream, interest: Interest) -> io::Result<()> {
    let watched = tokio::net::TcpStream::from_std(socket.try_clone()?)?;
    watched.ready(interest).await.map(drop)
}
