//! What is said of bytes that are no request: one access line, one count by reason, one set of
//! metrics with flag `DPE`.
//! In: how a connection of HTTP ended. Out: nothing. Clients that just went away are no mistake.

use crate::downstream::Downstream;
use crate::outcome::{Failure, Malformed};
use crate::record::Record;
use ambit_runtime::causes::causes;
use http::Version;
use std::error::Error;
use std::rc::Rc;

/// A connection ended with an error of the HTTP library.
pub(super) fn connection(downstream: &Rc<Downstream>, version: Version, error: &hyper::Error) {
    match malformed(version, error) {
        Some(malformed) => {
            let causes = causes(error);
            report(downstream, version, malformed, &causes);
        }
        None => {
            let causes = causes(error);
            tracing::debug!(src.addr = %downstream.client, error = causes, "HTTP connection ended");
        }
    }
}

/// A head was begun and not finished; its sender hears nothing.
pub(crate) fn unanswered(downstream: &Rc<Downstream>, malformed: Malformed) {
    report(downstream, Version::HTTP_11, malformed, malformed.reason());
}

/// What the peer did wrong; `None`: it went away.
fn malformed(version: Version, error: &hyper::Error) -> Option<Malformed> {
    if version == Version::HTTP_2 {
        if error.is_timeout() {
            return Some(Malformed::Silent);
        }
        let frames = error.source()?.downcast_ref::<h2::Error>()?;
        return frames.is_library().then_some(Malformed::Frames);
    }
    if error.is_parse_too_large() {
        Some(Malformed::TooLarge)
    } else if error.is_parse() {
        Some(Malformed::Head)
    } else {
        None
    }
}

fn report(downstream: &Rc<Downstream>, version: Version, malformed: Malformed, causes: &str) {
    tracing::warn!(
        src.addr = %downstream.client,
        src.identity = downstream.identity_shown(),
        dst.service = %downstream.addressed,
        reason = malformed.reason(),
        error = causes,
        "malformed request"
    );
    let record = Record::nameless(downstream, version);
    record.failed(&Failure::Malformed(malformed).said(false));
    if malformed.is_answered() {
        record.answered(&Failure::Malformed(malformed).said(false));
    }
    downstream.worker.series.malformed(malformed.reason());
}
