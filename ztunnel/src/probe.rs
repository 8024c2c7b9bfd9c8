//! `ztunnel probe`: a plain TCP peer for trying a mesh from inside, by `ambit upgrade`.
//! In: `listen PORT`, or `dial ADDRESS:PORT`. Out: whether a line came back. Owns its sockets.
//! Must not happen here: anything of the mesh; it is an application like any other.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail};

/// The line that is sent and comes back.
const LINE: &str = "ambit-probe\n";
/// Of each step of an exchange.
const PATIENCE: Duration = Duration::from_secs(5);
/// Peers may not know each other for a moment.
const TRIES: u32 = 30;
const PAUSE: Duration = Duration::from_millis(500);
/// Exchanges that must succeed one after the other.
const EXCHANGES: u32 = 5;

/// Runs what the arguments say, and gives what there is to print.
///
/// # Errors
/// Arguments that mean nothing, a port that cannot be listened on, no answer.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<String> {
    match arguments {
        [verb, port] if verb == "listen" => listen(port.parse().context("PORT")?),
        [verb, address] if verb == "dial" => dial(address.parse().context("ADDRESS:PORT")?),
        _ => bail!("usage: ztunnel probe listen PORT | dial ADDRESS:PORT"),
    }
}

/// Sends back what it reads, one peer after the other, until the process is ended.
fn listen(port: u16) -> anyhow::Result<String> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).context("listen")?;
    for peer in listener.incoming() {
        // A peer that fails says so itself.
        let _ = peer.and_then(echo);
    }
    Ok(String::new())
}

fn echo(mut peer: TcpStream) -> io::Result<()> {
    peer.set_read_timeout(Some(PATIENCE))?;
    peer.set_write_timeout(Some(PATIENCE))?;
    let mut line = Vec::new();
    BufReader::new((&mut peer).take(LINE.len() as u64)).read_until(b'\n', &mut line)?;
    peer.write_all(&line)
}

fn dial(to: SocketAddr) -> anyhow::Result<String> {
    let mut tries = 1;
    while let Err(error) = exchange(to) {
        if tries == TRIES {
            return Err(error).with_context(|| format!("{to} after {tries} tries"));
        }
        tries += 1;
        std::thread::sleep(PAUSE);
    }
    for _ in 1..EXCHANGES {
        exchange(to).with_context(|| format!("{to} after a first answer"))?;
    }
    Ok(format!(
        "{EXCHANGES} exchanges with {to}, the first at try {tries}"
    ))
}

fn exchange(to: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(LINE.as_bytes())?;
    let mut answer = vec![0; LINE.len()];
    stream.read_exact(&mut answer)?;
    if answer == LINE.as_bytes() {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        "another line came back",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            for _ in 0..EXCHANGES {
                echo(listener.accept().unwrap().0).unwrap();
            }
        });
        let said = dial(address).unwrap();
        assert_eq!(
            said,
            format!("5 exchanges with {address}, the first at try 1")
        );
        server.join().unwrap();
    }

    #[test]
    fn other_arguments_are_refused() {
        for bad in [&["listen"][..], &["dial", "nowhere"], &["listen", "x"], &[]] {
            let arguments: Vec<String> = bad.iter().map(|a| (*a).to_owned()).collect();
            assert!(run(&arguments).is_err(), "{bad:?}");
        }
    }
}
