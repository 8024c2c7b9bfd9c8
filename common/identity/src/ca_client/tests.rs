//! The client against a real gRPC server with TLS on loopback.

use super::*;
use crate::grpc_tls::RootSource;
use crate::in_process_ca::InProcessCa;
use crate::rpc::istio_certificate_service_server::{
    IstioCertificateService, IstioCertificateServiceServer,
};
use crate::store::Priority;
use ambit_api::ca::IstioCertificateResponse;
use ambit_model::ids::SpiffeId;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::PrivatePkcs8KeyDer;
use std::io::Write;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tonic::codegen::Service as _;
use tonic::{Response, Status};

struct Service {
    ca: Arc<InProcessCa>,
    token: &'static str,
    /// Signs for this identity whatever is asked.
    stubborn: Option<SpiffeId>,
}

#[tonic::async_trait]
impl IstioCertificateService for Service {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        let bearer = request.metadata().get("authorization").cloned();
        if bearer.as_ref().and_then(|b| b.to_str().ok()) != Some(self.token) {
            return Err(Status::unauthenticated("who are you"));
        }
        let message = request.into_inner();
        let fields = message.metadata.unwrap().fields;
        let Some(Kind::StringValue(asked)) = &fields[IMPERSONATED_IDENTITY].kind else {
            return Err(Status::invalid_argument("no identity"));
        };
        let request = SignRequest {
            id: self.stubborn.clone().unwrap_or(asked.parse().unwrap()),
            csr_pem: message.csr,
            validity: Duration::from_secs(message.validity_duration.unsigned_abs()),
        };
        let cert_chain = self.ca.sign(request).await.unwrap();
        Ok(Response::new(IstioCertificateResponse { cert_chain }))
    }
}

struct Running {
    address: String,
    root_pem: String,
    _task: tokio::task::JoinSet<()>,
}

/// Serves with a certificate for `name` under a root of its own.
async fn serve(name: &str, service: Service) -> Running {
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = rcgen::CertificateParams::new(vec![name.to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let mut config =
        rustls::ServerConfig::builder_with_provider(crate::provider::provider().clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![cert.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tls = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    let server = IstioCertificateServiceServer::new(service);
    let mut task = tokio::task::JoinSet::new();
    task.spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((tcp, _)) = listener.accept().await {
            let (tls, server) = (tls.clone(), server.clone());
            connections.spawn(async move {
                // A client that does not like our certificate hangs up: that is what is tested.
                let Ok(stream) = tls.accept(tcp).await else {
                    return;
                };
                let call = service_fn(move |request| server.clone().call(request));
                let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), call)
                    .await;
            });
        }
    });
    Running {
        address,
        root_pem: cert.pem(),
        _task: task,
    }
}

fn client(running: &Running, name: Option<&str>, roots: RootSource, token: &str) -> CaClient {
    let server = GrpcServer {
        address: running.address.clone(),
        roots,
        server_name: name.map(str::to_owned),
    };
    CaClient::new(CaClientConfig::node_proxy(
        server,
        Some(TokenSource::Literal(token.to_owned())),
    ))
}

fn service(ca: &Arc<InProcessCa>, stubborn: Option<SpiffeId>) -> Service {
    Service {
        ca: ca.clone(),
        token: "Bearer t0ken",
        stubborn,
    }
}

fn web() -> SpiffeId {
    SpiffeId::new("cluster.local", "default", "web")
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_certificate_is_signed_for_the_impersonated_identity() {
    let ca = Arc::new(InProcessCa::new("mesh").unwrap());
    let running = serve("istiod.istio-system.svc", service(&ca, None)).await;
    let roots = RootSource::Pem(running.root_pem.clone());
    let client = client(&running, Some("istiod.istio-system.svc"), roots, "t0ken");
    let (store, serve) = crate::SecretStore::new(Arc::new(client), Default::default());
    let mut task = tokio::task::JoinSet::new();
    task.spawn(serve);
    let lease = store.lease(&web(), Priority::OnDemand);
    let svid = lease.svid(Duration::from_secs(20)).await.unwrap();
    assert_eq!(svid.id(), &web());
    assert_eq!(svid.chain().len(), 1);
    let left = svid.remaining(std::time::SystemTime::now()).unwrap();
    assert!(left > HOUR * 23 && left <= HOUR * 24, "{left:?}");
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let ca = Arc::new(InProcessCa::new("mesh").unwrap());
    let running = serve("ca.example", service(&ca, None)).await;
    let obtain = async |client: CaClient| {
        crate::authority::obtain(&client, &web(), HOUR)
            .await
            .unwrap_err()
    };
    let pem = || RootSource::Pem(running.root_pem.clone());

    let error = obtain(client(&running, Some("ca.example"), pem(), "other")).await;
    assert!(
        matches!(
            error,
            CaError::Refused {
                code: tonic::Code::Unauthenticated,
                ..
            }
        ),
        "{error:?}"
    );
    let error = obtain(client(&running, Some("other.example"), pem(), "t0ken")).await;
    assert!(
        matches!(
            error,
            CaError::Refused {
                code: tonic::Code::Unavailable,
                ..
            }
        ),
        "wrong server name: {error:?}"
    );
    let foreign = RootSource::Pem(ca.root_pem().to_owned());
    let error = obtain(client(&running, Some("ca.example"), foreign, "t0ken")).await;
    assert!(
        matches!(
            error,
            CaError::Refused {
                code: tonic::Code::Unavailable,
                ..
            }
        ),
        "wrong root: {error:?}"
    );
    let missing = RootSource::File("/nonexistent/root.pem".into());
    let error = obtain(client(&running, Some("ca.example"), missing, "t0ken")).await;
    assert!(matches!(error, CaError::Connect { .. }), "{error:?}");
}

#[tokio::test]
async fn a_certificate_for_somebody_else_is_refused() {
    let ca = Arc::new(InProcessCa::new("mesh").unwrap());
    let other = SpiffeId::new("cluster.local", "default", "admin");
    let running = serve("ca.example", service(&ca, Some(other))).await;
    let roots = RootSource::Pem(running.root_pem.clone());
    let client = client(&running, Some("ca.example"), roots, "t0ken");
    let error = crate::authority::obtain(&client, &web(), HOUR).await;
    assert!(
        matches!(
            error,
            Err(CaError::Reply(crate::svid::SvidError::OtherIdentity { .. }))
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_changed_root_file_is_used_at_the_next_request() {
    let ca = Arc::new(InProcessCa::new("mesh").unwrap());
    let running = serve("ca.example", service(&ca, None)).await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(ca.root_pem().as_bytes()).unwrap();
    let roots = RootSource::File(file.path().into());
    let client = client(&running, Some("ca.example"), roots, "t0ken");
    let obtain = async || crate::authority::obtain(&client, &web(), HOUR).await;
    assert!(obtain().await.is_err(), "not the server's root");
    std::fs::write(file.path(), &running.root_pem).unwrap();
    obtain().await.unwrap();
}

#[tokio::test]
async fn a_silent_server_costs_no_more_than_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ca = InProcessCa::new("mesh").unwrap();
    let server = GrpcServer {
        address: listener.local_addr().unwrap().to_string(),
        roots: RootSource::Pem(ca.root_pem().to_owned()),
        server_name: None,
    };
    let mut config = CaClientConfig::node_proxy(server, None);
    config.deadline = Duration::from_millis(50);
    let client = CaClient::new(config);
    let error = crate::authority::obtain(&client, &web(), HOUR).await;
    assert!(matches!(error, Err(CaError::Timeout { .. })), "{error:?}");
}
