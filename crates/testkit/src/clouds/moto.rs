//! moto: AWS's services as somebody else has rebuilt them, in a server of this machine. It checks no signatures.

use std::process::Child;
use std::time::{Duration, Instant};

use crate::fault::{Fault, Result};
use crate::{lake, spawn};

/// How long the server may take to start: it loads all of Python's client for AWS.
const PATIENCE: Duration = Duration::from_mins(2);

/// A running server.
pub struct Moto {
    port: u16,
    child: Child,
}

impl Moto {
    /// Starts one and waits until it answers.
    pub fn start() -> Result<Self> {
        let port = free_port()?;
        let mut command = spawn::bound(&lake::python()?.to_string_lossy());
        command.args(["-B", "-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut moto = Self { port, child: spawn::start(command)? };
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = moto.child.try_wait().map_err(Fault::io("moto"))?;
            if let Some(status) = ended {
                return Err(Fault::Unexpected(format!("moto ended with {status}; cargo xtask setup installs it")));
            }
            if began.elapsed() > PATIENCE {
                return Err(Fault::Unexpected("moto did not start in time".into()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(moto)
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(Fault::io("a socket"))?;
    Ok(listener.local_addr().map_err(Fault::io("a socket"))?.port())
}
