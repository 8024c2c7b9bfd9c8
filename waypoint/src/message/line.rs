//! The request line: what was asked, apart from headers and body.
//! In: a received head. Out: scheme, authority, path and query, whatever the form of the target.
//! Spec: RFC 9112 section 3.2, RFC 9113 section 8.3.1.

use super::path;
use crate::outcome::Malformed;
use ambit_model::route::HeaderOps;
use ambit_routing::http::matching::RequestView;
use http::header::HOST;
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Uri, Version};

/// The request line as it stands, changed by header operations and rewrites.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) method: Method,
    pub(crate) scheme: &'static str,
    /// `:authority`, or `Host`.
    pub(crate) authority: String,
    /// With the query; the path is normalised.
    pub(crate) target: PathAndQuery,
}

impl Line {
    /// Reads it.
    ///
    /// # Errors
    /// No usable authority (RFC 9112 section 3.2 demands 400), or a path with two meanings.
    pub(crate) fn of(parts: &Parts) -> Result<Self, Malformed> {
        let authority = authority(parts).ok_or(Malformed::Host)?;
        let target = parts.uri.path_and_query();
        let target = target.map_or_else(|| Ok(PathAndQuery::from_static("/")), path::normalized);
        let https = parts.uri.scheme() == Some(&Scheme::HTTPS);
        Ok(Self {
            method: parts.method.clone(),
            scheme: if https { "https" } else { "http" },
            authority: authority.to_owned(),
            target: target.map_err(|_| Malformed::Path)?,
        })
    }

    /// For matching.
    pub(crate) fn view<'a>(&'a self, headers: &'a http::HeaderMap) -> RequestView<'a> {
        RequestView {
            method: &self.method,
            scheme: self.scheme,
            authority: &self.authority,
            path: self.target.path(),
            query: self.target.query(),
            headers,
        }
    }

    /// Takes over a new authority, if the operations name one.
    pub(crate) fn apply(&mut self, ops: &HeaderOps) {
        if let Some(authority) = &ops.authority {
            authority.as_str().clone_into(&mut self.authority);
        }
    }

    /// Writes the line into a head for the upstream.
    pub(crate) fn write(&self, parts: &mut Parts, version: Version) {
        parts.method = self.method.clone();
        parts.version = version;
        parts.headers.remove(HOST);
        if version == Version::HTTP_2 {
            let uri = Uri::builder()
                .scheme(self.scheme)
                .authority(self.authority.as_str())
                .path_and_query(self.target.clone());
            // An authority that was received, or checked when its route was converted.
            parts.uri = uri
                .build()
                .unwrap_or_else(|_| Uri::from(self.target.clone()));
        } else {
            parts.uri = Uri::from(self.target.clone());
            if let Ok(host) = HeaderValue::from_str(&self.authority) {
                parts.headers.insert(HOST, host);
            }
        }
    }
}

/// The one host a request names: no second `Host`, no user information (RFC 9113 section 8.3.1).
fn authority(parts: &Parts) -> Option<&str> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return None;
    }
    let host = || host.and_then(|value| value.to_str().ok());
    let named = parts.uri.authority().map(Authority::as_str).or_else(host)?;
    let usable = !named.contains('@') && named.parse::<Authority>().is_ok();
    usable.then_some(named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn read(uri: &str, hosts: &[&str]) -> Result<(String, String), Malformed> {
        let mut request = Request::builder().uri(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let line = Line::of(&parts)?;
        Ok((line.authority, line.target.to_string()))
    }

    #[test]
    fn a_request_names_one_host() {
        let line = |authority: &str, target: &str| Ok((authority.to_owned(), target.to_owned()));
        for (uri, hosts, expected) in [
            ("/a", &["web"][..], line("web", "/a")),
            ("/a/../b?c", &["web:80"], line("web:80", "/b?c")),
            ("http://web/a", &[], line("web", "/a")),
            ("http://web/a", &["other"], line("web", "/a")),
            ("http://web", &[], line("web", "/")),
            ("/a", &["[fd00::1]:80"], line("[fd00::1]:80", "/a")),
            ("/a", &[], Err(Malformed::Host)),
            ("/a", &[""], Err(Malformed::Host)),
            ("/a", &["web", "web"], Err(Malformed::Host)),
            ("/a", &["web", "other"], Err(Malformed::Host)),
            ("/a", &["we b"], Err(Malformed::Host)),
            ("/a", &["web/x"], Err(Malformed::Host)),
            ("/a", &["user@web"], Err(Malformed::Host)),
            ("http://user@web/a", &[], Err(Malformed::Host)),
            ("/a%00", &["web"], Err(Malformed::Path)),
        ] {
            assert_eq!(read(uri, hosts), expected, "{uri} {hosts:?}");
        }
    }
}
