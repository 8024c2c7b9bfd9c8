//! One delta stream, kept up for ever.
//! In: responses. Out: [`Update`]s to the handler, ACKs and NACKs back.
//! Owns: the versions of what was accepted, so that a reconnect fetches only differences.
//! Retry: 10 ms doubling to 15 s; a stream that worked starts over at 10 ms.

use crate::io::server::MAX_MESSAGE;
use crate::stub::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use crate::wire::client_state::{ClientState, Rejection, Update};
use ambit_api::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node};
use ambit_runtime::causes::causes;
use bytes::Bytes;
use rand::Rng;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::metadata::{AsciiMetadataKey, MetadataValue};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
use tracing::{debug, info, warn};

const FIRST_RETRY: Duration = Duration::from_millis(10);
const LAST_RETRY: Duration = Duration::from_secs(15);
/// A stream that has lived so long was a good one; the next waits as if it were the first.
const SETTLED: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(5);
const PING: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the server may take to answer the call, or to take a request.
const ANSWER: Duration = Duration::from_secs(15);
/// ACKs waiting for the stream: one per type and the first requests.
const QUEUE: usize = 32;
/// What is counted in place of the type of a response that was not asked for.
const UNASKED: &str = "other";

/// Where roots come from.
#[derive(Clone, Debug)]
pub enum RootCert {
    /// PEM file, read again at each connect.
    File(PathBuf),
    /// PEM.
    Inline(String),
}

/// How to reach the server and who we are.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// `https://host:port`.
    pub address: String,
    /// Roots that verify the server.
    pub root: RootCert,
    /// Name the certificate must carry, when it is not the host of `address`.
    pub server_name: Option<String>,
    /// Bearer token, read again at each connect.
    pub token_file: Option<PathBuf>,
    /// Further request metadata.
    pub headers: Vec<(String, String)>,
    /// Node id, metadata.
    pub node: Node,
    /// Types to subscribe to.
    pub types: Vec<&'static str>,
}

/// Takes updates. Runs on the task of [`run`]; must not block.
pub trait Handler: Send {
    /// Applies what can be applied and returns what cannot.
    fn apply(&mut self, update: &Update) -> Vec<Rejection>;
}

/// Counts for the metrics `istio_xds_*`.
#[derive(Debug, Default)]
pub struct ClientCounters {
    /// Messages received, by type URL; those of types that were not asked for as `other`.
    pub messages: Mutex<BTreeMap<String, u64>>,
    /// Bytes received, by type URL.
    pub bytes: Mutex<BTreeMap<String, u64>>,
    /// Streams that could not be opened.
    pub connection_errors: AtomicU64,
    /// Streams that broke, and streams with a message that could not be read.
    pub stream_errors: AtomicU64,
    /// Streams the server ended.
    pub completed: AtomicU64,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Error)]
enum StreamError {
    #[error("configuration: {0}")]
    Config(String),
    #[error("read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("connect to {address}")]
    Connect {
        address: String,
        #[source]
        source: tonic::transport::Error,
    },
    #[error("xds stream: {0}")]
    Stream(Box<tonic::Status>),
    #[error("a message of the xds server cannot be read: {0}")]
    Malformed(Box<tonic::Status>),
}

impl StreamError {
    fn broke(status: tonic::Status) -> Self {
        let status = Box::new(status);
        match is_malformed(&status) {
            true => Self::Malformed(status),
            false => Self::Stream(status),
        }
    }
}

/// Whether a stream ended because a message could not be read, by the codes the gRPC library gives to
/// that: no protobuf, a broken frame, more than [`MAX_MESSAGE`].
pub(super) fn is_malformed(status: &tonic::Status) -> bool {
    use tonic::Code::{Internal, OutOfRange, Unimplemented};
    // An error of the transport has a source; one of the decoder has none.
    let decoder = std::error::Error::source(status).is_none();
    decoder && matches!(status.code(), Internal | OutOfRange | Unimplemented)
}

/// Keeps a stream up until dropped.
pub async fn run(config: ClientConfig, counters: Arc<ClientCounters>, mut handler: impl Handler) {
    let mut state = ClientState::new(config.node.clone(), &config.types);
    let mut retry = FIRST_RETRY;
    loop {
        let began = Instant::now();
        let end = stream(&config, &counters, &mut state, &mut handler).await;
        // A server that answers and then turns us away, or cannot be understood, is not asked again
        // at once.
        if began.elapsed() >= SETTLED {
            retry = FIRST_RETRY;
        }
        match end {
            Ok(()) => {
                counters.completed.fetch_add(1, Ordering::Relaxed);
                debug!("xds stream ended by the server");
            }
            Err(error) => {
                let counter = match error {
                    StreamError::Stream(_) | StreamError::Malformed(_) => &counters.stream_errors,
                    _ => &counters.connection_errors,
                };
                counter.fetch_add(1, Ordering::Relaxed);
                warn!(error = causes(&error), retry_in = ?retry, "xds stream failed");
            }
        }
        let jitter = rand::rng().random_range(0.8..1.2);
        tokio::time::sleep(retry.mul_f64(jitter)).await;
        retry = (retry * 2).min(LAST_RETRY);
    }
}

async fn stream(
    config: &ClientConfig,
    counters: &ClientCounters,
    state: &mut ClientState,
    handler: &mut impl Handler,
) -> Result<(), StreamError> {
    let channel = endpoint(config)?
        .connect()
        .await
        .map_err(|source| StreamError::Connect {
            address: config.address.clone(),
            source,
        })?;
    let client = AggregatedDiscoveryServiceClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    converse(client, (config, counters), state, handler).await
}

/// One stream, from its first request to its end.
async fn converse<T>(
    mut client: AggregatedDiscoveryServiceClient<T>,
    (config, counters): (&ClientConfig, &ClientCounters),
    state: &mut ClientState,
    handler: &mut impl Handler,
) -> Result<(), StreamError>
where
    T: GrpcService<Body>,
    T::Error: Into<BoxError>,
    T::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<BoxError> + Send,
{
    let (sender, receiver) = mpsc::channel(QUEUE);
    for request in state.start() {
        send(&sender, request).await?;
    }
    let request = with_metadata(config, ReceiverStream::new(receiver))?;
    let broke = StreamError::broke;
    let late = |_| {
        broke(tonic::Status::deadline_exceeded(
            "the server does not answer",
        ))
    };
    let mut responses = tokio::time::timeout(ANSWER, client.delta_aggregated_resources(request))
        .await
        .map_err(late)?
        .map_err(broke)?
        .into_inner();
    info!(address = config.address, "xds stream opened");
    while let Some(response) = responses.message().await.map_err(broke)? {
        let size = size(&response);
        let Some((update, nonce)) = state.on_response(response) else {
            // Whatever it says it is: names of others' choosing would make series without end.
            count(counters, UNASKED, size);
            debug!("a response of a type that was not asked for is ignored");
            continue;
        };
        count(counters, &update.type_url, size);
        let rejections = handler.apply(&update);
        for r in update.malformed.iter().chain(&rejections) {
            warn!(
                resource = r.name,
                type_url = update.type_url,
                error = r.reason,
                "resource refused"
            );
        }
        let answer = state.answer(&update, nonce, &rejections);
        send(&sender, answer).await?;
    }
    Ok(())
}

async fn send(
    sender: &mpsc::Sender<DeltaDiscoveryRequest>,
    request: DeltaDiscoveryRequest,
) -> Result<(), StreamError> {
    let broke = |text| StreamError::Stream(Box::new(tonic::Status::cancelled(text)));
    sender
        .send_timeout(request, ANSWER)
        .await
        .map_err(|_| broke("the stream takes no requests"))
}

fn size(response: &DeltaDiscoveryResponse) -> u64 {
    let bodies = response
        .resources
        .iter()
        .filter_map(|r| r.resource.as_ref());
    bodies.map(|any| any.value.len() as u64).sum()
}

fn count(counters: &ClientCounters, type_url: &str, size: u64) {
    let add = |map: &Mutex<BTreeMap<String, u64>>, n: u64| {
        let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
        *map.entry(type_url.to_owned()).or_default() += n;
    };
    add(&counters.messages, 1);
    add(&counters.bytes, size);
}

fn endpoint(config: &ClientConfig) -> Result<Endpoint, StreamError> {
    let bad = |e: tonic::transport::Error| StreamError::Config(causes(&e));
    if !config.address.starts_with("https://") {
        // The token would travel in plain sight.
        let text = format!("{} is not an https:// address", config.address);
        return Err(StreamError::Config(text));
    }
    let pem = match &config.root {
        RootCert::Inline(pem) => pem.clone().into_bytes(),
        RootCert::File(path) => read(path)?,
    };
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
    if let Some(name) = &config.server_name {
        tls = tls.domain_name(name);
    }
    Ok(Endpoint::from_shared(config.address.clone())
        .map_err(bad)?
        .tls_config(tls)
        .map_err(bad)?
        .connect_timeout(CONNECT)
        .tcp_keepalive(Some(Duration::from_secs(300)))
        .http2_keep_alive_interval(PING)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true))
}

fn with_metadata<T>(config: &ClientConfig, stream: T) -> Result<tonic::Request<T>, StreamError> {
    let mut request = tonic::Request::new(stream);
    if let Some(path) = &config.token_file {
        let token = String::from_utf8_lossy(&read(path)?).trim().to_owned();
        let value = MetadataValue::try_from(format!("Bearer {token}"))
            .map_err(|e| StreamError::Config(format!("token in {}: {e}", path.display())))?;
        request.metadata_mut().insert("authorization", value);
    }
    for (name, value) in &config.headers {
        let key = AsciiMetadataKey::from_bytes(name.as_bytes())
            .map_err(|e| StreamError::Config(format!("header {name}: {e}")))?;
        let value = MetadataValue::try_from(value)
            .map_err(|e| StreamError::Config(format!("header {name}: {e}")))?;
        request.metadata_mut().insert(key, value);
    }
    Ok(request)
}

fn read(path: &PathBuf) -> Result<Vec<u8>, StreamError> {
    std::fs::read(path).map_err(|source| StreamError::Read {
        path: path.clone(),
        source,
    })
}

#[cfg(test)]
mod tests;
