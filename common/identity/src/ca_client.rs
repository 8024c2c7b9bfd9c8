//! The mesh CA over gRPC.
//! In: signing requests. Out: the CA's replies.
//! Owns: one lazily connected channel, made anew when the root file changes.
//! Must not happen here: a request without TLS or without a deadline, a token kept beyond it.
//! Spec: `istio.v1.auth.IstioCertificateService/CreateCertificate`.

use crate::authority::{Authority, CaError, SignRequest};
use crate::grpc_tls::{GrpcServer, GrpcTlsError, RootSource, TokenSource};
use crate::rpc::istio_certificate_service_client::IstioCertificateServiceClient;
use ambit_api::ca::IstioCertificateRequest;
use futures::future::BoxFuture;
use prost_types::{Struct, Value, value::Kind};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataKey, MetadataValue};
use tonic::transport::Channel;

/// Key of [`IstioCertificateRequest::metadata`] that names the identity asked for.
pub const IMPERSONATED_IDENTITY: &str = "ImpersonatedIdentity";

/// Settings of the client.
#[derive(Clone, Debug)]
pub struct CaClientConfig {
    /// The server (`CA_ADDRESS`, `CA_ROOT_CA`, `ALT_CA_HOSTNAME`).
    pub server: GrpcServer,
    /// Our token (`AUTH_TOKEN`).
    pub token: Option<TokenSource>,
    /// More request headers (`CA_HEADER_*`).
    pub headers: Vec<(String, String)>,
    /// Name the identity in the request: a node proxy asks for the pods of its node. Off for a
    /// proxy that asks only for its own.
    pub impersonate: bool,
    /// Longest time for one request.
    pub deadline: Duration,
    /// File of the lists of revoked certificates (`CRL_PATH`); one that is not there is empty.
    pub revoked: Option<PathBuf>,
}

impl CaClientConfig {
    /// Settings of a node proxy: impersonation, 10 s.
    pub fn node_proxy(server: GrpcServer, token: Option<TokenSource>) -> Self {
        Self {
            server,
            token,
            headers: Vec::new(),
            impersonate: true,
            deadline: Duration::from_secs(10),
            revoked: None,
        }
    }
}

/// Client of the mesh CA.
#[derive(Debug)]
pub struct CaClient {
    config: CaClientConfig,
    connected: Mutex<Option<Connected>>,
}

#[derive(Debug)]
struct Connected {
    roots_pem: String,
    channel: Channel,
}

impl CaClient {
    /// Connects at the first request.
    pub fn new(config: CaClientConfig) -> Self {
        Self {
            config,
            connected: Mutex::new(None),
        }
    }

    async fn channel(&self) -> Result<Channel, GrpcTlsError> {
        let roots_pem = self.config.server.roots.read().await?;
        // Nothing panics while it is held.
        let mut connected = self
            .connected
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*connected
            && known.roots_pem == roots_pem
        {
            return Ok(known.channel.clone());
        }
        let channel = self.config.server.endpoint(&roots_pem)?.connect_lazy();
        *connected = Some(Connected {
            roots_pem,
            channel: channel.clone(),
        });
        Ok(channel)
    }

    async fn request(
        &self,
        asked: SignRequest,
    ) -> Result<Request<IstioCertificateRequest>, CaError> {
        let metadata = self.config.impersonate.then(|| Struct {
            fields: BTreeMap::from([(
                IMPERSONATED_IDENTITY.to_owned(),
                Value {
                    kind: Some(Kind::StringValue(asked.id.to_string())),
                },
            )]),
        });
        let mut request = Request::new(IstioCertificateRequest {
            csr: asked.csr_pem,
            validity_duration: i64::try_from(asked.validity.as_secs()).unwrap_or(i64::MAX),
            metadata,
        });
        if let Some(token) = &self.config.token {
            let bearer = token.bearer().await.map_err(CaError::Token)?;
            request.metadata_mut().insert("authorization", bearer);
        }
        for (name, value) in &self.config.headers {
            let (name, value) = header(name, value)?;
            request.metadata_mut().insert(name, value);
        }
        Ok(request)
    }

    async fn create(&self, asked: SignRequest) -> Result<Vec<String>, CaError> {
        let channel = self.channel().await.map_err(|source| CaError::Connect {
            address: self.config.server.address.clone(),
            source,
        })?;
        let request = self.request(asked).await?;
        let reply = IstioCertificateServiceClient::new(channel)
            .create_certificate(request)
            .await
            .map_err(|status| CaError::Refused {
                code: status.code(),
                source: Box::new(status),
            })?;
        Ok(reply.into_inner().cert_chain)
    }
}

fn header(name: &str, value: &str) -> Result<(MetadataKey<Ascii>, MetadataValue<Ascii>), CaError> {
    let bad = || CaError::Header {
        name: name.to_owned(),
    };
    let key = name.to_ascii_lowercase().parse().map_err(|_| bad())?;
    Ok((key, value.parse().map_err(|_| bad())?))
}

impl Authority for CaClient {
    fn sign(&self, request: SignRequest) -> BoxFuture<'_, Result<Vec<String>, CaError>> {
        let after = self.config.deadline;
        Box::pin(async move {
            tokio::time::timeout(after, self.create(request))
                .await
                .map_err(|_| CaError::Timeout { after })?
        })
    }

    fn trust(&self) -> BoxFuture<'_, Option<String>> {
        Box::pin(async move {
            let roots = &self.config.server.roots;
            match roots {
                // Nothing is known while it cannot be read; requests say why.
                RootSource::File(_) => roots.read().await.ok(),
                RootSource::Pem(_) | RootSource::System => None,
            }
        })
    }

    fn revocations(&self) -> BoxFuture<'_, Option<String>> {
        Box::pin(async move {
            let path = self.config.revoked.as_ref()?;
            match tokio::fs::read_to_string(path).await {
                Ok(pem) => Some(pem),
                Err(error) if error.kind() == ErrorKind::NotFound => Some(String::new()),
                // What was known before counts.
                Err(_) => None,
            }
        })
    }
}

#[cfg(test)]
mod tests;
