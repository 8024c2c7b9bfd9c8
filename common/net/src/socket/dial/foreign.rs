//! Dialling in somebody else's name: the source address is a client's, the source port is ours to pick.
//! In: a [`DialSpec`] with a source address, and ports to try. Out: a connection, on a port that the client does not use.
//! Must not happen here: a port picked as the kernel would, for the client's kernel picks likewise.
//!
//! The client may have connections of its own to the same application, which end in the same namespace. Only the port
//! tells those from ours, and no call tells us which are taken: the tuple is the mirror of ours. A SYN on a tuple
//! that lives gets an answer to nobody, so both ways a dialler waits in vain: we, or the client itself later on.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{DialError, DialSpec};
use crate::socket::Step;

/// A port that a client hardly has itself: connect(2) of Linux takes ports of the parity its range begins with,
/// even ones by default, before any other.
pub(super) fn port() -> u16 {
    rand::random::<u16>() | HIGH | ODD
}

/// Dials until `spec.timeout`, from another port where there is silence.
pub(super) async fn dial(
    spec: &DialSpec<'_>,
    mut port: impl FnMut() -> u16,
) -> Result<TcpStream, DialError> {
    let ends = Instant::now() + spec.timeout;
    let left = || ends.saturating_duration_since(Instant::now());
    for patience in PATIENCE {
        match once(spec, &mut port, patience.min(left())).await {
            Err(DialError::Timeout { .. }) => {
                tracing::debug!(to = %spec.to, from = ?spec.from, "no answer: another source port");
            }
            answered => return answered,
        }
    }
    match once(spec, &mut port, left()).await {
        Err(DialError::Timeout { to, .. }) => Err(DialError::Timeout {
            to,
            after: spec.timeout,
        }),
        answered => answered,
    }
}

async fn once(
    spec: &DialSpec<'_>,
    mut port: impl FnMut() -> u16,
    patience: Duration,
) -> Result<TcpStream, DialError> {
    for _ in 0..TRIES {
        let tried = match spec.prepare_from(port()) {
            Ok(socket) => spec.connect(socket, patience).await,
            Err(error) => Err(error),
        };
        match tried {
            Err(error) if is_taken(&error) => {}
            answered => return answered,
        }
    }
    // Nearly all are in use: only the kernel finds the rest.
    spec.connect(spec.prepare_from(0)?, patience).await
}

/// Whether a socket of the namespace has the port: a listener, or one of ours to the same destination.
fn is_taken(error: &DialError) -> bool {
    match error {
        DialError::Socket {
            step: Step::Bind,
            source,
            ..
        } => source.kind() == io::ErrorKind::AddrInUse,
        DialError::Connect { source, .. } => source.kind() == io::ErrorKind::AddrNotAvailable,
        _ => false,
    }
}

const HIGH: u16 = 0x8000;
const ODD: u16 = 1;
const TRIES: usize = 16;
/// The application is in the same namespace: who does not answer before the kernel would ask again (1 s), is not asked.
const PATIENCE: [Duration; 2] = [Duration::from_millis(900), Duration::from_secs(2)];

#[cfg(test)]
mod tests;
