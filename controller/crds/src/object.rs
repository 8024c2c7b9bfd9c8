//! One object of any kind: reading it and what all kinds have in common.

mod naming;
mod unserved;

pub use unserved::{Other, Unserved, no_effect};

pub(crate) use naming::{is_dns_label, is_dns_subdomain, reference};

use crate::error::{Code, FieldError, Severity};
use crate::gateway::{
    GatewayClass, GatewaySpec, GatewayStatus, GrpcRouteSpec, HttpRouteSpec, ReferenceGrantSpec,
};
use crate::istio::{
    AuthorizationPolicySpec, DestinationRuleSpec, IstioGatewaySpec, PeerAuthenticationSpec,
    ServiceEntrySpec, VirtualServiceSpec, WorkloadEntrySpec,
};
use crate::key::{Kind, ObjectKey, ObjectRef};
use crate::parse::{UnknownFields, normalise, strict};
use crate::{gateway, istio};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use naming::{place, value_is_no_text};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// An object with a spec of ours. `S` is the spec, `T` the status (raw JSON where nothing reads it).
#[derive(Debug, Clone, PartialEq)]
pub struct Resource<S, T = Value> {
    /// `metadata`; name and namespace are always set.
    pub metadata: ObjectMeta,
    /// `spec`; its default when absent.
    pub spec: S,
    /// `status`.
    pub status: Option<T>,
}

/// A GRPCRoute.
#[derive(Debug, Clone, PartialEq)]
pub struct GrpcRoute {
    /// As it was written.
    pub written: GrpcRouteSpec,
    /// As it is executed.
    pub route: Resource<HttpRouteSpec>,
}

impl GrpcRoute {
    fn read(map: Map<String, Value>) -> Result<Self, Vec<FieldError>> {
        let read: Resource<GrpcRouteSpec> = *custom(map, gateway::GRPC_ROUTE_UNSUPPORTED)?;
        let route = Resource {
            metadata: read.metadata,
            spec: read.spec.as_http(),
            status: read.status,
        };
        Ok(Self {
            written: read.spec,
            route,
        })
    }
}

/// One object. Equality is by content.
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    /// core/v1.
    Namespace(Box<Namespace>),
    /// core/v1.
    Node(Box<Node>),
    /// core/v1.
    ServiceAccount(Box<ServiceAccount>),
    /// core/v1.
    Pod(Box<Pod>),
    /// core/v1.
    Service(Box<Service>),
    /// core/v1.
    ConfigMap(Box<ConfigMap>),
    /// discovery.k8s.io/v1.
    EndpointSlice(Box<EndpointSlice>),
    /// gateway.networking.k8s.io v1, v1beta1.
    Gateway(Box<Resource<GatewaySpec, GatewayStatus>>),
    /// gateway.networking.k8s.io v1, v1beta1.
    GatewayClass(Box<GatewayClass>),
    /// gateway.networking.k8s.io v1, v1beta1.
    HttpRoute(Box<Resource<HttpRouteSpec>>),
    /// gateway.networking.k8s.io v1.
    GrpcRoute(Box<GrpcRoute>),
    /// gateway.networking.k8s.io v1, v1beta1.
    ReferenceGrant(Box<Resource<ReferenceGrantSpec>>),
    /// networking.istio.io v1, v1beta1, v1alpha3.
    IstioGateway(Box<Resource<IstioGatewaySpec>>),
    /// networking.istio.io v1, v1beta1, v1alpha3.
    VirtualService(Box<Resource<VirtualServiceSpec>>),
    /// networking.istio.io v1, v1beta1, v1alpha3.
    DestinationRule(Box<Resource<DestinationRuleSpec>>),
    /// networking.istio.io v1, v1beta1, v1alpha3.
    ServiceEntry(Box<Resource<ServiceEntrySpec>>),
    /// networking.istio.io v1, v1beta1, v1alpha3.
    WorkloadEntry(Box<Resource<WorkloadEntrySpec>>),
    /// security.istio.io v1, v1beta1.
    AuthorizationPolicy(Box<Resource<AuthorizationPolicySpec>>),
    /// security.istio.io v1, v1beta1.
    PeerAuthentication(Box<Resource<PeerAuthenticationSpec>>),
    /// security.istio.io `RequestAuthentication`, telemetry.istio.io `Telemetry`.
    Unserved(Box<Unserved>),
    /// Anything else.
    Other(Other),
}

impl Object {
    /// Reads one document. Only form is judged here; [`crate::validate`] judges meaning.
    ///
    /// # Errors
    /// All unknown and unsupported fields, and the first field of a wrong type or form.
    pub fn parse(mut value: Value) -> Result<Self, Vec<FieldError>> {
        let named = reference(&value);
        let fail = |path: &str, reason: &str| {
            vec![FieldError {
                object: named.clone(),
                path: path.to_owned(),
                reason: reason.to_owned(),
                code: Code::Schema,
                severity: Severity::Error,
            }]
        };
        if normalise(&mut value).is_err() {
            return Err(fail("", "nested too deep"));
        }
        let Value::Object(mut map) = value else {
            return Err(fail(
                "",
                "a document must be a map with apiVersion and kind",
            ));
        };
        let (group, version) = match map.get("apiVersion").and_then(Value::as_str) {
            Some(text) => {
                let (group, version) = text.split_once('/').unwrap_or(("", text));
                (group.to_owned(), version.to_owned())
            }
            None => return Err(fail("apiVersion", "required")),
        };
        let Some(kind) = map.get("kind").and_then(Value::as_str) else {
            return Err(fail("kind", "required"));
        };
        let kind = Kind::of(&group, kind);
        for part in ["name", "namespace"] {
            // `namespace: n` is a boolean in YAML; taking it for absent would move the object.
            if value_is_no_text(map.get("metadata"), part) {
                return Err(fail(&format!("metadata.{part}"), "must be text; quote it"));
            }
        }
        if let Kind::Other(_) = kind {
            // Without a name it is no object, but perhaps the first half of one.
            if named.name.is_empty() {
                return Err(fail("metadata.name", "required"));
            }
            let key = ObjectKey::new(kind, &named.namespace, &named.name);
            return Ok(Self::Other(Other { key }));
        }
        if !kind.versions().contains(&version.as_str()) {
            let reason = format!(
                "version `{version}` of {kind} is not read, expected one of {}",
                kind.versions().join(", ")
            );
            return Err(fail("apiVersion", &reason));
        }
        place(&mut map, &kind, &named).map_err(|(path, reason)| fail(path, &reason))?;
        read(&kind, map)
    }

    /// Identity.
    pub fn key(&self) -> ObjectKey {
        if let Self::Other(other) = self {
            return other.key.clone();
        }
        let meta = self.metadata();
        ObjectKey::new(
            self.kind(),
            meta.and_then(|m| m.namespace.as_deref()).unwrap_or(""),
            meta.and_then(|m| m.name.as_deref()).unwrap_or(""),
        )
    }

    /// Kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Namespace(_) => Kind::Namespace,
            Self::Node(_) => Kind::Node,
            Self::ServiceAccount(_) => Kind::ServiceAccount,
            Self::Pod(_) => Kind::Pod,
            Self::Service(_) => Kind::Service,
            Self::ConfigMap(_) => Kind::ConfigMap,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Gateway(_) => Kind::Gateway,
            Self::GatewayClass(_) => Kind::GatewayClass,
            Self::HttpRoute(_) => Kind::HttpRoute,
            Self::GrpcRoute(_) => Kind::GrpcRoute,
            Self::ReferenceGrant(_) => Kind::ReferenceGrant,
            Self::IstioGateway(_) => Kind::IstioGateway,
            Self::VirtualService(_) => Kind::VirtualService,
            Self::DestinationRule(_) => Kind::DestinationRule,
            Self::ServiceEntry(_) => Kind::ServiceEntry,
            Self::WorkloadEntry(_) => Kind::WorkloadEntry,
            Self::AuthorizationPolicy(_) => Kind::AuthorizationPolicy,
            Self::PeerAuthentication(_) => Kind::PeerAuthentication,
            Self::Unserved(o) => o.kind.clone(),
            Self::Other(other) => other.key.kind.clone(),
        }
    }

    /// `metadata`; `None` for [`Object::Other`].
    pub fn metadata(&self) -> Option<&ObjectMeta> {
        Some(match self {
            Self::Namespace(o) => &o.metadata,
            Self::Node(o) => &o.metadata,
            Self::ServiceAccount(o) => &o.metadata,
            Self::Pod(o) => &o.metadata,
            Self::Service(o) => &o.metadata,
            Self::ConfigMap(o) => &o.metadata,
            Self::EndpointSlice(o) => &o.metadata,
            Self::Gateway(o) => &o.metadata,
            Self::GatewayClass(o) => &o.metadata,
            Self::HttpRoute(o) => &o.metadata,
            Self::GrpcRoute(o) => &o.route.metadata,
            Self::ReferenceGrant(o) => &o.metadata,
            Self::IstioGateway(o) => &o.metadata,
            Self::VirtualService(o) => &o.metadata,
            Self::DestinationRule(o) => &o.metadata,
            Self::ServiceEntry(o) => &o.metadata,
            Self::WorkloadEntry(o) => &o.metadata,
            Self::AuthorizationPolicy(o) => &o.metadata,
            Self::PeerAuthentication(o) => &o.metadata,
            Self::Unserved(o) => &o.metadata,
            Self::Other(_) => return None,
        })
    }

    /// `metadata.labels`.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.metadata()
            .and_then(|m| m.labels.as_ref())
            .unwrap_or(&NONE)
    }

    /// `metadata.annotations`.
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.metadata()
            .and_then(|m| m.annotations.as_ref())
            .unwrap_or(&NONE)
    }

    /// `metadata.creationTimestamp`.
    pub fn created(&self) -> Option<jiff::Timestamp> {
        self.metadata()?.creation_timestamp.as_ref().map(|t| t.0)
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> Option<&str> {
        self.metadata()?.uid.as_deref()
    }
}

fn read(kind: &Kind, map: Map<String, Value>) -> Result<Object, Vec<FieldError>> {
    Ok(match kind {
        Kind::Namespace => Object::Namespace(core(map)?),
        Kind::Node => Object::Node(core(map)?),
        Kind::ServiceAccount => Object::ServiceAccount(core(map)?),
        Kind::Pod => Object::Pod(core(map)?),
        Kind::Service => Object::Service(core(map)?),
        Kind::ConfigMap => Object::ConfigMap(core(map)?),
        Kind::EndpointSlice => Object::EndpointSlice(core(map)?),
        Kind::Gateway => Object::Gateway(custom(map, gateway::GATEWAY_UNSUPPORTED)?),
        Kind::GatewayClass => Object::GatewayClass(core(map)?),
        Kind::HttpRoute => Object::HttpRoute(custom(map, gateway::HTTP_ROUTE_UNSUPPORTED)?),
        Kind::GrpcRoute => Object::GrpcRoute(Box::new(GrpcRoute::read(map)?)),
        Kind::IstioGateway => Object::IstioGateway(custom(map, istio::GATEWAY_UNSUPPORTED)?),
        Kind::VirtualService => {
            Object::VirtualService(custom(map, istio::VIRTUAL_SERVICE_UNSUPPORTED)?)
        }
        Kind::DestinationRule => {
            Object::DestinationRule(custom(map, istio::DESTINATION_RULE_UNSUPPORTED)?)
        }
        Kind::ReferenceGrant => Object::ReferenceGrant(custom(map, &[])?),
        Kind::ServiceEntry => Object::ServiceEntry(custom(map, &[])?),
        Kind::WorkloadEntry => Object::WorkloadEntry(custom(map, &[])?),
        Kind::AuthorizationPolicy => Object::AuthorizationPolicy(custom(map, &[])?),
        Kind::PeerAuthentication => Object::PeerAuthentication(custom(map, &[])?),
        Kind::RequestAuthentication | Kind::Telemetry => {
            Object::Unserved(Box::new(Unserved::read(kind, map)?))
        }
        Kind::Other(_) => unreachable!("other kinds return before they are read"),
    })
}

/// A Kubernetes core kind: fields of newer servers are tolerated.
fn core<T: DeserializeOwned>(map: Map<String, Value>) -> Result<Box<T>, Vec<FieldError>> {
    let value = Value::Object(map);
    let object = reference(&value);
    let mut errors = Vec::new();
    strict(&object, "", value, UnknownFields::Tolerate, &mut errors)
        .map(Box::new)
        .ok_or(errors)
}

/// A kind of ours: every field of the spec must be one we execute.
fn custom<S, T>(
    mut map: Map<String, Value>,
    upstream: &'static [&'static str],
) -> Result<Box<Resource<S, T>>, Vec<FieldError>>
where
    S: DeserializeOwned + Default,
    T: DeserializeOwned,
{
    let mut errors = Vec::new();
    let (metadata, spec, status) = ["metadata", "spec", "status"]
        .map(|key| map.remove(key))
        .into();
    let shown = Value::Object(map);
    let object = ObjectRef {
        kind: reference(&shown).kind,
        ..metadata
            .as_ref()
            .map(|m| reference(&serde_json::json!({ "metadata": m })))
            .unwrap_or_default()
    };
    for key in shown.as_object().into_iter().flat_map(Map::keys) {
        if key != "apiVersion" && key != "kind" {
            errors.push(FieldError {
                object: object.clone(),
                path: key.clone(),
                reason: "unknown field".into(),
                code: Code::UnknownField,
                severity: Severity::Error,
            });
        }
    }
    let tolerate = UnknownFields::Tolerate;
    let metadata = metadata.unwrap_or_default();
    let metadata = strict(&object, "metadata", metadata, tolerate, &mut errors);
    let spec = match spec {
        None => Some(S::default()),
        Some(spec) => strict(
            &object,
            "spec",
            spec,
            UnknownFields::Refuse(upstream),
            &mut errors,
        ),
    };
    let status = status.and_then(|s| strict(&object, "status", s, tolerate, &mut errors));
    match (metadata, spec, errors.is_empty()) {
        (Some(metadata), Some(spec), true) => Ok(Box::new(Resource {
            metadata,
            spec,
            status,
        })),
        _ => Err(errors),
    }
}
