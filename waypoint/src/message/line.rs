//! The request line: what was asked, apart from headers and body.
//! In: a received head. Out: scheme, authority, path and query, whatever the form of the target.
//! Spec: RFC 9112 section 3.2, RFC 9113 section 8.3.1.

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
    /// With the query.
    pub(crate) target: PathAndQuery,
}

impl Line {
    /// Reads it; `None` without a usable authority (RFC 9112 section 3.2 demands 400).
    pub(crate) fn of(parts: &Parts) -> Option<Self> {
        let host = || parts.headers.get(HOST).and_then(|v| v.to_str().ok());
        let authority = parts.uri.authority().map(Authority::as_str).or_else(host)?;
        let https = parts.uri.scheme() == Some(&Scheme::HTTPS);
        let root = || PathAndQuery::from_static("/");
        Some(Self {
            method: parts.method.clone(),
            scheme: if https { "https" } else { "http" },
            authority: authority.to_owned(),
            target: parts.uri.path_and_query().cloned().unwrap_or_else(root),
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
