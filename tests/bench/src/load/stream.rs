//! One HTTP connection of a client, blocking or not.
//! In: an address. Out: answers, compared with the first on the same connection.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::PATIENCE;
use crate::message::{Answer, CLOSE, KEEP, RESPONSE};

/// A keep-alive connection on a thread of its own.
pub(crate) struct Blocking {
    stream: TcpStream,
    first: Option<[u8; RESPONSE]>,
}

impl Blocking {
    /// Connects.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn connect(to: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect_timeout(&to, PATIENCE).context("connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            first: None,
        })
    }

    /// One request and its answer.
    ///
    /// # Errors
    /// The connection ended, or the response is not the one before.
    pub(crate) fn ask(&mut self) -> anyhow::Result<()> {
        self.stream.write_all(KEEP).context("send request")?;
        let mut response = [0; RESPONSE];
        self.stream
            .read_exact(&mut response)
            .context("read response")?;
        same(&mut self.first, response)
    }

    /// Who answered; asks if nobody has yet.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(crate) fn answer(&mut self) -> anyhow::Result<Answer> {
        if self.first.is_none() {
            self.ask()?;
        }
        Answer::from_response(self.first.as_ref().context("no response")?)
    }
}

/// A connection on a runtime.
pub(crate) struct Polled {
    stream: tokio::net::TcpStream,
    first: Option<[u8; RESPONSE]>,
}

impl Polled {
    /// Connects.
    ///
    /// # Errors
    /// The kernel's, or [`PATIENCE`] is over.
    pub(crate) async fn connect(to: SocketAddr) -> anyhow::Result<Self> {
        let stream = tokio::time::timeout(PATIENCE, tokio::net::TcpStream::connect(to))
            .await
            .context("connect: no answer")?
            .context("connect")?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            first: None,
        })
    }

    /// One request and its answer.
    ///
    /// # Errors
    /// As [`Blocking::ask`].
    pub(crate) async fn ask(&mut self) -> anyhow::Result<()> {
        self.stream.write_all(KEEP).await.context("send request")?;
        let mut response = [0; RESPONSE];
        self.stream
            .read_exact(&mut response)
            .await
            .context("read response")?;
        same(&mut self.first, response)
    }

    /// The last request: its answer, and then the end of the connection by the server.
    ///
    /// # Errors
    /// As [`Blocking::ask`], and anything after the response.
    pub(crate) async fn ask_and_close(mut self) -> anyhow::Result<Answer> {
        self.stream.write_all(CLOSE).await.context("send request")?;
        let mut response = [0; RESPONSE];
        self.stream
            .read_exact(&mut response)
            .await
            .context("read response")?;
        let rest = self.stream.read(&mut [0; 1]).await.context("read end")?;
        ensure!(rest == 0, "bytes after the response");
        Answer::from_response(&response)
    }

    /// Who answered last.
    ///
    /// # Errors
    /// Nobody has yet.
    pub(crate) fn answer(&self) -> anyhow::Result<Answer> {
        Answer::from_response(self.first.as_ref().context("no response")?)
    }
}

fn same(first: &mut Option<[u8; RESPONSE]>, response: [u8; RESPONSE]) -> anyhow::Result<()> {
    match first {
        None => {
            Answer::from_response(&response)?;
            *first = Some(response);
        }
        Some(first) => ensure!(
            *first == response,
            "another response on the same connection"
        ),
    }
    Ok(())
}
