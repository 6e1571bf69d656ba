//! The least of an HTTP server: what webhooks of tests and benchmarks listen with.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Listens until it is dropped.
pub struct Server {
    pub port: u16,
    stop: Arc<AtomicBool>,
}

impl Server {
    /// Answers what comes to this port of 127.0.0.1, any that is free for 0, with the status that `answer` gives for head
    /// and body; or hangs up where it gives none. Each connection has a thread, so that one that hangs holds no other up.
    pub fn start(port: u16, answer: impl Fn(&str, &[u8]) -> Option<u16> + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let (stop, answer) = (Arc::new(AtomicBool::new(false)), Arc::new(answer));
        let stopped = stop.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let answer = answer.clone();
                thread::spawn(move || stream.and_then(|stream| serve(stream, &*answer)));
            }
        });
        Server { port, stop }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It looks at that when somebody comes.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Answers the requests of one connection.
fn serve(mut stream: TcpStream, answer: &dyn Fn(&str, &[u8]) -> Option<u16>) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let length =
            head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body)?;
        let Some(status) = answer(&head, &body) else { return Ok(()) };
        stream.write_all(format!("HTTP/1.1 {status} Told\r\nContent-Length: 0\r\n\r\n").as_bytes())?;
    }
}
