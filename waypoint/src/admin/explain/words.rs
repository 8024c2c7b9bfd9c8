//! What is said of routes and ports, for people. Pure.

use ambit_model::route::{HttpRoute, Protocol};

/// Index, name and origin.
pub(super) fn describe(index: usize, route: &HttpRoute) -> String {
    let name = match &*route.name {
        "" => String::new(),
        name => format!(" `{name}`"),
    };
    format!("route {index}{name}{}", source(&route.source))
}

/// Where a route came from.
pub(super) fn source(source: &str) -> String {
    match source {
        "" => String::new(),
        source => format!(" ({source})"),
    }
}

/// Whether it asks for anything.
pub(super) fn matches(route: &HttpRoute) -> &'static str {
    match route.matches.is_empty() {
        true => "has no conditions and",
        false => "matches and",
    }
}

/// What the route does beside choosing a destination.
pub(super) fn effects(route: &HttpRoute) -> Vec<String> {
    let mut effects = Vec::new();
    if let Some(delay) = &route.fault.delay {
        effects.push(format!("may be delayed by {:?}", delay.fixed));
    }
    if route.fault.abort.is_some() {
        effects.push("may be aborted".to_owned());
    }
    if route.rewrite.is_some() {
        effects.push("is rewritten".to_owned());
    }
    if let Some(timeout) = route.timeout {
        effects.push(format!("has {timeout:?} in all"));
    }
    if let Some(retry) = &route.retry {
        effects.push(format!("is tried again up to {} times", retry.attempts));
    }
    for mirror in &route.mirrors {
        effects.push(format!("may be copied to {}", mirror.cluster));
    }
    effects
}

/// What is spoken on a port.
pub(super) fn spoken(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Auto => "HTTP or bytes, as the client begins",
        Protocol::Http1 => "HTTP/1.1",
        Protocol::Http2 => "HTTP/2",
        Protocol::Grpc => "gRPC",
        Protocol::Tcp => "bytes",
    }
}
