//! The HTTP server: one thread, one task per connection.
//! In: the two requests of [`crate::message`]. Out: their response. A connection ends when either side
//! asks for it.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::tally::Tally;
use crate::message::{self, Answer};

/// Accepts connections until the process ends.
///
/// # Errors
/// The listener's.
pub(crate) async fn serve(
    listener: TcpListener,
    name: &str,
    tally: Arc<Tally>,
) -> anyhow::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (name, tally) = (name.to_owned(), tally.clone());
                let stream = accepted?.0;
                connections.spawn_local(async move {
                    if let Err(error) = connection(stream, name, &tally).await {
                        tally.count(|counts| counts.broken.push(format!("http: {error}")));
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(mut stream: TcpStream, server: String, tally: &Tally) -> anyhow::Result<()> {
    let answer = Answer {
        server,
        local: stream.local_addr()?,
        peer: stream.peer_addr()?,
    };
    tally.connection(answer.local, answer.peer);
    stream.set_nodelay(true)?;
    let response = answer.response();
    let mut buffer = [0; 1024];
    let mut have = 0;
    loop {
        let n = stream.read(&mut buffer[have..]).await?;
        if n == 0 {
            anyhow::ensure!(have == 0, "the client left in the middle of a request");
            return Ok(());
        }
        have += n;
        while let Some((end, keep)) = message::request(&buffer[..have])? {
            buffer.copy_within(end..have, 0);
            have -= end;
            tally.count(|counts| counts.requests += 1);
            stream.write_all(&response).await?;
            if !keep {
                stream.shutdown().await?;
                return Ok(());
            }
        }
    }
}
