//! Every object, and what they mean to each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use ambit_api::labels;
use ambit_crds::gateway::{GatewaySpec, GatewayStatus};
use ambit_crds::{Kind, Object, ObjectKey, Resource};
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};

/// Labels of an object.
pub(super) type Labels = BTreeMap<String, String>;

/// Classes whose gateways are waypoints.
const WAYPOINTS: [&str; 2] = ["istio-waypoint", "ambit-waypoint"];
/// Domain of services' names.
const DOMAIN: &str = "cluster.local";

/// Objects by name.
pub(crate) struct World {
    objects: BTreeMap<ObjectKey, Arc<Object>>,
    /// Namespace whose policies apply to the whole mesh
    pub(super) root: String,
}

/// What a host means.
pub(super) enum Host<'a> {
    /// A Service
    Service(&'a Service),
    /// A host of a ServiceEntry
    Entry,
    /// A name outside the cluster, which anything may have
    Outside,
    /// A name inside the cluster that nothing has
    Nothing,
}

impl World {
    /// These objects; later ones replace earlier ones of the same name.
    pub(crate) fn new(objects: impl IntoIterator<Item = Arc<Object>>, root: &str) -> Self {
        Self {
            objects: objects.into_iter().map(|o| (o.key(), o)).collect(),
            root: root.to_owned(),
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.objects.len()
    }

    /// All.
    pub(super) fn objects(&self) -> impl Iterator<Item = (&ObjectKey, &Object)> {
        self.objects.iter().map(|(key, object)| (key, &**object))
    }

    /// One.
    pub(super) fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Object> {
        let key = ObjectKey::new(kind, namespace, name);
        self.objects.get(&key).map(|object| &**object)
    }

    /// Whether there is such an object.
    pub(super) fn has(&self, kind: Kind, namespace: &str, name: &str) -> bool {
        self.get(kind, namespace, name).is_some()
    }

    pub(super) fn namespace(&self, name: &str) -> Option<&Namespace> {
        match self.get(Kind::Namespace, "", name)? {
            Object::Namespace(namespace) => Some(namespace),
            _ => None,
        }
    }

    pub(super) fn service(&self, namespace: &str, name: &str) -> Option<&Service> {
        match self.get(Kind::Service, namespace, name)? {
            Object::Service(service) => Some(service),
            _ => None,
        }
    }

    pub(super) fn gateway(
        &self,
        namespace: &str,
        name: &str,
    ) -> Option<&Resource<GatewaySpec, GatewayStatus>> {
        match self.get(Kind::Gateway, namespace, name)? {
            Object::Gateway(gateway) => Some(gateway),
            _ => None,
        }
    }

    /// Pods that have not ended.
    pub(super) fn pods(&self) -> impl Iterator<Item = (&ObjectKey, &Pod)> {
        self.objects().filter_map(|(key, object)| match object {
            Object::Pod(pod) if !has_ended(pod) => Some((key, &**pod)),
            _ => None,
        })
    }

    /// Pods of a namespace that have all of these labels; there may be none to have.
    pub(super) fn selected<'a>(
        &'a self,
        namespace: Option<&'a str>,
        selector: &'a Labels,
    ) -> impl Iterator<Item = &'a ObjectKey> {
        self.pods()
            .filter(move |(key, pod)| {
                namespace.is_none_or(|n| *key.namespace == *n)
                    && has_all(pod.metadata.labels.as_ref(), selector)
            })
            .map(|(key, _)| key)
    }

    /// Whether the objects say anything about workloads; files of policies alone do not.
    pub(super) fn knows_workloads(&self) -> bool {
        self.pods().next().is_some()
    }

    /// What a host means that an object of `namespace` names.
    pub(super) fn host(&self, host: &str, namespace: &str) -> Host<'_> {
        let entry = self.objects().any(|(_, object)| match object {
            Object::ServiceEntry(entry) => entry.spec.hosts.iter().any(|h| covers(h, host)),
            _ => false,
        });
        if entry {
            return Host::Entry;
        }
        match in_cluster(host, namespace) {
            None => Host::Outside,
            Some((name, namespace)) => match self.service(namespace, name) {
                Some(service) => Host::Service(service),
                None => Host::Nothing,
            },
        }
    }

    /// The waypoint in front of a service, if its labels or its namespace's name one that exists.
    pub(super) fn waypoint(
        &self,
        service: &Service,
    ) -> Option<&Resource<GatewaySpec, GatewayStatus>> {
        let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
        let (place, name) = self.waypoint_name(namespace, service.metadata.labels.as_ref())?;
        let gateway = self.gateway(&place, &name)?;
        is_waypoint(&gateway.spec).then_some(gateway)
    }

    /// Namespace and name of the waypoint that an object of a namespace asks for.
    pub(super) fn waypoint_name(
        &self,
        namespace: &str,
        own: Option<&Labels>,
    ) -> Option<(String, String)> {
        let of_namespace = self.namespace(namespace);
        let of_namespace = of_namespace.and_then(|n| n.metadata.labels.as_ref());
        let labels = [own, of_namespace]
            .into_iter()
            .flatten()
            .find(|l| l.contains_key(labels::USE_WAYPOINT))?;
        let name = &labels[labels::USE_WAYPOINT];
        if name == "none" {
            return None;
        }
        let place = labels.get(labels::USE_WAYPOINT_NAMESPACE);
        let place = place.map_or(namespace, String::as_str);
        Some((place.to_owned(), name.clone()))
    }

    /// Whether a namespace asks to be in the mesh.
    pub(super) fn is_in_mesh(&self, namespace: &str) -> bool {
        let labels = self.namespace(namespace);
        let labels = labels.and_then(|n| n.metadata.labels.as_ref());
        labels
            .and_then(|l| l.get(labels::DATAPLANE_MODE))
            .map(String::as_str)
            == Some("ambient")
    }
}

/// Whether a Gateway is a waypoint.
pub(super) fn is_waypoint(spec: &GatewaySpec) -> bool {
    WAYPOINTS.contains(&spec.gateway_class_name.as_str())
}

/// Name and namespace of a Service that a host of the cluster's domain means.
pub(super) fn in_cluster<'a>(host: &'a str, namespace: &'a str) -> Option<(&'a str, &'a str)> {
    if host.contains('*') {
        return None;
    }
    let Some((name, rest)) = host.split_once('.') else {
        return Some((host, namespace));
    };
    let (namespace, domain) = rest.split_once('.').unwrap_or((rest, ""));
    let ours = domain == "svc" || domain.strip_prefix("svc.") == Some(DOMAIN);
    ours.then_some((name, namespace))
}

/// Whether `*.x` or a name covers another name.
pub(super) fn covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        None => pattern == host,
        Some(rest) => host.ends_with(rest) && host.len() > rest.len() || host == pattern,
    }
}

/// Whether labels have all of a selector's.
pub(super) fn has_all(labels: Option<&Labels>, selector: &Labels) -> bool {
    selector
        .iter()
        .all(|(key, value)| labels.and_then(|l| l.get(key)) == Some(value))
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    ["Succeeded", "Failed"].contains(&phase.unwrap_or_default())
}
