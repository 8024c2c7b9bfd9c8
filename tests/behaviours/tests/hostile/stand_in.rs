//! Somebody in the controller's place, with a certificate of the mesh, who answers whatever is asked with
//! bytes of its own.
//! In: a lab whose controller is gone, the bytes. Out: how often proxies asked.

use crate::certificates::{Authority, server};
use ambit_harness::names::xds_address;
use ambit_harness::{Lab, netns, until};
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::Response;
use prost::Message;
use rcgen::SanType;
use rustls::ServerConfig;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

/// Name by which proxies know the controller.
pub(crate) const CONTROLLER: &str = "istiod.istio-system.svc";
/// The method of a proxy's stream.
pub(crate) const DISCOVER: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
/// A gRPC message of five bytes that no protobuf parser takes.
pub(crate) const GARBAGE: &[u8] = b"\0\0\0\0\x05\xff\xff\xff\xff\xff";
/// A gRPC message that says it is four gigabytes long.
pub(crate) const ENDLESS: &[u8] = b"\0\xff\xff\xff\xff\x0a";
/// A proxy's waits between streams that fail: the first one, doubled each time, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(10);
const LAST_WAIT: Duration = Duration::from_secs(15);

/// Bytes of what is no message and could be kept.
const HEAVY: usize = 1 << 20;
/// A proxy's stream that has lived for so long was a good one: the next waits as if it were the first.
const SETTLED: Duration = Duration::from_secs(5);

/// How long the mesh may take to follow a change.
const SOON: Duration = Duration::from_secs(60);

/// A gRPC message of a megabyte that no protobuf parser takes.
pub(crate) fn garbage() -> Vec<u8> {
    let length = u32::try_from(HEAVY).expect("a megabyte");
    [&[0][..], &length.to_be_bytes(), &vec![0xff; HEAVY]].concat()
}

/// The first megabyte of a message that says it is four gigabytes long.
pub(crate) fn endless() -> Vec<u8> {
    [ENDLESS, &vec![0x0a; HEAVY]].concat()
}

/// Waits until streams that were up at `since` are good ones to their proxies.
pub(crate) async fn settled(since: Instant) -> Result<()> {
    let lived = until("streams have lived long enough", SOON, || async {
        let lived = since.elapsed();
        if lived >= SETTLED { Ok(()) } else { Err(lived) }
    });
    Ok(lived.await?)
}

/// Streams opened, by the proxy's address.
type Streams = Arc<Mutex<BTreeMap<IpAddr, usize>>>;

/// The stand-in; dropped, it is gone.
pub(crate) struct StandIn {
    streams: Streams,
    serving: JoinSet<()>,
}

impl StandIn {
    /// Answers each call of each connection with `bytes`.
    pub(crate) async fn answering(lab: &Lab, bytes: impl Into<Bytes>) -> Result<Self> {
        let authority = Authority::of_lab(&lab.run_dir())?;
        let tls = server(authority.leaf(vec![SanType::DnsName(CONTROLLER.try_into()?)])?)?;
        let (streams, mut serving) = (Streams::default(), JoinSet::new());
        let listener = in_its_place(lab).await?;
        serving.spawn(answer_all(listener, tls, bytes.into(), streams.clone()));
        Ok(Self { streams, serving })
    }

    /// Streams that the proxy at `ip` has opened.
    pub(crate) fn asked_by(&self, ip: IpAddr) -> usize {
        let streams = self.streams.lock().expect("nobody panics");
        streams.get(&ip).copied().unwrap_or_default()
    }

    /// Closes the port.
    pub(crate) async fn leaves(mut self) {
        self.serving.shutdown().await;
    }
}

async fn answer_all(listener: TcpListener, tls: Arc<ServerConfig>, bytes: Bytes, streams: Streams) {
    let acceptor = TlsAcceptor::from(tls);
    let mut connections = JoinSet::new();
    while let Ok((stream, peer)) = listener.accept().await {
        let (acceptor, bytes, streams) = (acceptor.clone(), bytes.clone(), streams.clone());
        connections.spawn(async move {
            let stream = acceptor.accept(stream).await?;
            let mut tunnel = h2::server::handshake(stream).await?;
            // Dropping one half of a call would reset it before the message is read.
            let mut calls = Vec::new();
            while let Some(call) = tunnel.accept().await {
                let (request, mut respond) = call?;
                if request.uri().path() == DISCOVER {
                    let mut streams = streams.lock().expect("nobody panics");
                    *streams.entry(peer.ip().to_canonical()).or_default() += 1;
                }
                let head = Response::builder().header("content-type", "application/grpc");
                let mut body = respond.send_response(head.body(())?, false)?;
                body.send_data(bytes.clone(), false)?;
                calls.push((request, respond, body));
            }
            anyhow::Ok(())
        });
    }
}

/// Listens where the controller did, once it is gone.
pub(crate) async fn in_its_place(lab: &Lab) -> Result<TcpListener> {
    let core = lab.name().core().path();
    let bound = until("the controller's port is free", SOON, || async {
        let bind = || std::net::TcpListener::bind(xds_address());
        let bound = netns::inside_async(&core, bind).await;
        bound.map_err(std::io::Error::other)?
    });
    let listener = bound.await?;
    listener.set_nonblocking(true)?;
    Ok(TcpListener::from_std(listener)?)
}

/// A message as gRPC sends it, uncompressed.
pub(crate) fn framed(message: &impl Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).expect("messages of tests are short");
    [&[0][..], &length.to_be_bytes(), &message].concat()
}

/// Fails unless a proxy has logged a wait after each of its `streams` but the last, each twice as long as
/// the one before, up to the longest. `before` is how much it had logged until then.
pub(crate) fn backs_off(log: &str, before: usize, streams: usize) -> Result<()> {
    let new = log.get(before..).context("a log only grows")?;
    let failed = new
        .lines()
        .filter(|line| line.contains("xds stream failed"));
    let waits: Vec<&str> = failed
        .filter_map(|line| line.split_once("retry_in=")?.1.split_whitespace().next())
        .map(|wait| wait.trim_matches('"'))
        .collect();
    ensure!(waits.len() + 1 >= streams, "{streams} streams: {waits:?}");
    let doubled = (0..).map(|n| (FIRST_WAIT * (1 << n)).min(LAST_WAIT));
    let known: Vec<String> = doubled.take(12).map(|wait| format!("{wait:?}")).collect();
    let first = waits.first().context("no wait")?;
    let first = known.iter().position(|wait| wait == first);
    let expected = known.iter().skip(first.context("an unknown wait")?);
    let as_expected = waits
        .iter()
        .zip(expected)
        .all(|(wait, known)| wait == known);
    ensure!(as_expected, "{waits:?}");
    Ok(())
}
