//! Requests that may be sent twice.
//! In: a request that is about to go on a connection that was kept. Out: the same once more, if to send it
//! twice is as good as once. A server that closes such a connection at that moment has not answered, and
//! nobody can tell whether it has read.
//! Spec: RFC 9110 section 9.2.2, RFC 9112 section 9.3.1.

use crate::message::body::Body;
use http::Request;
use http::request::Parts;
use http_body::Body as _;

/// A request without a body whose method is idempotent.
pub(super) struct Again(Parts);

impl Again {
    /// None: it may be sent only once.
    pub(super) fn of(request: &Request<Body>) -> Option<Self> {
        if !request.method().is_idempotent() || !request.body().is_end_stream() {
            return None;
        }
        let (mut head, ()) = Request::new(()).into_parts();
        head.method = request.method().clone();
        head.uri = request.uri().clone();
        head.version = request.version();
        head.headers = request.headers().clone();
        Some(Self(head))
    }

    /// The request.
    pub(super) fn request(self) -> Request<Body> {
        Request::from_parts(self.0, Body::empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    fn again(method: Method, body: Body) -> Option<Request<Body>> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = "/x?y".parse().unwrap();
        let headers = request.headers_mut();
        headers.insert("a", "b".parse().unwrap());
        Again::of(&request).map(Again::request)
    }

    #[test]
    fn only_what_may_be_sent_twice_is() {
        let same = again(Method::GET, Body::empty()).unwrap();
        assert_eq!((same.method(), same.uri().path()), (&Method::GET, "/x"));
        assert_eq!(same.uri().query(), Some("y"));
        assert_eq!(same.headers()["a"], "b");
        for method in [Method::HEAD, Method::DELETE, Method::PUT, Method::OPTIONS] {
            assert!(again(method, Body::empty()).is_some());
        }
        for method in [Method::POST, Method::PATCH, Method::CONNECT] {
            assert!(again(method, Body::empty()).is_none());
        }
        assert!(again(Method::PUT, Body::full("body")).is_none());
    }
}
