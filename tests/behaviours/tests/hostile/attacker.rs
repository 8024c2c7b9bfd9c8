//! Somebody outside the mesh who dials a pod's tunnel port.
//! In: what to send. Out: how the connection ended.

use ambit_behaviours::town::SOON;
use ambit_harness::netns;
use anyhow::{Context as _, Result, ensure};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where an attacker is and whom it attacks.
#[derive(Clone)]
pub(crate) struct Attacker {
    /// Its network namespace.
    pub(crate) netns: PathBuf,
    /// A pod's tunnel port.
    pub(crate) to: SocketAddr,
}

impl Attacker {
    /// Connects.
    pub(crate) async fn tcp(&self) -> Result<TcpStream> {
        let stream = netns::connect(&self.netns, self.to, SOON).await;
        stream.context("the tunnel port cannot be reached")
    }

    /// Connects with TLS. A refused client certificate shows only at the first read.
    pub(crate) async fn tls(&self, config: &Arc<ClientConfig>) -> Result<TlsStream<TcpStream>> {
        let name = ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into());
        let handshake = TlsConnector::from(config.clone()).connect(name, self.tcp().await?);
        Ok(tokio::time::timeout(SOON, handshake).await??)
    }

    /// Says `bytes` in TCP and waits for the end.
    pub(crate) async fn says(self, bytes: Vec<u8>) -> Result<()> {
        let mut stream = self.tcp().await?;
        stream.write_all(&bytes).await?;
        closed(stream).await
    }

    /// Says `bytes` in TLS and waits for the end.
    pub(crate) async fn says_within(self, tls: Arc<ClientConfig>, bytes: Vec<u8>) -> Result<()> {
        let mut stream = self.tls(&tls).await?;
        // One that is refused may find the connection gone already.
        let _ = stream.write_all(&bytes).await;
        let _ = stream.flush().await;
        closed(stream).await
    }
}

/// Waits until the other side has closed.
pub(crate) async fn closed(mut stream: impl AsyncRead + Unpin) -> Result<()> {
    let mut rest = Vec::new();
    // A reset is as good an end.
    let end = tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await;
    ensure!(end.is_ok(), "still open");
    Ok(())
}

/// `n` at once; the first mistake of any is everybody's.
pub(crate) async fn crowd<T, F>(n: usize, one: impl Fn(usize) -> F) -> Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    queue(n, n, one).await
}

/// `n`, of which no more than `most` at once: where each must get through a handshake within its time on a
/// machine that is busy.
pub(crate) async fn queue<T, F>(n: usize, most: usize, one: impl Fn(usize) -> F) -> Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let (mut all, mut done) = (JoinSet::new(), Vec::with_capacity(n));
    for i in 0..n {
        if all.len() >= most
            && let Some(one) = all.join_next().await
        {
            done.push(one??);
        }
        all.spawn(one(i));
    }
    while let Some(one) = all.join_next().await {
        done.push(one??);
    }
    Ok(done)
}
