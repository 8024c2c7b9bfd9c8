//! One event loop for connections with small messages.
//! In: a listener and where to connect. Out: connections relayed; the end of a direction is passed on, a
//! broken connection is closed on both sides.
//! Owns: every connection's task and one buffer each, as long as a record.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::ops::Range;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::task::{JoinSet, LocalSet};

use super::record::{CONTENT, HEADER, STRIDE, Sealer};
use super::sealed::{open_whole, seal_slots};
use super::{Mode, Work};

/// Relays on this thread until the process ends.
///
/// # Errors
/// The listener's.
pub(crate) fn serve(listener: TcpListener, to: SocketAddr, mode: Mode) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let client = accepted?.0;
                    connections.spawn_local(relay(client, to, mode));
                }
                // Whoever dialled sees a connection that broke, and the bench fails.
                Some(_) = connections.join_next() => {}
            }
        }
    })
}

async fn relay(mut client: TcpStream, to: SocketAddr, mode: Mode) -> io::Result<()> {
    let mut server = TcpStream::connect(to).await?;
    server.set_nodelay(true)?;
    let (client_in, client_out) = client.split();
    let (server_in, server_out) = server.split();
    tokio::try_join!(
        direction(mode.front(), client_in, server_out),
        direction(mode.rear(), server_in, client_out),
    )?;
    Ok(())
}

async fn direction(work: Work, from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
    match work {
        Work::Copy => copy(from, &mut to).await?,
        Work::Seal => seal(from, &mut to).await?,
        Work::Open => open(from, &mut to).await?,
    }
    to.shutdown().await
}

async fn copy(mut from: ReadHalf<'_>, to: &mut WriteHalf<'_>) -> io::Result<()> {
    let mut buffer = vec![0; CONTENT];
    loop {
        let n = from.read(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..n]).await?;
    }
}

async fn seal(mut from: ReadHalf<'_>, to: &mut WriteHalf<'_>) -> io::Result<()> {
    let mut sealer = Sealer::new();
    let mut buffer = vec![0; STRIDE];
    loop {
        let n = from.read(&mut buffer[HEADER..HEADER + CONTENT]).await?;
        if n == 0 {
            return Ok(());
        }
        let end = seal_slots(&mut sealer, &mut buffer, n)?;
        to.write_all(&buffer[..end]).await?;
    }
}

async fn open(mut from: ReadHalf<'_>, to: &mut WriteHalf<'_>) -> io::Result<()> {
    let mut opener = Sealer::new();
    let mut opened: Vec<Range<usize>> = Vec::new();
    let mut buffer = vec![0; STRIDE];
    let mut have = 0;
    loop {
        let n = from.read(&mut buffer[have..]).await?;
        if n == 0 {
            return if have == 0 {
                Ok(())
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
        have += n;
        let start = open_whole(&mut opener, &mut buffer[..have], &mut opened)?;
        for content in &opened {
            to.write_all(&buffer[content.clone()]).await?;
        }
        buffer.copy_within(start..have, 0);
        have -= start;
    }
}
