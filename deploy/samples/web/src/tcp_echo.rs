//! tcp-echo: every line comes back with a word before it.
//! In: lines of at most [`LINE`] bytes. Out: `<word> <line>`. A connection with a longer line is closed.
//! Owns: connections, at most [`CONNECTIONS`] at once; SIGTERM ends them.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Longest line, in bytes.
const LINE: u64 = 64 * 1024;
/// Most connections at once; more are closed.
const CONNECTIONS: usize = 1024;

/// Serves on every port until SIGTERM or SIGINT.
///
/// # Errors
/// A port that cannot be listened on.
pub async fn serve(ports: &[u16], word: String) -> anyhow::Result<()> {
    let word: Arc<str> = word.into();
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut listeners = JoinSet::new();
    for port in ports {
        let listener = TcpListener::bind(("::", *port))
            .await
            .with_context(|| format!("cannot listen on {port}"))?;
        listeners.spawn(accept(listener, word.clone(), room.clone()));
    }
    let mut stop = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
    tokio::select! {
        _ = stop.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    listeners.shutdown().await;
    Ok(())
}

async fn accept(listener: TcpListener, word: Arc<str>, room: Arc<Semaphore>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (Ok((mut stream, _)), Ok(permit)) = (accepted, room.clone().try_acquire_owned()) else {
                    // Out of descriptors or room: what is there gets a turn to end.
                    tokio::task::yield_now().await;
                    continue;
                };
                let word = word.clone();
                connections.spawn(async move {
                    let (reader, writer) = stream.split();
                    // A client that goes away is its own business.
                    let _ = echo(reader, writer, &word).await;
                    drop(permit);
                });
            }
            _ = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn echo(
    reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    word: &str,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        (&mut reader)
            .take(LINE)
            .read_until(b'\n', &mut line)
            .await?;
        if line.last() != Some(&b'\n') {
            return writer.shutdown().await;
        }
        writer.write_all(word.as_bytes()).await?;
        writer.write_all(b" ").await?;
        writer.write_all(&line).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::{LINE, echo};

    async fn answer(input: &[u8]) -> Vec<u8> {
        let mut output = Vec::new();
        echo(input, &mut output, "hello").await.unwrap();
        output
    }

    #[tokio::test]
    async fn lines_come_back_with_the_word() {
        assert_eq!(answer(b"world\n\nlast").await, b"hello world\nhello \n");
    }

    #[tokio::test]
    async fn a_line_without_end_is_not_kept() {
        let long = vec![b'a'; usize::try_from(LINE).unwrap() + 1];
        assert_eq!(answer(&long).await, b"");
    }
}
