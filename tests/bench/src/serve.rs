//! The server pod: a bulk sink, an HTTP server, and the tally of what reached them.
//! In: connections. Out: answers that say who answers whom; counts on the report port.
//! Owns: the tally. Bytes of a bulk stream are compared with the pattern they must be.
//! Never here: time. The side that generates load measures.

mod bulk;
mod http;
mod tally;

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

use ambit_net::socket::ListenSpec;

pub(crate) use tally::Counts;
use tally::Tally;

/// Bulk streams.
pub(crate) const BULK: u16 = 9001;
/// HTTP/1.1.
pub(crate) const HTTP: u16 = 9002;
/// `GET /take`: the tally as JSON, which then starts again from nothing.
pub(crate) const REPORT: u16 = 9003;

/// Options of the server.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Name in answers
    #[arg(long)]
    name: String,
}

/// Serves until killed.
///
/// # Errors
/// A port is taken.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let tally = Arc::new(Tally::default());
    let bulk = listen(BULK)?;
    bulk.set_nonblocking(false)?;
    let (counts, name) = (tally.clone(), args.name.clone());
    std::thread::Builder::new()
        .name("bulk".to_owned())
        .spawn(move || bulk::serve(&bulk, &name, &counts))?;
    let (requests, report) = (listen(HTTP)?, listen(REPORT)?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let requests = asynchronous(requests)?;
        let report = asynchronous(report)?;
        tokio::try_join!(
            http::serve(requests, &args.name, tally.clone()),
            tally::report(report, tally.clone()),
        )?;
        Ok(())
    })
}

fn listen(port: u16) -> anyhow::Result<TcpListener> {
    Ok(ListenSpec::new((Ipv4Addr::UNSPECIFIED, port).into()).tcp(None)?)
}

fn asynchronous(listener: TcpListener) -> anyhow::Result<tokio::net::TcpListener> {
    Ok(tokio::net::TcpListener::from_std(listener)?)
}
