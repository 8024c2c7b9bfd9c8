//! Names of objects: kind, namespace, name.

use std::fmt;
use std::sync::Arc;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $kind:literal, $plural:literal, $group:literal, $namespaced:literal;)*) => {
        /// Kind of an object Ambit reads, or any other.
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[$doc])* $variant,)*
            /// A kind Ambit does not read, as `<group>/<kind>` (`/Secret` for the core group).
            Other(Arc<str>),
        }

        impl Kind {
            /// Every kind Ambit reads.
            pub const KNOWN: &'static [Kind] = &[$(Kind::$variant,)*];

            /// `kind` as documents write it.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $kind,)*
                    Self::Other(name) => name.rsplit('/').next().unwrap_or(name),
                }
            }

            /// Lower-case plural as in API paths; of other kinds the lower-case kind.
            pub fn plural(&self) -> String {
                match self {
                    $(Self::$variant => $plural.to_owned(),)*
                    Self::Other(_) => self.as_str().to_lowercase(),
                }
            }

            /// API group; empty for the core group.
            pub fn group(&self) -> &str {
                match self {
                    $(Self::$variant => $group,)*
                    Self::Other(name) => name.rsplit_once('/').map_or("", |(group, _)| group),
                }
            }

            /// Whether objects of it live in a namespace.
            pub fn is_namespaced(&self) -> bool {
                match self {
                    $(Self::$variant => $namespaced,)*
                    Self::Other(_) => true,
                }
            }

            /// The kind of a group and `kind`.
            pub fn of(group: &str, kind: &str) -> Self {
                match (group, kind) {
                    $(($group, $kind) => Self::$variant,)*
                    _ => Self::Other(format!("{group}/{kind}").into()),
                }
            }

            /// Its name among all kinds, as `kubectl` takes it: the plural, followed by the group
            /// where an earlier kind has that plural, too.
            pub fn resource(&self) -> String {
                let plural = self.plural();
                match Self::KNOWN.iter().find(|known| known.plural() == plural) {
                    Some(first) if first != self => format!("{plural}.{}", self.group()),
                    _ => plural,
                }
            }

            /// The known kind with this [`resource`](Self::resource).
            pub fn from_resource(resource: &str) -> Option<Self> {
                let mut known = Self::KNOWN.iter();
                known.find(|kind| kind.resource() == resource).cloned()
            }
        }
    };
}

kinds! {
    /// core/v1.
    Namespace = "Namespace", "namespaces", "", false;
    /// core/v1.
    Node = "Node", "nodes", "", false;
    /// core/v1.
    ServiceAccount = "ServiceAccount", "serviceaccounts", "", true;
    /// core/v1.
    Pod = "Pod", "pods", "", true;
    /// core/v1.
    Service = "Service", "services", "", true;
    /// core/v1.
    ConfigMap = "ConfigMap", "configmaps", "", true;
    /// discovery.k8s.io/v1.
    EndpointSlice = "EndpointSlice", "endpointslices", "discovery.k8s.io", true;
    /// gateway.networking.k8s.io/v1.
    Gateway = "Gateway", "gateways", "gateway.networking.k8s.io", true;
    /// gateway.networking.k8s.io/v1.
    GatewayClass = "GatewayClass", "gatewayclasses", "gateway.networking.k8s.io", false;
    /// gateway.networking.k8s.io/v1.
    HttpRoute = "HTTPRoute", "httproutes", "gateway.networking.k8s.io", true;
    /// gateway.networking.k8s.io/v1.
    GrpcRoute = "GRPCRoute", "grpcroutes", "gateway.networking.k8s.io", true;
    /// gateway.networking.k8s.io/v1beta1.
    ReferenceGrant = "ReferenceGrant", "referencegrants", "gateway.networking.k8s.io", true;
    /// networking.istio.io; Gateway API's kind of that name is [`Kind::Gateway`].
    IstioGateway = "Gateway", "gateways", "networking.istio.io", true;
    /// networking.istio.io.
    VirtualService = "VirtualService", "virtualservices", "networking.istio.io", true;
    /// networking.istio.io.
    DestinationRule = "DestinationRule", "destinationrules", "networking.istio.io", true;
    /// networking.istio.io.
    ServiceEntry = "ServiceEntry", "serviceentries", "networking.istio.io", true;
    /// networking.istio.io.
    WorkloadEntry = "WorkloadEntry", "workloadentries", "networking.istio.io", true;
    /// security.istio.io.
    AuthorizationPolicy = "AuthorizationPolicy", "authorizationpolicies", "security.istio.io", true;
    /// security.istio.io.
    PeerAuthentication = "PeerAuthentication", "peerauthentications", "security.istio.io", true;
    /// security.istio.io; not acted on.
    RequestAuthentication = "RequestAuthentication", "requestauthentications", "security.istio.io", true;
    /// telemetry.istio.io; not acted on.
    Telemetry = "Telemetry", "telemetries", "telemetry.istio.io", true;
}

impl Kind {
    /// API versions that are read, best first.
    pub fn versions(&self) -> &'static [&'static str] {
        match self {
            Self::VirtualService
            | Self::DestinationRule
            | Self::IstioGateway
            | Self::ServiceEntry
            | Self::WorkloadEntry => &["v1", "v1beta1", "v1alpha3"],
            Self::AuthorizationPolicy
            | Self::PeerAuthentication
            | Self::RequestAuthentication
            | Self::Gateway
            | Self::GatewayClass
            | Self::HttpRoute
            | Self::ReferenceGrant => &["v1", "v1beta1"],
            Self::Telemetry => &["v1", "v1alpha1"],
            _ => &["v1"],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Identity of an object. `Display` is `Kind namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Kind.
    pub kind: Kind,
    /// Namespace; empty for cluster-scoped kinds.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl ObjectKey {
    /// Key of these parts. The namespace of a cluster-scoped kind is dropped.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        let namespace = if kind.is_namespaced() { namespace } else { "" };
        Self {
            kind,
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_ref(f, self.kind.as_str(), &self.namespace, &self.name)
    }
}

/// What a document says it is, right or wrong; parts it does not say are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    /// `kind`.
    pub kind: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl From<&ObjectKey> for ObjectRef {
    fn from(key: &ObjectKey) -> Self {
        Self {
            kind: key.kind.as_str().to_owned(),
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
        }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.kind.is_empty() {
            "object"
        } else {
            &self.kind
        };
        let name = if self.name.is_empty() {
            "?"
        } else {
            &self.name
        };
        write_ref(f, kind, &self.namespace, name)
    }
}

fn write_ref(f: &mut fmt::Formatter<'_>, kind: &str, namespace: &str, name: &str) -> fmt::Result {
    if namespace.is_empty() {
        write!(f, "{kind} {name}")
    } else {
        write!(f, "{kind} {namespace}/{name}")
    }
}
