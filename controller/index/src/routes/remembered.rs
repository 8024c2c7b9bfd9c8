//! What was compiled last, and what of it is still true.
//! In: every change, before it is applied; the services. Out: whether routes have to be compiled anew. Pure.
//! Routes are compiled from gateways, route objects, policies, namespaces and services. Services are read as
//! bound ones, all of them, and by name through [`Hosts`], which notes what it was asked for; so a change of a
//! service that no route speaks of compiles nothing. Whatever other kind is not known to stay out compiles all.
//! Must hold: with this memory or without, a derivation gives the same.

use super::endpoints::{self, Served};
use super::hosts::{self, Hosts};
use crate::out::Out;
use crate::services::{PortFact, ServiceFact};
use crate::workloads;
use ambit_crds::{Kind, Object, ObjectKey};
use ipnet::IpNet;
use std::collections::BTreeMap;

/// What routes led to last time.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    /// `None`: something that all routes are compiled from may differ.
    pub(super) compiled: Option<Compiled>,
    pub(super) endpoints: endpoints::Remembered,
}

/// Everything but endpoints.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) reads: Reads,
    /// Routers, clusters, and statuses of route objects.
    pub(super) out: Out,
    pub(super) served: Vec<Served>,
}

/// Services that were read, as they were.
#[derive(Debug)]
pub(super) struct Reads {
    bound: Vec<Read>,
    /// By hostname, those that were asked for; also those that nobody has.
    named: BTreeMap<String, Vec<Read>>,
    /// The same by ServiceEntry.
    entries: BTreeMap<(String, String), Option<Read>>,
}

/// What routes see of one service.
#[derive(Debug)]
struct Read {
    is_service: bool,
    namespace: String,
    name: String,
    hostname: String,
    ports: Vec<PortFact>,
    waypoint: Option<String>,
    canary: Option<(String, u32)>,
    canonical: bool,
    addresses: Vec<IpNet>,
    labels: Option<BTreeMap<String, String>>,
    exported: Vec<String>,
}

impl Remembered {
    /// Forgets what a change concerns.
    pub(crate) fn changes(
        &mut self,
        key: &ObjectKey,
        (before, after): (Option<&Object>, Option<&Object>),
    ) {
        let stays_out = match key.kind {
            // Whether it runs a gateway decides who is bound to what.
            Kind::Pod => !workloads::is_of_gateway(before) && !workloads::is_of_gateway(after),
            // A Service is read as what it led to.
            Kind::Service
            | Kind::EndpointSlice
            | Kind::ServiceAccount
            | Kind::PeerAuthentication
            | Kind::RequestAuthentication
            | Kind::Telemetry => true,
            _ => false,
        };
        if !stays_out {
            self.compiled = None;
        }
    }
}

impl Reads {
    /// What was read of the services.
    pub(super) fn of(hosts: &Hosts<'_, '_>, services: &[ServiceFact<'_>]) -> Self {
        let asked = hosts.asked();
        let named = |host: String| {
            let all = hosts.of(&host).iter().map(|s| Read::of(s)).collect();
            (host, all)
        };
        let entry = |name: (String, String)| {
            let found = hosts.of_entry(&name.0, &name.1).map(Read::of);
            (name, found)
        };
        Self {
            bound: bound(services).map(Read::of).collect(),
            named: asked.hosts.into_iter().map(named).collect(),
            entries: asked.entries.into_iter().map(entry).collect(),
        }
    }

    /// Whether that would be read again.
    pub(super) fn still(&self, hosts: &Hosts<'_, '_>, services: &[ServiceFact<'_>]) -> bool {
        let same = |read: &Read, service: &ServiceFact<'_>| read.is(service);
        let named = self.named.iter().all(|(host, known)| {
            let now = hosts.of(host);
            known.len() == now.len() && known.iter().zip(now).all(|(k, s)| same(k, s))
        });
        let entries = self.entries.iter().all(|((namespace, name), known)| {
            match (known, hosts.of_entry(namespace, name)) {
                (None, None) => true,
                (Some(known), Some(now)) => same(known, now),
                _ => false,
            }
        });
        let mut now = bound(services);
        let bound = self
            .bound
            .iter()
            .all(|k| now.next().is_some_and(|s| same(k, s)));
        named && entries && bound && now.next().is_none()
    }
}

/// Services that gateways may have routers for.
fn bound<'s, 'a>(services: &'s [ServiceFact<'a>]) -> impl Iterator<Item = &'s ServiceFact<'a>> {
    services.iter().filter(|service| service.waypoint.is_some())
}

impl Read {
    fn of(service: &ServiceFact<'_>) -> Self {
        Self {
            is_service: service.service().is_some(),
            namespace: service.namespace.to_owned(),
            name: service.name.to_owned(),
            hostname: service.hostname.clone(),
            ports: service.ports.clone(),
            waypoint: service.waypoint.clone(),
            canary: service.canary.clone(),
            canonical: service.canonical,
            addresses: service.addresses.clone(),
            labels: service.labels().cloned(),
            exported: hosts::exported(service).into_owned(),
        }
    }

    fn is(&self, other: &ServiceFact<'_>) -> bool {
        self.is_service == other.service().is_some()
            && self.namespace == other.namespace
            && self.name == other.name
            && self.hostname == other.hostname
            && self.ports == other.ports
            && self.waypoint == other.waypoint
            && self.canary == other.canary
            && self.canonical == other.canonical
            && self.addresses == other.addresses
            && self.labels.as_ref() == other.labels()
            && *self.exported == *hosts::exported(other)
    }
}
