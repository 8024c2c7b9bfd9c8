//! Where a redirect points.
//! In: the redirect, how the path matched, the request. Out: the `location` value.

use super::matching::{PathMatched, RequestView};
use super::rewrite;
use ambit_model::route::{Redirect, RedirectPort};
use http::uri::Authority;

/// The `location` of the answer. `listener_port`: the service port the request came in on, used
/// where the request names none.
pub fn location(
    redirect: &Redirect,
    matched: PathMatched,
    request: &RequestView<'_>,
    listener_port: u16,
) -> String {
    let sent: Option<Authority> = request.authority.parse().ok();
    let sent_host = sent.as_ref().map_or(request.authority, Authority::host);
    let sent_port = sent.as_ref().and_then(Authority::port_u16);
    let scheme = redirect.scheme.as_deref().unwrap_or(request.scheme);
    let host = redirect.host.as_deref().unwrap_or(sent_host);
    let moved = scheme != request.scheme || redirect.host.is_some();
    let port = match redirect.port {
        RedirectPort::Fixed(port) => Some(port),
        RedirectPort::ProtocolDefault => None,
        RedirectPort::Request => Some(sent_port.unwrap_or(listener_port)),
        RedirectPort::Kept if moved => None,
        RedirectPort::Kept => sent_port,
    };
    let port = port.filter(|p| Some(*p) != default_port(scheme));
    let path = match &redirect.path {
        Some(new) => rewrite::path_and_query(new, matched, request.path, request.query),
        None => match request.query {
            Some(query) => format!("{}?{query}", request.path),
            None => request.path.to_owned(),
        },
    };
    match port {
        Some(port) => format!("{scheme}://{host}:{port}{path}"),
        None => format!("{scheme}://{host}{path}"),
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ambit_model::route::PathRewrite;
    use http::{HeaderMap, Method, StatusCode};

    #[test]
    fn locations_are_built_as_the_table_says() {
        let base = || Redirect {
            path: None,
            host: None,
            scheme: None,
            port: RedirectPort::Kept,
            status: StatusCode::MOVED_PERMANENTLY,
        };
        let full = || Some(PathRewrite::Full("/new".into()));
        let segment = || Some(PathRewrite::SegmentPrefix("/v2".into()));
        #[rustfmt::skip]
        let table = [
            (base(), "web", "http://web/old/a?q=1"),
            (base(), "web:8080", "http://web:8080/old/a?q=1"),
            (Redirect { path: full(), ..base() }, "web", "http://web/new?q=1"),
            (Redirect { path: segment(), ..base() }, "web", "http://web/v2/a?q=1"),
            (Redirect { host: Some("x.example".into()), ..base() }, "web:8080", "http://x.example/old/a?q=1"),
            (Redirect { scheme: Some("https".into()), ..base() }, "web:8080", "https://web/old/a?q=1"),
            (Redirect { scheme: Some("https".into()), port: RedirectPort::Fixed(443), ..base() }, "web", "https://web/old/a?q=1"),
            (Redirect { port: RedirectPort::Fixed(8443), ..base() }, "web:80", "http://web:8443/old/a?q=1"),
            (Redirect { port: RedirectPort::ProtocolDefault, ..base() }, "web:8080", "http://web/old/a?q=1"),
            (Redirect { port: RedirectPort::Request, ..base() }, "web", "http://web:9080/old/a?q=1"),
            (Redirect { port: RedirectPort::Request, ..base() }, "web:8080", "http://web:8080/old/a?q=1"),
            (base(), "[2001:db8::1]:8080", "http://[2001:db8::1]:8080/old/a?q=1"),
        ];
        let headers = HeaderMap::new();
        for (redirect, authority, expected) in table {
            let request = RequestView {
                method: &Method::GET,
                scheme: "http",
                authority,
                path: "/old/a",
                query: Some("q=1"),
                headers: &headers,
            };
            let got = location(&redirect, PathMatched::Prefix(4), &request, 9080);
            assert_eq!(got, expected, "{redirect:?}");
        }
    }
}
