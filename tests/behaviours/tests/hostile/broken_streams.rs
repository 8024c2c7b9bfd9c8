//! gRPC streams of the control plane that carry no messages, in both directions.

use crate::attacker::Attacker;
use crate::certificates::{Authority, anonymous, server};
use crate::control::{CONTROLLER, everything, in_its_place};
use crate::siege::{Siege, siege};
use ambit_api::type_urls;
use ambit_behaviours::town::{SOON, node};
use ambit_harness::lab::DaemonKind;
use ambit_harness::names::xds_address;
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Request, Response};
use rcgen::SanType;
use rustls::ServerConfig;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// A gRPC message of five bytes that no protobuf parser takes.
const GARBAGE: &[u8] = b"\0\0\0\0\x05\xff\xff\xff\xff\xff";
/// A gRPC message that says it is four gigabytes long.
const ENDLESS: &[u8] = b"\0\xff\xff\xff\xff\x0a";
const METHOD: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// Answers each call of each connection with `message`.
async fn answer_all(listener: TcpListener, tls: Arc<ServerConfig>, message: &'static [u8]) {
    let acceptor = TlsAcceptor::from(tls);
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        connections.spawn(async move {
            let stream = acceptor.accept(stream).await?;
            let mut tunnel = h2::server::handshake(stream).await?;
            // Dropping one half of a call would reset it before the message is read.
            let mut calls = Vec::new();
            while let Some(call) = tunnel.accept().await {
                let (request, mut respond) = call?;
                let head = Response::builder().header("content-type", "application/grpc");
                let mut body = respond.send_response(head.body(())?, false)?;
                body.send_data(Bytes::from_static(message), false)?;
                calls.push((request, respond, body));
            }
            anyhow::Ok(())
        });
    }
}

/// Proxies that hear only `message` from their controller count and log it, keep what they have, and
/// listen to the real controller when it is back.
async fn proxies_survive(message: &'static [u8], named: &str) -> Result<()> {
    let Some(siege) = siege().await? else {
        return Ok(());
    };
    let town = &siege.town;
    let ended = (
        "istio_xds_connection_terminations_total",
        &[("reason", "Error")][..],
    );
    let before = town.counted(2, ended.0, ended.1).await?;
    town.kill(DaemonKind::Controller).await?;
    let lab = Authority::of_lab(&town.lab.run_dir())?;
    let tls = server(lab.leaf(vec![SanType::DnsName(CONTROLLER.try_into()?)])?)?;
    let mut liar = JoinSet::new();
    liar.spawn(answer_all(in_its_place(&siege).await?, tls, message));
    // The kill itself has ended one.
    town.grows(2, ended, before, 3.0).await?;
    let words = ["xds stream failed", named];
    siege
        .logged_by(DaemonKind::Ztunnel(node(2)), &words)
        .await?;
    town.works("echo").await?;
    liar.shutdown().await;
    town.start(DaemonKind::Controller).await?;
    town.works("near").await?;
    siege.over().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_sends_garbage_changes_nothing() -> Result<()> {
    proxies_survive(GARBAGE, "failed to decode Protobuf message").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_the_controller_without_end_costs_no_memory() -> Result<()> {
    proxies_survive(ENDLESS, "message length too large").await
}

/// Says `message` to the controller as a node proxy and waits for the end of the call.
async fn say(siege: &Siege, message: &'static [u8]) -> Result<()> {
    let lab = &siege.town.lab;
    let attacker = Attacker {
        netns: lab.name().core().path(),
        to: xds_address(),
    };
    let stream = attacker.tls(&anonymous()).await?;
    let token = lab.run_dir().join(node(2).short()).join("ztunnel.token");
    let token = std::fs::read_to_string(token)?;
    let (mut send, connection) = h2::client::handshake(stream).await?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let request = Request::post(format!("https://{CONTROLLER}{METHOD}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {}", token.trim()))
        .body(())?;
    let (answer, mut body) = send.send_request(request, false)?;
    body.send_data(Bytes::from_static(message), true)?;
    let answer = tokio::time::timeout(SOON, answer)
        .await
        .context("no answer")??;
    ensure!(answer.status().is_success(), "{answer:?}");
    let mut body = answer.into_body();
    let end = async {
        while let Some(chunk) = body.data().await {
            body.flow_control().release_capacity(chunk?.len())?;
        }
        anyhow::Ok(body.trailers().await?)
    };
    tokio::time::timeout(SOON, end).await.context("no end")??;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_from_a_proxy_ends_only_its_own_stream() -> Result<()> {
    let Some(siege) = siege().await? else {
        return Ok(());
    };
    for message in [GARBAGE, ENDLESS] {
        for _ in 0..20 {
            say(&siege, message).await?;
        }
    }
    let set = everything(&siege).await?;
    ensure!(set.count(type_urls::ADDRESS) > 0, "the controller serves");
    siege.town.works("echo").await?;
    siege.over().await
}
