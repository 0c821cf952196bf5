//! A way to a server on which answers of the log's connections can get lost without a word, as behind a load balancer that has
//! forgotten a connection and keeps its own end of it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Parameters of a startup message by which a connection of the log is known.
const REPLICATION: &[u8] = b"replication\0database";

/// The way; it ends with its connections.
pub(crate) struct Way {
    pub(crate) port: u16,
    is_mute: Arc<AtomicBool>,
}

impl Way {
    /// To `port` of this machine.
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (here, is_mute) = (listener.local_addr().unwrap().port(), Arc::new(AtomicBool::new(false)));
        let shared = Arc::clone(&is_mute);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let is_mute = Arc::clone(&shared);
                thread::spawn(move || carry(client, port, &is_mute));
            }
        });
        Self { port: here, is_mute }
    }

    /// From here on nothing that the server says reaches a connection of the log.
    pub(crate) fn fall_mute(&self) {
        self.is_mute.store(true, Ordering::Release);
    }
}

fn carry(mut client: TcpStream, port: u16, is_mute: &AtomicBool) -> Option<()> {
    let mut first = [0; 4 << 10];
    let count = client.read(&mut first).ok()?;
    let said = &first[..count];
    let is_log = said.windows(REPLICATION.len()).any(|part| part == REPLICATION);
    let mut server = TcpStream::connect(("127.0.0.1", port)).ok()?;
    server.write_all(said).ok()?;
    let (mut asks, mut takes) = (client.try_clone().ok()?, server.try_clone().ok()?);
    let asking = thread::spawn(move || {
        let _ = std::io::copy(&mut asks, &mut takes);
        let _ = takes.shutdown(Shutdown::Both);
    });
    let mut answer = [0; 4 << 10];
    while let Ok(count @ 1..) = server.read(&mut answer) {
        if !(is_log && is_mute.load(Ordering::Acquire)) && client.write_all(&answer[..count]).is_err() {
            break;
        }
    }
    asking.join().ok()
}
