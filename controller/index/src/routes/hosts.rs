//! Hosts as VirtualServices and DestinationRules write them, and who may see an object.
//! A name without a dot is a service of the object's own namespace; one that ends in `.svc` lacks
//! the cluster domain; every other name is full. Of several services of one hostname the object's own
//! namespace comes first, then the one that all namespaces mean. What is asked for is noted, so that it is known
//! which services routes were compiled from.

use crate::config::MeshConfig;
use crate::selector::label;
use crate::services::{Origin, ServiceFact};
use crate::world::Name;
use ambit_api::labels;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// Services by hostname.
pub(crate) struct Hosts<'t, 'a> {
    config: &'t MeshConfig,
    by_hostname: BTreeMap<&'t str, Vec<&'t ServiceFact<'a>>>,
    /// Of each ServiceEntry the service of its first host.
    entries: BTreeMap<Name<'a>, &'t ServiceFact<'a>>,
    asked: RefCell<Asked>,
}

/// What somebody wanted to know of services, found or not.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// Hostnames.
    pub(super) hosts: BTreeSet<String>,
    /// ServiceEntries, by namespace and name.
    pub(super) entries: BTreeSet<(String, String)>,
}

impl<'t, 'a> Hosts<'t, 'a> {
    pub(crate) fn new(config: &'t MeshConfig, services: &'t [ServiceFact<'a>]) -> Self {
        let mut hosts = Self {
            config,
            by_hostname: BTreeMap::new(),
            entries: BTreeMap::new(),
            asked: RefCell::default(),
        };
        for service in services {
            let same = hosts.by_hostname.entry(&service.hostname).or_default();
            same.push(service);
            if let Origin::Entry(_) = service.origin {
                let name = (service.namespace, service.name);
                hosts.entries.entry(name).or_insert(service);
            }
        }
        hosts
    }

    /// The service that a host of an object in `namespace` means.
    pub(crate) fn service(&self, host: &str, namespace: &str) -> Option<&'t ServiceFact<'a>> {
        let full = full_name(self.config, host, namespace);
        let seen = |s: &&&ServiceFact<'_>| visible(&exported(s), s.namespace, namespace);
        let best = self.ask(full.to_ascii_lowercase()).iter().filter(seen);
        best.min_by_key(|s| (s.namespace != namespace, !s.canonical, s.namespace))
            .copied()
    }

    /// The first service of a ServiceEntry.
    pub(crate) fn entry(&self, namespace: &str, name: &str) -> Option<&'t ServiceFact<'a>> {
        let mut asked = self.asked.borrow_mut();
        asked
            .entries
            .insert((namespace.to_owned(), name.to_owned()));
        self.of_entry(namespace, name)
    }

    /// The Service of Kubernetes of that name.
    pub(crate) fn named(&self, namespace: &str, name: &str) -> Option<&'t ServiceFact<'a>> {
        let full = self.config.hostname(namespace, name);
        let mut same = self.ask(full).iter();
        same.find(|s| s.service().is_some()).copied()
    }

    /// Services of a hostname, noted.
    fn ask(&self, host: String) -> &[&'t ServiceFact<'a>] {
        let found = self.of(&host);
        self.asked.borrow_mut().hosts.insert(host);
        found
    }

    /// All that was asked for.
    pub(super) fn asked(&self) -> Asked {
        self.asked.borrow().clone()
    }

    /// Services of a hostname. Not noted.
    pub(super) fn of(&self, host: &str) -> &[&'t ServiceFact<'a>] {
        self.by_hostname.get(host).map_or(&[], Vec::as_slice)
    }

    /// The first service of a ServiceEntry. Not noted.
    pub(super) fn of_entry(&self, namespace: &str, name: &str) -> Option<&'t ServiceFact<'a>> {
        self.entries.get(&(namespace, name)).copied()
    }

    /// How well a host matches a hostname; higher is more specific.
    pub(crate) fn fit(&self, host: &str, namespace: &str, hostname: &str) -> Option<usize> {
        fit(&full_name(self.config, host, namespace), hostname)
    }
}

/// A host written in full.
pub(crate) fn full_name(config: &MeshConfig, host: &str, namespace: &str) -> String {
    if host.contains('*') {
        host.to_owned()
    } else if !host.contains('.') {
        config.hostname(namespace, host)
    } else if host.ends_with(".svc") {
        format!("{host}.{}", config.cluster_domain)
    } else {
        host.to_owned()
    }
}

/// Exact beats a longer wildcard suffix, which beats a shorter one.
pub(crate) fn fit(host: &str, hostname: &str) -> Option<usize> {
    match host.strip_prefix('*') {
        None => (host == hostname).then_some(usize::MAX),
        Some(suffix) => {
            (hostname.len() > suffix.len() && hostname.ends_with(suffix)).then_some(suffix.len())
        }
    }
}

/// Namespaces that routes may lead to a service from: `spec.exportTo`, of a Service the annotation
/// `networking.istio.io/exportTo`.
pub(super) fn exported<'a>(service: &ServiceFact<'a>) -> Cow<'a, [String]> {
    let service = match service.origin {
        Origin::Entry(entry) => return Cow::Borrowed(&entry.spec.export_to),
        Origin::Service(service) => service,
    };
    let annotation = label(service.metadata.annotations.as_ref(), labels::EXPORT_TO);
    let names = annotation.unwrap_or_default().split(',').map(str::trim);
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Whether `exportTo` of an object in `own` lets `client` see it.
pub(crate) fn visible(export_to: &[String], own: &str, client: &str) -> bool {
    let admits = |entry: &String| match entry.as_str() {
        "*" => true,
        "." => own == client,
        "~" => false,
        name => name == client,
    };
    export_to.is_empty() || export_to.iter().any(admits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_completed_as_users_expect() {
        let config = MeshConfig::default();
        for (host, full) in [
            ("reviews", "reviews.ns.svc.cluster.local"),
            ("reviews.other.svc", "reviews.other.svc.cluster.local"),
            (
                "reviews.other.svc.cluster.local",
                "reviews.other.svc.cluster.local",
            ),
            ("example.com", "example.com"),
            ("*.example.com", "*.example.com"),
        ] {
            assert_eq!(full_name(&config, host, "ns"), full);
        }
    }

    #[test]
    fn the_most_specific_host_wins() {
        let name = "a.ns.svc.cluster.local";
        assert_eq!(fit(name, name), Some(usize::MAX));
        assert!(fit("*.ns.svc.cluster.local", name) > fit("*.cluster.local", name));
        assert!(fit("*", name).is_some());
        assert_eq!(fit("*.other", name), None);
        assert_eq!(fit("b", name), None);
    }

    #[test]
    fn export_to_is_obeyed() {
        let list = |items: &[&str]| items.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        assert!(visible(&[], "a", "b"));
        assert!(visible(&list(&["*"]), "a", "b"));
        assert!(!visible(&list(&["."]), "a", "b"));
        assert!(visible(&list(&["."]), "a", "a"));
        assert!(visible(&list(&["b"]), "a", "b"));
        assert!(!visible(&list(&["~"]), "a", "a"));
    }
}
