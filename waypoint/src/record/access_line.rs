//! Access lines of requests and TCP connections, in Istio's default format, text or JSON.
//! In: a finished record. Out: one line. Spec: Istio `meshConfig.accessLogFormat` (default).

use super::{Facts, Record};
use crate::downstream::Downstream;
use crate::outcome::NO_FLAGS;
use crate::upstream::endpoints::Target;
use crate::worker::Worker;
use ambit_telemetry::access_log::{AccessLog, Severity};
use ambit_telemetry::logging::Format;
use http::Version;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

/// One line for a request.
pub(crate) fn request(worker: &Worker, record: &Record, facts: &Facts) {
    let severity = if facts.status == 0 || facts.status >= 500 {
        Severity::Warn
    } else {
        Severity::Info
    };
    let began = jiff::Timestamp::try_from(record.began).unwrap_or_default();
    let upstream_host = facts
        .endpoint
        .as_ref()
        .map_or_else(|| "-".to_owned(), |t| t.address.to_string());
    let fields = Fields {
        start_time: format!("{began:.3}"),
        method: facts.method.as_str(),
        path: &facts.path,
        protocol: protocol(facts.version),
        response_code: facts.status,
        response_flags: facts.flags,
        response_code_details: facts.denial.as_deref().unwrap_or(or_dash(facts.details)),
        bytes_received: record.request_bytes(),
        bytes_sent: record.response_bytes(),
        duration: u64::try_from(record.elapsed().as_millis()).unwrap_or(u64::MAX),
        x_forwarded_for: or_dash(&facts.forwarded_for),
        user_agent: or_dash(&facts.user_agent),
        request_id: or_dash(&facts.request_id),
        authority: or_dash(&facts.authority),
        upstream_host,
        upstream_cluster: or_dash(&facts.cluster),
        downstream_local_address: record.downstream.local.to_string(),
        downstream_remote_address: record.client().to_string(),
        route_name: or_dash(&facts.route),
    };
    write(worker, severity, &fields);
}

/// A connection that has ended, for its access line.
pub(crate) struct Ended {
    pub(crate) began: SystemTime,
    pub(crate) duration: Duration,
    pub(crate) flags: &'static str,
    pub(crate) details: &'static str,
    /// Envoy's details of a denial, in place of `details`.
    pub(crate) denial: Option<String>,
    pub(crate) target: Option<Target>,
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

/// One line for a TCP connection.
pub(crate) fn connection(downstream: &Downstream, ended: &Ended) {
    let severity = if ended.flags == NO_FLAGS {
        Severity::Info
    } else {
        Severity::Warn
    };
    let began = jiff::Timestamp::try_from(ended.began).unwrap_or_default();
    let target = ended.target.as_ref();
    let cluster = target.map_or_else(String::new, |t| t.cluster.name.to_string());
    let fields = Fields {
        start_time: format!("{began:.3}"),
        method: "-",
        path: "-",
        protocol: "-",
        response_code: 0,
        response_flags: ended.flags,
        response_code_details: ended.denial.as_deref().unwrap_or(or_dash(ended.details)),
        bytes_received: ended.received,
        bytes_sent: ended.sent,
        duration: u64::try_from(ended.duration.as_millis()).unwrap_or(u64::MAX),
        x_forwarded_for: "-",
        user_agent: "-",
        request_id: "-",
        authority: "-",
        upstream_host: target.map_or_else(|| "-".to_owned(), |t| t.address.to_string()),
        upstream_cluster: or_dash(&cluster),
        downstream_local_address: downstream.local.to_string(),
        downstream_remote_address: downstream.client.to_string(),
        route_name: "-",
    };
    write(&downstream.worker, severity, &fields);
}

fn write(worker: &Worker, severity: Severity, fields: &Fields<'_>) {
    if !AccessLog::wants(severity) {
        return;
    }
    let line = match worker.me.log_format {
        Format::Plain => plain(fields),
        Format::Json => json(fields),
    };
    worker.access_log.raw(severity, line);
}

/// Fields of Istio's format; those that never apply to a waypoint are written as `-`.
#[derive(serde::Serialize)]
struct Fields<'a> {
    start_time: String,
    method: &'a str,
    path: &'a str,
    protocol: &'a str,
    response_code: u16,
    response_flags: &'a str,
    response_code_details: &'a str,
    bytes_received: u64,
    bytes_sent: u64,
    duration: u64,
    x_forwarded_for: &'a str,
    user_agent: &'a str,
    request_id: &'a str,
    authority: &'a str,
    upstream_host: String,
    upstream_cluster: &'a str,
    downstream_local_address: String,
    downstream_remote_address: String,
    route_name: &'a str,
}

fn plain(f: &Fields<'_>) -> String {
    let mut out = String::with_capacity(512);
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "[{}] \"{} {} {}\" {} {} {} - \"-\" {} {} {} - \"{}\" \"{}\" \"{}\" \"{}\" \"{}\" {} - {} {} - {}",
        f.start_time,
        f.method,
        f.path.escape_default(),
        f.protocol,
        f.response_code,
        f.response_flags,
        f.response_code_details,
        f.bytes_received,
        f.bytes_sent,
        f.duration,
        f.x_forwarded_for.escape_default(),
        f.user_agent.escape_default(),
        f.request_id.escape_default(),
        f.authority.escape_default(),
        f.upstream_host,
        f.upstream_cluster,
        f.downstream_local_address,
        f.downstream_remote_address,
        f.route_name,
    );
    out
}

fn json(f: &Fields<'_>) -> String {
    let mut out = serde_json::to_string(f).unwrap_or_default();
    out.push('\n');
    out
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_the_fields_of_istios_default_format() {
        let fields = Fields {
            start_time: "2026-01-02T03:04:05.678Z".into(),
            method: "GET",
            path: "/reviews/0?a=\"1\"",
            protocol: "HTTP/1.1",
            response_code: 200,
            response_flags: "-",
            response_code_details: "via_upstream",
            bytes_received: 120,
            bytes_sent: 379,
            duration: 17,
            x_forwarded_for: "-",
            user_agent: "curl/8.5",
            request_id: "id",
            authority: "reviews:9080",
            upstream_host: "10.244.2.3:9080".into(),
            upstream_cluster: "default/reviews.default.svc.cluster.local/9080/v2",
            downstream_local_address: "10.96.0.3:9080".into(),
            downstream_remote_address: "10.244.1.2:4000".into(),
            route_name: "default",
        };
        assert_eq!(
            plain(&fields),
            "[2026-01-02T03:04:05.678Z] \"GET /reviews/0?a=\\\"1\\\" HTTP/1.1\" 200 - via_upstream - \"-\" \
             120 379 17 - \"-\" \"curl/8.5\" \"id\" \"reviews:9080\" \"10.244.2.3:9080\" \
             default/reviews.default.svc.cluster.local/9080/v2 - 10.96.0.3:9080 10.244.1.2:4000 - default\n"
        );
        let parsed: serde_json::Value = serde_json::from_str(&json(&fields)).unwrap();
        assert_eq!(parsed["response_code"], 200);
        assert_eq!(parsed["path"], "/reviews/0?a=\"1\"");
    }
}
