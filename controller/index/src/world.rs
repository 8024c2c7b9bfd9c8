//! All objects of one derivation, typed, by namespace and name, oldest first where age counts.
//! Borrowed from the index for the length of one batch. Pods and EndpointSlices, which are most of all, are
//! left where the index has them and found there.

use crate::age::Age;
use crate::config::MeshConfig;
use crate::revision::Revisions;
use crate::selector::{Labels, label};
use ambit_api::{labels, workload as pb};
use ambit_crds::gateway::{
    GatewayClass, GatewaySpec, GatewayStatus, HttpRouteSpec, ReferenceGrantSpec,
};
use ambit_crds::istio::{
    AuthorizationPolicySpec, DestinationRuleSpec, IstioGatewaySpec, PeerAuthenticationSpec,
    ServiceEntrySpec, VirtualServiceSpec, WorkloadEntrySpec,
};
use ambit_crds::{Kind, Object, ObjectKey, Resource};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Namespace and name.
pub(crate) type Name<'a> = (&'a str, &'a str);

/// The objects.
pub(crate) struct World<'a> {
    pub(crate) config: &'a MeshConfig,
    pub(crate) revisions: Revisions<'a>,
    /// Network of every address that names none.
    pub(crate) network: &'a str,
    objects: &'a BTreeMap<ObjectKey, Arc<Object>>,
    pub(crate) namespaces: BTreeMap<&'a str, &'a Namespace>,
    pub(crate) nodes: BTreeMap<&'a str, &'a Node>,
    pub(crate) services: BTreeMap<Name<'a>, &'a Service>,
    pub(crate) config_maps: BTreeMap<Name<'a>, &'a ConfigMap>,
    pub(crate) gateways: BTreeMap<Name<'a>, &'a Resource<GatewaySpec, GatewayStatus>>,
    pub(crate) gateway_classes: BTreeMap<&'a str, &'a GatewayClass>,
    pub(crate) istio_gateways: Vec<&'a Resource<IstioGatewaySpec>>,
    /// GRPCRoutes among them.
    pub(crate) http_routes: Vec<&'a Resource<HttpRouteSpec>>,
    pub(crate) reference_grants: Vec<&'a Resource<ReferenceGrantSpec>>,
    pub(crate) service_entries: Vec<&'a Resource<ServiceEntrySpec>>,
    pub(crate) workload_entries: BTreeMap<Name<'a>, WorkloadEntry<'a>>,
    pub(crate) virtual_services: Vec<&'a Resource<VirtualServiceSpec>>,
    pub(crate) destination_rules: Vec<&'a Resource<DestinationRuleSpec>>,
    pub(crate) authorization_policies: Vec<&'a Resource<AuthorizationPolicySpec>>,
    pub(crate) peer_authentications: Vec<&'a Resource<PeerAuthenticationSpec>>,
    /// Objects of kinds that nothing acts on.
    pub(crate) unserved: Vec<(&'a ObjectKey, &'a Kind)>,
}

/// A WorkloadEntry and the labels it is selected by: those of its spec and those of the object, which win.
pub(crate) struct WorkloadEntry<'a> {
    pub(crate) object: &'a Resource<WorkloadEntrySpec>,
    pub(crate) labels: BTreeMap<String, String>,
}

impl<'a> WorkloadEntry<'a> {
    fn new(object: &'a Resource<WorkloadEntrySpec>) -> Self {
        let mut labels = object.spec.labels.clone();
        labels.extend(object.metadata.labels.clone().unwrap_or_default());
        Self { object, labels }
    }
}

impl<'a> World<'a> {
    /// Sorts the objects into place.
    pub(crate) fn new(
        config: &'a MeshConfig,
        objects: &'a BTreeMap<ObjectKey, Arc<Object>>,
    ) -> Self {
        let mut world = Self {
            config,
            revisions: Revisions::of(config, objects),
            network: network(config, objects),
            objects,
            namespaces: BTreeMap::new(),
            nodes: BTreeMap::new(),
            services: BTreeMap::new(),
            config_maps: BTreeMap::new(),
            gateways: BTreeMap::new(),
            gateway_classes: BTreeMap::new(),
            istio_gateways: Vec::new(),
            http_routes: Vec::new(),
            reference_grants: Vec::new(),
            service_entries: Vec::new(),
            workload_entries: BTreeMap::new(),
            virtual_services: Vec::new(),
            destination_rules: Vec::new(),
            authorization_policies: Vec::new(),
            peer_authentications: Vec::new(),
            unserved: Vec::new(),
        };
        let many = |key: &ObjectKey| matches!(key.kind, Kind::Pod | Kind::EndpointSlice);
        for (key, object) in objects.iter().filter(|(key, _)| !many(key)) {
            if world.revisions.acts_on(key, object) {
                world.place(key, object);
            }
        }
        by_age(&mut world.istio_gateways);
        by_age(&mut world.http_routes);
        by_age(&mut world.service_entries);
        by_age(&mut world.virtual_services);
        by_age(&mut world.destination_rules);
        by_age(&mut world.authorization_policies);
        by_age(&mut world.peer_authentications);
        world
    }

    fn place(&mut self, key: &'a ObjectKey, object: &'a Object) {
        let name: Name<'a> = (&key.namespace, &key.name);
        match object {
            Object::Namespace(o) => drop(self.namespaces.insert(name.1, o)),
            Object::Node(o) => drop(self.nodes.insert(name.1, o)),
            Object::Service(o) => drop(self.services.insert(name, o)),
            Object::ConfigMap(o) => drop(self.config_maps.insert(name, o)),
            Object::Gateway(o) => drop(self.gateways.insert(name, o)),
            Object::GatewayClass(o) => drop(self.gateway_classes.insert(name.1, o)),
            Object::IstioGateway(o) => self.istio_gateways.push(o),
            Object::HttpRoute(o) => self.http_routes.push(o),
            Object::GrpcRoute(o) => self.http_routes.push(&o.route),
            Object::ReferenceGrant(o) => self.reference_grants.push(o),
            Object::ServiceEntry(o) => self.service_entries.push(o),
            Object::WorkloadEntry(o) => {
                drop(self.workload_entries.insert(name, WorkloadEntry::new(o)));
            }
            Object::VirtualService(o) => self.virtual_services.push(o),
            Object::DestinationRule(o) => self.destination_rules.push(o),
            Object::AuthorizationPolicy(o) => self.authorization_policies.push(o),
            Object::PeerAuthentication(o) => self.peer_authentications.push(o),
            Object::Pod(_)
            | Object::EndpointSlice(_)
            | Object::ServiceAccount(_)
            | Object::Other(_) => {}
            Object::Unserved(o) => self.unserved.push((key, &o.kind)),
        }
    }

    /// Whether a Gateway is run by our revision.
    pub(crate) fn runs(&self, gateway: &ObjectMeta) -> bool {
        let of_namespace = self.namespace_labels(name_of(gateway).0);
        self.revisions.runs(gateway.labels.as_ref(), of_namespace)
    }

    /// Labels of a namespace.
    pub(crate) fn namespace_labels(&self, namespace: &str) -> Labels<'a> {
        self.namespaces.get(namespace)?.metadata.labels.as_ref()
    }

    /// Annotations of a namespace.
    pub(crate) fn namespace_annotations(&self, namespace: &str) -> Labels<'a> {
        self.namespaces
            .get(namespace)?
            .metadata
            .annotations
            .as_ref()
    }

    /// Where a node is; `None` when it does not say.
    pub(crate) fn locality(&self, node: &str) -> Option<pb::Locality> {
        let labels = self.nodes.get(node)?.metadata.labels.as_ref();
        let part = |key| label(labels, key).unwrap_or_default().to_owned();
        let locality = pb::Locality {
            region: part(labels::REGION),
            zone: part(labels::ZONE),
            subzone: part(labels::SUBZONE),
        };
        (locality != pb::Locality::default()).then_some(locality)
    }

    /// A pod.
    pub(crate) fn pod(&self, (namespace, name): Name<'_>) -> Option<&'a Pod> {
        let key = ObjectKey::new(Kind::Pod, namespace, name);
        as_pod(self.objects.get(&key)?)
    }

    /// Every pod, by namespace and name.
    pub(crate) fn pods(&self) -> impl Iterator<Item = (Name<'a>, &'a Pod)> {
        self.of_kind(Kind::Pod, "")
            .filter_map(|(key, object)| Some(((&*key.namespace, &*key.name), as_pod(object)?)))
    }

    /// Pods of a namespace, by name.
    pub(crate) fn pods_of(&self, namespace: &str) -> impl Iterator<Item = (&'a str, &'a Pod)> {
        self.of_kind(Kind::Pod, namespace)
            .take_while(move |(key, _)| *key.namespace == *namespace)
            .filter_map(|(key, object)| Some((&*key.name, as_pod(object)?)))
    }

    /// A service account.
    pub(crate) fn account(&self, (namespace, name): Name<'_>) -> Option<&'a ServiceAccount> {
        let key = ObjectKey::new(Kind::ServiceAccount, namespace, name);
        as_account(self.objects.get(&key)?)
    }

    /// Service accounts of a namespace, by name.
    pub(crate) fn accounts_of(
        &self,
        namespace: &str,
    ) -> impl Iterator<Item = (&'a str, &'a ServiceAccount)> {
        self.of_kind(Kind::ServiceAccount, namespace)
            .take_while(move |(key, _)| *key.namespace == *namespace)
            .filter_map(|(key, object)| Some((&*key.name, as_account(object)?)))
    }

    /// An EndpointSlice.
    pub(crate) fn slice(&self, (namespace, name): Name<'_>) -> Option<&'a EndpointSlice> {
        let key = ObjectKey::new(Kind::EndpointSlice, namespace, name);
        as_slice(self.objects.get(&key)?)
    }

    /// Every EndpointSlice, by namespace and name.
    pub(crate) fn slices(&self) -> impl Iterator<Item = (Name<'a>, &'a EndpointSlice)> {
        self.of_kind(Kind::EndpointSlice, "")
            .filter_map(|(key, object)| Some(((&*key.namespace, &*key.name), as_slice(object)?)))
    }

    /// Objects of a kind from a namespace on.
    fn of_kind(
        &self,
        kind: Kind,
        from: &str,
    ) -> impl Iterator<Item = (&'a ObjectKey, &'a Object)> + use<'a> {
        let first = ObjectKey::new(kind.clone(), from, "");
        self.objects
            .range(first..)
            .take_while(move |(key, _)| key.kind == kind)
            .map(|(key, object)| (key, &**object))
    }

    /// Pods of one gateway: those that carry its name as a label, in its namespace.
    pub(crate) fn gateway_pods(
        &self,
        (namespace, name): Name<'a>,
    ) -> impl Iterator<Item = &'a Pod> {
        self.pods_of(namespace)
            .map(|(_, pod)| pod)
            .filter(move |pod| {
                label(pod.metadata.labels.as_ref(), labels::GATEWAY_NAME) == Some(name)
            })
    }
}

/// What the system namespace says, else the setting.
pub(crate) fn network<'a>(
    config: &'a MeshConfig,
    objects: &'a BTreeMap<ObjectKey, Arc<Object>>,
) -> &'a str {
    let key = ObjectKey::new(Kind::Namespace, "", &config.system_namespace);
    let labels = objects.get(&key).map(|namespace| namespace.labels());
    label(labels, labels::NETWORK).unwrap_or(&config.network)
}

/// Namespace and name of an object; empty where absent.
pub(crate) fn name_of(meta: &ObjectMeta) -> Name<'_> {
    (
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default(),
    )
}

fn as_pod(object: &Object) -> Option<&Pod> {
    match object {
        Object::Pod(pod) => Some(pod),
        _ => None,
    }
}

fn as_account(object: &Object) -> Option<&ServiceAccount> {
    match object {
        Object::ServiceAccount(account) => Some(account),
        _ => None,
    }
}

fn as_slice(object: &Object) -> Option<&EndpointSlice> {
    match object {
        Object::EndpointSlice(slice) => Some(slice),
        _ => None,
    }
}

fn by_age<S, T>(objects: &mut [&Resource<S, T>]) {
    objects.sort_by_cached_key(|o| Age::of(&o.metadata));
}
