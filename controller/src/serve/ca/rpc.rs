//! The call as gRPC hands it over: its head first, so that only who may ask is read.
//! In: HTTP requests. Out: calls of [`CaService`], answered.
//! The generated service would decode the message before it asks anybody, and tell nobody of one that
//! cannot be. On the wire the call is the same.

use super::CaService;
use ambit_api::ca::{IstioCertificateRequest, IstioCertificateResponse};
use ambit_identity::rpc::istio_certificate_service_server::SERVICE_NAME;
use std::convert::Infallible;
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{ClientStreamingService, Grpc, NamedService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

/// Longest request, in bytes.
const MAX_MESSAGE: usize = 256 * 1024;
const CREATE_CERTIFICATE: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";

/// The gRPC service. Cheap to clone.
#[derive(Clone)]
pub(crate) struct CaServer(pub(crate) CaService);

impl NamedService for CaServer {
    const NAME: &'static str = SERVICE_NAME;
}

impl Service<http::Request<Body>> for CaServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if let Some(encoding) = ambit_xds::compression(request.headers()) {
            self.0.metrics.refused("encoding");
            tracing::warn!(?encoding, "certificate request refused: it is compressed");
        }
        let method = CreateCertificate(self.0.clone());
        Box::pin(async move {
            if request.uri().path() != CREATE_CERTIFICATE {
                return Ok(Status::unimplemented("no such method").into_http());
            }
            let mut grpc = Grpc::new(ProstCodec::default()).max_decoding_message_size(MAX_MESSAGE);
            Ok(grpc.client_streaming(method, request).await)
        })
    }
}

/// The method.
struct CreateCertificate(CaService);

impl ClientStreamingService<IstioCertificateRequest> for CreateCertificate {
    type Response = IstioCertificateResponse;
    type Future = BoxFuture<Response<IstioCertificateResponse>, Status>;

    fn call(&mut self, request: Request<Streaming<IstioCertificateRequest>>) -> Self::Future {
        let service = self.0.clone();
        Box::pin(async move { service.create_certificate(request).await })
    }
}
