//! The label set all Istio metrics share. An absent value is the word `unknown`, never a missing
//! label, because Kiali and the stock dashboards group by every one of them.
//! In: model types. Out: [`TrafficLabels`], hashable, cheap to clone (shared strings).
//! Spec: Istio standard metrics, labels section.

use ambit_model::ids::SpiffeId;
use ambit_model::service::Service;
use ambit_model::workload::Workload;
use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use std::fmt::{self, Display, Write};
use std::sync::Arc;

/// Value of a label whose fact is not known.
pub const UNKNOWN: &str = "unknown";

/// Which end of a connection tells (`reporter`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reporter {
    /// The client's node proxy, or a gateway.
    Source,
    /// The server's node proxy.
    Destination,
    /// A waypoint.
    Waypoint,
}

impl Reporter {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
            Self::Waypoint => "waypoint",
        }
    }
}

/// Whether mutual TLS really ran (`connection_security_policy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecurityPolicy {
    /// Both ends proved who they are.
    MutualTls,
    /// Plaintext, or never got that far.
    Unknown,
}

impl SecurityPolicy {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MutualTls => "mutual_tls",
            Self::Unknown => UNKNOWN,
        }
    }
}

/// What was spoken (`request_protocol`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Bytes.
    Tcp,
    /// HTTP/1.1 or HTTP/2.
    Http,
    /// gRPC over HTTP/2.
    Grpc,
}

impl Protocol {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http => "http",
            Self::Grpc => "grpc",
        }
    }
}

/// One end of a connection: eight labels, plus region and zone where known. Empty means unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Peer {
    /// `*_workload`: name of the owner.
    pub workload: Arc<str>,
    /// `*_workload_namespace`.
    pub namespace: Arc<str>,
    /// `*_canonical_service`, also `*_app`.
    pub canonical_service: Arc<str>,
    /// `*_canonical_revision`, also `*_version`.
    pub canonical_revision: Arc<str>,
    /// `*_principal`: only an identity that TLS proved.
    pub principal: Option<SpiffeId>,
    /// `*_cluster`.
    pub cluster: Arc<str>,
    /// `*_region`; the label is left out when empty.
    pub region: Arc<str>,
    /// `*_zone`; the label is left out when empty.
    pub zone: Arc<str>,
}

impl Peer {
    /// The labels of a workload; the principal is left for the caller, who knows what TLS proved.
    pub fn of(workload: &Workload) -> Self {
        Self {
            workload: workload.workload_name.clone(),
            namespace: workload.namespace.clone(),
            canonical_service: workload.canonical.name.clone(),
            canonical_revision: workload.canonical.revision.clone(),
            principal: None,
            cluster: workload.cluster_id.clone(),
            region: workload.locality.region.clone(),
            zone: workload.locality.zone.clone(),
        }
    }

    /// With the identity that TLS proved.
    #[must_use]
    pub fn with_principal(mut self, principal: Option<SpiffeId>) -> Self {
        self.principal = principal;
        self
    }
}

/// The addressed service: `destination_service`, `_name` and `_namespace`. Empty means unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DestinationService {
    /// Fully qualified hostname.
    pub hostname: Arc<str>,
    /// Object name.
    pub name: Arc<str>,
    /// Kubernetes namespace.
    pub namespace: Arc<str>,
}

impl DestinationService {
    /// The labels of a service.
    pub fn of(service: &Service) -> Self {
        Self {
            hostname: service.key.hostname.clone(),
            name: service.name.clone(),
            namespace: service.key.namespace.clone(),
        }
    }
}

/// The common label set of one connection or request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TrafficLabels {
    /// Who tells.
    pub reporter: Reporter,
    /// Client end.
    pub source: Peer,
    /// Server end.
    pub destination: Peer,
    /// What was addressed.
    pub service: DestinationService,
    /// What was spoken.
    pub protocol: Protocol,
    /// `-`, or an Envoy or ztunnel response flag.
    pub response_flags: &'static str,
    /// Whether mutual TLS ran.
    pub security: SecurityPolicy,
    /// Our own `join` label: `node` when both ends met inside one proxy without a tunnel.
    pub join: Option<&'static str>,
}

/// `response_flags` when there is nothing to say.
pub const NO_FLAGS: &str = "-";

impl TrafficLabels {
    /// A plaintext TCP connection between unknown ends, to be filled in.
    pub fn tcp(reporter: Reporter) -> Self {
        Self {
            reporter,
            source: Peer::default(),
            destination: Peer::default(),
            service: DestinationService::default(),
            protocol: Protocol::Tcp,
            response_flags: NO_FLAGS,
            security: SecurityPolicy::Unknown,
            join: None,
        }
    }

    /// The same with other flags.
    #[must_use]
    pub fn with_flags(&self, response_flags: &'static str) -> Self {
        Self {
            response_flags,
            ..self.clone()
        }
    }
}

impl EncodeLabelSet for TrafficLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        write_label(encoder, "reporter", &self.reporter.as_str())?;
        write_peer(encoder, &SOURCE, &self.source)?;
        write_label(
            encoder,
            "destination_service",
            &known(&self.service.hostname),
        )?;
        write_label(
            encoder,
            "destination_service_namespace",
            &known(&self.service.namespace),
        )?;
        write_label(
            encoder,
            "destination_service_name",
            &known(&self.service.name),
        )?;
        write_peer(encoder, &DESTINATION, &self.destination)?;
        write_label(encoder, "request_protocol", &self.protocol.as_str())?;
        write_label(encoder, "response_flags", &self.response_flags)?;
        write_label(
            encoder,
            "connection_security_policy",
            &self.security.as_str(),
        )?;
        match self.join {
            Some(join) => write_label(encoder, "join", &join),
            None => Ok(()),
        }
    }
}

/// Writes one label.
pub(crate) fn write_label(
    encoder: &mut LabelSetEncoder<'_>,
    name: &str,
    value: &dyn Display,
) -> fmt::Result {
    let mut label = encoder.encode_label();
    let mut key = label.encode_label_key()?;
    key.write_str(name)?;
    let mut text = key.encode_label_value()?;
    write!(text, "{value}")?;
    text.finish()
}

fn known(value: &str) -> &str {
    if value.is_empty() { UNKNOWN } else { value }
}

struct PeerNames {
    workload: &'static str,
    canonical_service: &'static str,
    canonical_revision: &'static str,
    namespace: &'static str,
    principal: &'static str,
    app: &'static str,
    version: &'static str,
    cluster: &'static str,
    region: &'static str,
    zone: &'static str,
}

const SOURCE: PeerNames = PeerNames {
    workload: "source_workload",
    canonical_service: "source_canonical_service",
    canonical_revision: "source_canonical_revision",
    namespace: "source_workload_namespace",
    principal: "source_principal",
    app: "source_app",
    version: "source_version",
    cluster: "source_cluster",
    region: "source_region",
    zone: "source_zone",
};

const DESTINATION: PeerNames = PeerNames {
    workload: "destination_workload",
    canonical_service: "destination_canonical_service",
    canonical_revision: "destination_canonical_revision",
    namespace: "destination_workload_namespace",
    principal: "destination_principal",
    app: "destination_app",
    version: "destination_version",
    cluster: "destination_cluster",
    region: "destination_region",
    zone: "destination_zone",
};

fn write_peer(encoder: &mut LabelSetEncoder<'_>, names: &PeerNames, peer: &Peer) -> fmt::Result {
    write_label(encoder, names.workload, &known(&peer.workload))?;
    write_label(
        encoder,
        names.canonical_service,
        &known(&peer.canonical_service),
    )?;
    write_label(
        encoder,
        names.canonical_revision,
        &known(&peer.canonical_revision),
    )?;
    write_label(encoder, names.namespace, &known(&peer.namespace))?;
    match &peer.principal {
        Some(id) => write_label(encoder, names.principal, id)?,
        None => write_label(encoder, names.principal, &UNKNOWN)?,
    }
    write_label(encoder, names.app, &known(&peer.canonical_service))?;
    write_label(encoder, names.version, &known(&peer.canonical_revision))?;
    write_label(encoder, names.cluster, &known(&peer.cluster))?;
    if !peer.region.is_empty() {
        write_label(encoder, names.region, &peer.region)?;
    }
    if !peer.zone.is_empty() {
        write_label(encoder, names.zone, &peer.zone)?;
    }
    Ok(())
}
