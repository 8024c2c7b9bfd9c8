//! Two gRPC services on one port, told apart by the path.

use std::convert::Infallible;
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Service};
use tonic::server::NamedService;
use tonic::{Code, Status};

/// Discovery and certificates.
#[derive(Clone)]
pub(crate) struct ByPath<X, C> {
    pub(crate) xds: X,
    pub(crate) ca: C,
}

/// A service that a TLS port serves.
pub(crate) trait Served:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + 'static
{
}

impl<S> Served for S where
    S: Service<
            Request<Body>,
            Response = Response<Body>,
            Error = Infallible,
            Future: Send + 'static,
        > + Clone
        + Send
        + 'static
{
}

/// A gRPC service, as tonic generates them.
pub(crate) trait Grpc: Served + NamedService {}

impl<S: Served + NamedService> Grpc for S {}

impl<X: Grpc, C: Grpc> Service<Request<Body>> for ByPath<X, C> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        match (self.xds.poll_ready(cx), self.ca.poll_ready(cx)) {
            (Poll::Ready(_), Poll::Ready(_)) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let service = request.uri().path().split('/').nth(1).unwrap_or_default();
        if service == X::NAME {
            Box::pin(self.xds.call(request))
        } else if service == C::NAME {
            Box::pin(self.ca.call(request))
        } else {
            let unknown = Status::new(Code::Unimplemented, "no such service");
            Box::pin(std::future::ready(Ok(unknown.into_http())))
        }
    }
}
