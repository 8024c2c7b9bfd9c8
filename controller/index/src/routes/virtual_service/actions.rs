//! What a route does, beside choosing a cluster.

use super::super::parts;
use ambit_api::route as pb;
use ambit_crds::grpc::GRPC_STATUSES;
use ambit_crds::istio::{
    DerivePort, DirectResponse, Fault, HeaderOperations, Redirect, Retries, Rewrite,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Header changes. A `Host` that is set is the authority, for whoever executes them.
pub(super) fn header_ops(ops: Option<&HeaderOperations>) -> Option<pb::HeaderOps> {
    let ops = ops?;
    let header = |(name, value): (&String, &String)| pb::Header {
        name: name.to_ascii_lowercase(),
        value: value.clone(),
    };
    let converted = pb::HeaderOps {
        set: ops.set.iter().map(header).collect(),
        add: ops.add.iter().map(header).collect(),
        remove: ops.remove.iter().map(|n| n.to_ascii_lowercase()).collect(),
    };
    (converted != pb::HeaderOps::default()).then_some(converted)
}

pub(super) fn rewrite(rewrite: &Rewrite) -> pb::Rewrite {
    use pb::rewrite::Path;
    let path = match (&rewrite.uri, &rewrite.uri_regex_rewrite) {
        (Some(uri), _) => Some(Path::PrefixOrFull(uri.clone())),
        (None, Some(regex)) => Some(Path::Regex(pb::RegexRewrite {
            pattern: regex.pattern.clone(),
            substitution: regex.rewrite.clone(),
        })),
        (None, None) => None,
    };
    pb::Rewrite {
        path,
        authority: rewrite.authority.clone().unwrap_or_default(),
    }
}

pub(super) fn redirect(redirect: &Redirect) -> pb::Redirect {
    use pb::redirect::{DerivePort as Derive, Path, PortFrom};
    let path = match (&redirect.uri, &redirect.prefix_rewrite) {
        (Some(uri), _) => Some(Path::Full(uri.clone())),
        (None, Some(prefix)) => Some(Path::PrefixOrFull(prefix.clone())),
        (None, None) => None,
    };
    let derived = |from| match from {
        DerivePort::FromProtocolDefault => Derive::FromProtocolDefault,
        DerivePort::FromRequestPort => Derive::FromRequestPort,
    };
    let port = match (redirect.port, redirect.derive_port) {
        (Some(port), _) => Some(PortFrom::Port(port.into())),
        (None, Some(from)) => Some(PortFrom::DerivePort(derived(from).into())),
        (None, None) => None,
    };
    pb::Redirect {
        path,
        authority: redirect.authority.clone().unwrap_or_default(),
        scheme: redirect.scheme.clone().unwrap_or_default(),
        port_from: port,
        code: match redirect.redirect_code.unwrap_or(0) {
            0 => 301,
            code => code.into(),
        },
    }
}

pub(super) fn direct_response(direct: &DirectResponse) -> pb::DirectResponse {
    let body = direct
        .body
        .as_ref()
        .map(|body| match (&body.string, &body.bytes) {
            (Some(text), _) => text.clone().into_bytes(),
            // Validation has decoded it before.
            (None, Some(encoded)) => STANDARD.decode(encoded).unwrap_or_default(),
            (None, None) => Vec::new(),
        });
    pb::DirectResponse {
        status: direct.status.into(),
        body: body.unwrap_or_default(),
    }
}

pub(super) fn fault(fault: &Fault) -> pb::Fault {
    use pb::fault::abort::Status;
    pb::Fault {
        delay: fault.delay.as_ref().map(|delay| pb::fault::Delay {
            fixed_ms: delay.fixed_delay.map_or(0, parts::millis),
            ppm: delay.percentage.map_or(0, |p| p.ppm()),
        }),
        abort: fault.abort.as_ref().map(|abort| pb::fault::Abort {
            status: match (abort.http_status, &abort.grpc_status) {
                (Some(status), _) => Some(Status::Http(status.into())),
                (None, Some(name)) => grpc(name).map(Status::Grpc),
                (None, None) => None,
            },
            ppm: abort.percentage.map_or(0, |p| p.ppm()),
        }),
    }
}

fn grpc(name: &str) -> Option<u32> {
    let position = GRPC_STATUSES.iter().position(|known| *known == name)?;
    u32::try_from(position).ok()
}

/// The policy, and words of `retryOn` that mean nothing.
pub(super) fn retry(retries: &Retries) -> (pb::Retry, Vec<String>) {
    let mut retry = pb::Retry {
        attempts: retries.attempts,
        per_try_timeout_ms: retries.per_try_timeout.map_or(0, parts::millis),
        backoff_base_ms: retries.backoff.map_or(0, parts::millis),
        ..Default::default()
    };
    let mut unknown = Vec::new();
    let words = retries.retry_on.as_deref().unwrap_or_default().split(',');
    for word in words.map(str::trim).filter(|w| !w.is_empty()) {
        if let Ok(code @ 100..=599) = word.parse::<u32>() {
            retry.status_codes.push(code);
            push(&mut retry.on, pb::RetryOn::RetriableStatusCodes);
        } else if let Some(on) = retry_on(word) {
            push(&mut retry.on, on);
        } else {
            unknown.push(word.to_owned());
        }
    }
    if retry.on.is_empty() {
        retry.on = parts::default_conditions().map(Into::into).to_vec();
    }
    (retry, unknown)
}

fn push(on: &mut Vec<i32>, one: pb::RetryOn) {
    if !on.contains(&one.into()) {
        on.push(one.into());
    }
}

fn retry_on(word: &str) -> Option<pb::RetryOn> {
    Some(match word {
        "5xx" => pb::RetryOn::FiveXx,
        "gateway-error" => pb::RetryOn::GatewayError,
        "reset" => pb::RetryOn::Reset,
        "reset-before-request" => pb::RetryOn::ResetBeforeRequest,
        "connect-failure" => pb::RetryOn::ConnectFailure,
        "refused-stream" => pb::RetryOn::RefusedStream,
        "retriable-4xx" => pb::RetryOn::Retriable4xx,
        "retriable-status-codes" => pb::RetryOn::RetriableStatusCodes,
        "cancelled" => pb::RetryOn::Cancelled,
        "deadline-exceeded" => pb::RetryOn::DeadlineExceeded,
        "internal" => pb::RetryOn::Internal,
        "resource-exhausted" => pb::RetryOn::ResourceExhausted,
        "unavailable" => pb::RetryOn::Unavailable,
        _ => return None,
    })
}
