//! One controller, its directory, and clients.

use crate::issuer::Issuer;
use ambit_api::ca::{IstioCertificateRequest, IstioCertificateResponse};
use ambit_api::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node};
use ambit_ca::caller::ServiceAccount;
use ambit_controller::app::App;
use ambit_controller::config::{AuthorityConfig, Config, Source};
use ambit_index::MeshConfig;
use ambit_runtime::drain;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use std::future::Future;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::GrpcService;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

const DEADLINE: Duration = Duration::from_secs(20);
/// The method that signs certificates.
pub(crate) const SIGN: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";

pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) issuer: Issuer,
    pub(crate) app: App,
    pub(crate) trigger: drain::Trigger,
}

impl Bench {
    /// Starts a controller on these files.
    pub(crate) async fn start(files: &[(&str, &str)]) -> Self {
        Self::start_with(files, AuthorityConfig::default()).await
    }

    /// The same, with its authority kept in another way.
    pub(crate) async fn start_with(files: &[(&str, &str)], authority: AuthorityConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let issuer = Issuer::new();
        let jwks = dir.path().join("jwks.json");
        std::fs::write(&jwks, issuer.jwks().to_string()).unwrap();
        let source_dir = dir.path().join("source");
        std::fs::create_dir(&source_dir).unwrap();
        for (name, text) in files {
            std::fs::write(source_dir.join(name), text).unwrap();
        }
        let config = Config {
            source: Source::Directory {
                dir: source_dir,
                jwks,
                ca_dir: dir.path().join("ca"),
            },
            namespace: "istio-system".to_owned(),
            xds_addr: ([127, 0, 0, 1], 0).into(),
            http_addr: ([127, 0, 0, 1], 0).into(),
            compliance: ambit_identity::Compliance::default(),
            mesh: MeshConfig::default(),
            node_accounts: vec![ServiceAccount::new("istio-system", "ztunnel")],
            authority,
        };
        let (trigger, watch) = drain::channel();
        let app = App::start(config, watch).await.unwrap();
        Self {
            dir,
            issuer,
            app,
            trigger,
        }
    }

    pub(crate) fn source(&self) -> std::path::PathBuf {
        self.dir.path().join("source")
    }

    /// Writes a file as `kubectl`-like tools do: beside, then renamed.
    pub(crate) fn put(&self, name: &str, text: &str) {
        let beside = self.source().join(format!(".{name}.new"));
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, self.source().join(name)).unwrap();
    }

    pub(crate) fn node_token(&self) -> String {
        self.issuer.token("istio-system/ztunnel", "n1", 60)
    }

    pub(crate) async fn channel(&self) -> Channel {
        let root = std::fs::read(self.dir.path().join("ca/published/root-cert.pem")).unwrap();
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(root))
            .domain_name("istiod.istio-system.svc");
        let address = format!("https://{}", self.app.xds_addr());
        let endpoint = Endpoint::from_shared(address)
            .unwrap()
            .tls_config(tls)
            .unwrap();
        within(endpoint.connect()).await.unwrap()
    }

    /// Opens a stream; the status when it is refused.
    pub(crate) async fn stream(&self, token: Option<&str>) -> Result<Ads, Status> {
        let mut grpc = tonic::client::Grpc::new(self.channel().await);
        grpc.ready().await.unwrap();
        let (requests, queue) = mpsc::channel(16);
        let mut request = Request::new(ReceiverStream::new(queue));
        authorize(&mut request, token);
        let path = PathAndQuery::from_static(
            "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
        );
        let codec = ProstCodec::<DeltaDiscoveryRequest, DeltaDiscoveryResponse>::default();
        let response = within(grpc.streaming(request, path, codec)).await?;
        Ok(Ads {
            requests,
            responses: response.into_inner(),
        })
    }

    pub(crate) async fn sign(
        &self,
        token: Option<&str>,
        message: IstioCertificateRequest,
    ) -> Result<IstioCertificateResponse, Status> {
        let mut grpc = tonic::client::Grpc::new(self.channel().await);
        grpc.ready().await.unwrap();
        let mut request = Request::new(message);
        authorize(&mut request, token);
        let path = PathAndQuery::from_static(SIGN);
        let codec = ProstCodec::<IstioCertificateRequest, IstioCertificateResponse>::default();
        within(grpc.unary(request, path, codec))
            .await
            .map(tonic::Response::into_inner)
    }

    /// Sends these bytes as the body of a call; the status with which it ends.
    pub(crate) async fn say(&self, path: &str, token: Option<&str>, body: Vec<u8>) -> Status {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers = bearer
            .iter()
            .map(|bearer| ("authorization", bearer.as_str()));
        let headers: Vec<_> = headers.collect();
        self.say_with(path, &headers, body).await
    }

    /// The same with these headers.
    pub(crate) async fn say_with(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Status {
        let mut request = http::Request::post(path)
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = tonic::body::Body::new(Full::new(Bytes::from(body)));
        let mut channel = self.channel().await;
        within(std::future::poll_fn(|cx| channel.poll_ready(cx)))
            .await
            .unwrap();
        let answer = channel.call(request.body(body).unwrap());
        let (head, body) = within(answer).await.unwrap().into_parts();
        let body = within(body.collect()).await.unwrap();
        let ended = body.trailers().unwrap_or(&head.headers);
        Status::from_header_map(ended).expect("a gRPC status")
    }

    /// Body of a GET on the HTTP port, with its status line.
    pub(crate) async fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.app.http_addr()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        within(stream.read_to_string(&mut text)).await.unwrap();
        text
    }
}

fn authorize<T>(request: &mut Request<T>, token: Option<&str>) {
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
}

/// A discovery stream.
pub(crate) struct Ads {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Ads {
    pub(crate) async fn subscribe(&self, type_url: &str) {
        let request = DeltaDiscoveryRequest {
            node: Some(Node {
                id: "ztunnel~10.0.0.1~ztunnel-n1.istio-system~istio-system.svc.cluster.local"
                    .into(),
                ..Default::default()
            }),
            type_url: type_url.to_owned(),
            ..Default::default()
        };
        self.requests.send(request).await.unwrap();
    }

    /// The next response, acknowledged.
    pub(crate) async fn next(&mut self) -> Result<DeltaDiscoveryResponse, Status> {
        let response = within(self.responses.message())
            .await?
            .expect("the stream goes on");
        let ack = DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            ..Default::default()
        };
        self.requests.send(ack).await.unwrap();
        Ok(response)
    }

    /// Whether the server ends the stream.
    pub(crate) async fn ends(&mut self) -> bool {
        matches!(within(self.responses.message()).await, Ok(None) | Err(_))
    }
}

pub(crate) fn names(response: &DeltaDiscoveryResponse) -> Vec<&str> {
    let mut names: Vec<&str> = response.resources.iter().map(|r| r.name.as_str()).collect();
    names.sort_unstable();
    names
}

/// Fails when something takes too long.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future)
        .await
        .expect("takes too long")
}

/// Looks again until it is there.
pub(crate) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = tokio::time::Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(tokio::time::Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The text of a file once it is there and says so.
pub(crate) async fn file(path: &Path, word: &str) -> String {
    let read = || {
        std::fs::read_to_string(path)
            .ok()
            .filter(|text| text.contains(word))
    };
    until(&format!("{word} in {}", path.display()), read).await
}

pub(crate) const MESH: &str = include_str!("../fixtures/mesh.yaml");
