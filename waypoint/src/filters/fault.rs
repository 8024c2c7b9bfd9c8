//! Injected delays and aborts.
//! In: the route's faults. Out: a wait, then an answer of our own or nothing.

use crate::message::body::Body;
use crate::message::reply;
use crate::outcome::{ABORTED, DELAYED, DELAYED_ABORTED};
use crate::record::Record;
use ambit_model::route::{AbortStatus, Fault};
use ambit_routing::http::fault::draw;
use http::Response;

/// Waits and perhaps answers instead of the upstream.
pub(crate) async fn inject(record: &Record, fault: &Fault) -> Option<Response<Body>> {
    let injected = draw(fault, &mut *record.downstream.worker.rng());
    if let Some(delay) = injected.delay {
        record.say(DELAYED, "");
        tokio::time::sleep(delay).await;
    }
    let flags = if injected.delay.is_some() {
        DELAYED_ABORTED
    } else {
        ABORTED
    };
    let response = match injected.abort? {
        AbortStatus::Http(status) if !record.is_grpc() => reply::text(status, "fault filter abort"),
        AbortStatus::Http(status) => {
            reply::grpc(crate::outcome::grpc_status(status), "fault filter abort")
        }
        AbortStatus::Grpc(status) => reply::grpc(
            u8::try_from(status).unwrap_or(u8::MAX),
            "fault filter abort",
        ),
    };
    record.say(flags, "fault_filter_abort");
    Some(response)
}
