//! What a route does to a request: every name, value and status is checked here, once.

use super::super::{ConvertError, port};
use super::{cluster_name, each, millis, unknown};
use crate::route::{
    Abort, AbortStatus, Delay, DirectResponse, Fault, HeaderOps, Mirror, PartsPerMillion,
    PathRewrite, Redirect, RedirectPort, Retry, RetryOn, Rewrite, Substitution,
};
use ambit_api::route as pb;
use http::uri::Authority;
use http::{HeaderName, HeaderValue, StatusCode};
use std::time::Duration;

/// First back-off where the route names none.
const BACKOFF_BASE: Duration = Duration::from_millis(25);

pub(super) fn name(field: &str, value: &str) -> Result<HeaderName, ConvertError> {
    HeaderName::from_bytes(value.as_bytes())
        .map_err(|_| ConvertError::new(field, format!("`{value}` is not a header name")))
}

pub(super) fn header_ops(field: &str, m: Option<pb::HeaderOps>) -> Result<HeaderOps, ConvertError> {
    let m = m.unwrap_or_default();
    let mut ops = HeaderOps::default();
    for (i, h) in m.set.into_iter().enumerate() {
        let field = format!("{field}.set[{i}]");
        if h.name.eq_ignore_ascii_case("host") || h.name == ":authority" {
            ops.authority = Some(authority(&field, &h.value)?);
        } else {
            ops.set.push(header(&field, &h)?);
        }
    }
    ops.add = each(&format!("{field}.add"), m.add, |field, h: pb::Header| {
        header(field, &h)
    })?;
    ops.remove = each(&format!("{field}.remove"), m.remove, |field, n: String| {
        name(field, &n)
    })?;
    Ok(ops)
}

fn header(field: &str, m: &pb::Header) -> Result<(HeaderName, HeaderValue), ConvertError> {
    let value = HeaderValue::from_bytes(m.value.as_bytes())
        .map_err(|_| ConvertError::new(format!("{field}.value"), "is not a header value"))?;
    Ok((name(&format!("{field}.name"), &m.name)?, value))
}

fn authority(field: &str, value: &str) -> Result<Authority, ConvertError> {
    value
        .parse()
        .map_err(|_| ConvertError::new(field, format!("`{value}` is not a host")))
}

pub(super) fn rewrite(field: &str, m: pb::Rewrite) -> Result<Rewrite, ConvertError> {
    use pb::rewrite::Path;
    let path = match m.path {
        None => None,
        Some(Path::PrefixOrFull(v)) => Some(PathRewrite::PrefixOrFull(v)),
        Some(Path::Full(v)) => Some(PathRewrite::Full(v)),
        Some(Path::SegmentPrefix(v)) => Some(PathRewrite::SegmentPrefix(v)),
        Some(Path::Regex(r)) => {
            let made = Substitution::new(&r.pattern, &r.substitution);
            let wrong = |e| ConvertError::new(format!("{field}.regex"), format!("{e}"));
            Some(PathRewrite::Regex(made.map_err(wrong)?))
        }
    };
    let host = Some(m.authority).filter(|a| !a.is_empty());
    let host = host
        .map(|a| authority(&format!("{field}.authority"), &a))
        .transpose()?;
    Ok(Rewrite {
        path,
        authority: host,
    })
}

pub(super) fn redirect(field: &str, m: pb::Redirect) -> Result<Redirect, ConvertError> {
    use pb::redirect::{DerivePort, Path, PortFrom};
    let path = m.path.map(|p| match p {
        Path::Full(v) => PathRewrite::Full(v),
        Path::PrefixOrFull(v) => PathRewrite::PrefixOrFull(v),
        Path::SegmentPrefix(v) => PathRewrite::SegmentPrefix(v),
    });
    let given = Some(m.authority).filter(|a| !a.is_empty());
    let given = given
        .map(|a| authority(&format!("{field}.authority"), &a))
        .transpose()?;
    let derived = match m.port_from {
        None => given
            .as_ref()
            .and_then(Authority::port_u16)
            .map(RedirectPort::Fixed),
        Some(PortFrom::Port(p)) => Some(RedirectPort::Fixed(port(&format!("{field}.port"), p)?)),
        Some(PortFrom::DerivePort(d)) => Some(match DerivePort::try_from(d) {
            Ok(DerivePort::FromProtocolDefault) => RedirectPort::ProtocolDefault,
            Ok(DerivePort::FromRequestPort) => RedirectPort::Request,
            Err(_) => return Err(unknown(&format!("{field}.derive_port"), d)),
        }),
    };
    let scheme = match m.scheme.as_str() {
        "" => None,
        "http" | "https" => Some(m.scheme),
        other => {
            let reason = format!("`{other}` is neither http nor https");
            return Err(ConvertError::new(format!("{field}.scheme"), reason));
        }
    };
    let code = if m.code == 0 { 301 } else { m.code };
    if ![301, 302, 303, 307, 308].contains(&code) {
        return Err(ConvertError::new(
            format!("{field}.code"),
            format!("{code} is no redirect"),
        ));
    }
    Ok(Redirect {
        path,
        host: given.map(|a| a.host().to_owned()),
        scheme,
        port: derived.unwrap_or_default(),
        status: status(&format!("{field}.code"), code)?,
    })
}

pub(super) fn direct_response(
    field: &str,
    m: pb::DirectResponse,
) -> Result<DirectResponse, ConvertError> {
    let status = status(&format!("{field}.status"), m.status)?;
    Ok(DirectResponse {
        status,
        body: m.body.into(),
    })
}

/// `None`: zero attempts switch retries off.
pub(super) fn retry(field: &str, m: pb::Retry) -> Result<Option<Retry>, ConvertError> {
    if m.attempts == 0 {
        return Ok(None);
    }
    let on = each(&format!("{field}.on"), m.on, retry_on)?;
    let status_codes = each(
        &format!("{field}.status_codes"),
        m.status_codes,
        |field, code| status(field, code).map(|s| s.as_u16()),
    )?;
    Ok(Some(Retry {
        attempts: m.attempts,
        per_try_timeout: millis(m.per_try_timeout_ms),
        on,
        status_codes,
        backoff_base: millis(m.backoff_base_ms).unwrap_or(BACKOFF_BASE),
    }))
}

fn retry_on(field: &str, value: i32) -> Result<RetryOn, ConvertError> {
    use pb::RetryOn as P;
    Ok(match P::try_from(value) {
        Ok(P::ConnectFailure) => RetryOn::ConnectFailure,
        Ok(P::RefusedStream) => RetryOn::RefusedStream,
        Ok(P::Unavailable) => RetryOn::Unavailable,
        Ok(P::Cancelled) => RetryOn::Cancelled,
        Ok(P::RetriableStatusCodes) => RetryOn::RetriableStatusCodes,
        Ok(P::FiveXx) => RetryOn::FiveXx,
        Ok(P::GatewayError) => RetryOn::GatewayError,
        Ok(P::Reset) => RetryOn::Reset,
        Ok(P::Retriable4xx) => RetryOn::Retriable4xx,
        Ok(P::ResetBeforeRequest) => RetryOn::ResetBeforeRequest,
        Ok(P::DeadlineExceeded) => RetryOn::DeadlineExceeded,
        Ok(P::ResourceExhausted) => RetryOn::ResourceExhausted,
        Ok(P::Internal) => RetryOn::Internal,
        Ok(P::RetryUnspecified) | Err(_) => return Err(unknown(field, value)),
    })
}

pub(super) fn fault(field: &str, m: pb::Fault) -> Result<Fault, ConvertError> {
    let delay = m.delay.map(|d| Delay {
        fixed: Duration::from_millis(d.fixed_ms),
        share: PartsPerMillion::new(d.ppm),
    });
    let abort = m.abort.map(|a| {
        use pb::fault::abort::Status;
        let given = match a.status {
            Some(Status::Http(code)) => {
                AbortStatus::Http(status(&format!("{field}.abort.http"), code)?)
            }
            Some(Status::Grpc(code)) => AbortStatus::Grpc(code),
            None => {
                return Err(ConvertError::new(
                    format!("{field}.abort"),
                    "no status is set",
                ));
            }
        };
        Ok(Abort {
            status: given,
            share: PartsPerMillion::new(a.ppm),
        })
    });
    Ok(Fault {
        delay,
        abort: abort.transpose()?,
    })
}

pub(super) fn mirror(field: &str, m: pb::Mirror) -> Result<Mirror, ConvertError> {
    let cluster = cluster_name(&format!("{field}.cluster"), m.cluster)?;
    Ok(Mirror {
        cluster,
        share: PartsPerMillion::new(m.ppm),
    })
}

/// A final status: 1xx cannot be an answer.
fn status(field: &str, code: u32) -> Result<StatusCode, ConvertError> {
    u16::try_from(code)
        .ok()
        .filter(|c| (200..600).contains(c))
        .and_then(|c| StatusCode::from_u16(c).ok())
        .ok_or_else(|| ConvertError::new(field, format!("{code} is not a status from 200 to 599")))
}
