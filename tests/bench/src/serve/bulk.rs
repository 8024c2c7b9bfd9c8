//! The bulk sink: one thread per stream.
//! In: a stream of the pattern until its end. Out: one line with who received how much from whom.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::tally::Tally;
use crate::message::Answer;
use crate::pattern::{CHUNK, Pattern};

/// Longest silence of a sender.
const SILENCE: Duration = Duration::from_secs(20);

/// Accepts streams until the process ends.
pub(crate) fn serve(listener: &TcpListener, name: &str, tally: &Arc<Tally>) {
    let pattern = Arc::new(Pattern::new());
    for stream in listener.incoming().flatten() {
        let (name, tally, pattern) = (name.to_owned(), tally.clone(), pattern.clone());
        let thread = std::thread::Builder::new();
        let started = thread.spawn({
            let tally = tally.clone();
            move || {
                if let Err(error) = sink(stream, name, &tally, &pattern) {
                    tally.count(|counts| counts.broken.push(format!("bulk: {error}")));
                }
            }
        });
        if let Err(error) = started {
            tally.count(|counts| counts.broken.push(format!("bulk thread: {error}")));
        }
    }
}

fn sink(mut stream: TcpStream, server: String, tally: &Tally, pattern: &Pattern) -> io::Result<()> {
    let answer = Answer {
        server,
        local: stream.local_addr()?,
        peer: stream.peer_addr()?,
    };
    tally.connection(answer.local, answer.peer);
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    let mut buffer = vec![0; CHUNK];
    let mut received = 0_u64;
    loop {
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        if buffer[..n] != *pattern.at(received, n) {
            return Err(io::Error::other(format!(
                "changed bytes within {n} after {received}"
            )));
        }
        received += n as u64;
    }
    tally.count(|counts| counts.bytes += received);
    stream.write_all(format!("{}{received}", answer.text()).as_bytes())
}
