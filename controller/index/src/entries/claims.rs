//! Whose a host is: in one namespace, and of those that several namespaces have.
//! A Service comes before every entry, an older entry before a younger one.

use super::{hosts, is_private};
use crate::services::ServiceFact;
use crate::world::{Name, World, name_of};
use ambit_crds::Resource;
use ambit_crds::istio::ServiceEntrySpec;
use std::collections::{BTreeMap, BTreeSet};

/// Who comes first.
pub(super) struct Claims<'a> {
    /// `<namespace>/<hostname>` of Services.
    services: BTreeSet<String>,
    /// The same of entries → the oldest.
    entries: BTreeMap<(&'a str, String), Name<'a>>,
    /// Hosts that all namespaces may mean → the oldest entry; `None`: a Service.
    canonical: BTreeMap<String, Option<Name<'a>>>,
}

/// What a host of an entry comes to.
pub(super) enum Claim {
    /// It is a service.
    Won {
        /// Namespaces without one of their own mean this one.
        canonical: bool,
    },
    /// It is somebody's already, in these words.
    Lost(String),
}

impl<'a> Claims<'a> {
    pub(super) fn new(world: &World<'a>, services: &[ServiceFact<'a>]) -> Self {
        let mut claims = Self {
            services: BTreeSet::new(),
            entries: BTreeMap::new(),
            canonical: BTreeMap::new(),
        };
        if world.service_entries.is_empty() {
            return claims;
        }
        for service in services {
            claims.services.insert(service.key.clone());
            claims.canonical.insert(service.hostname.clone(), None);
        }
        for object in &world.service_entries {
            let name = name_of(&object.metadata);
            for host in hosts(object) {
                if !is_private(object) {
                    claims.canonical.entry(host.clone()).or_insert(Some(name));
                }
                claims.entries.entry((name.0, host)).or_insert(name);
            }
        }
        claims
    }

    pub(super) fn of(
        &self,
        namespace: &'a str,
        host: &str,
        object: &'a Resource<ServiceEntrySpec>,
    ) -> Claim {
        let own = name_of(&object.metadata);
        if self.services.contains(&format!("{namespace}/{host}")) {
            return Claim::Lost("a Service".to_owned());
        }
        match self.entries.get(&(namespace, host.to_owned())) {
            Some(winner) if *winner != own => {
                Claim::Lost(format!("in the older ServiceEntry {}", winner.1))
            }
            _ => Claim::Won {
                canonical: self.canonical.get(host) == Some(&Some(own)),
            },
        }
    }
}
