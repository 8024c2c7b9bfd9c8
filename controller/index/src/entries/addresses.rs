//! Virtual addresses of entries that give none: one of each family per host, so that connections to a host
//! can be told from others.
//! In: the entries, what their statuses say, what was allocated last. Out: the addresses of every host.
//! An address stays as long as the host does: the status is believed first, so that a controller that was
//! restarted allocates nothing anew; of two that claim one address the older entry keeps it.
//! Source: Istio's pools; `ServiceEntry.status.addresses`.

use super::{given, hosts};
use crate::address_pool::AddressPool;
use crate::selector::label;
use crate::services::ServiceFact;
use crate::world::{World, name_of};
use ambit_crds::Resource;
use ambit_crds::istio::{Resolution, ServiceEntrySpec};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Label of an entry, `false`: nothing is allocated.
const ENABLED: &str = "networking.istio.io/enable-autoallocate-ip";
/// Blocks that nobody routes.
const V4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(240, 240, 0, 0), 16);
const V6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0), 48);

/// Allocated addresses by `<namespace>/<name>/<host>`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allocated(BTreeMap<String, Vec<IpAddr>>);

impl Allocated {
    /// The addresses of a host: those given, else those allocated.
    pub(super) fn of(&self, object: &Resource<ServiceEntrySpec>, host: &str) -> Vec<IpNet> {
        let given = given(object);
        if !given.is_empty() {
            return given;
        }
        let allocated = self.0.get(&key(object, host));
        allocated
            .into_iter()
            .flatten()
            .map(|ip| IpNet::from(*ip))
            .collect()
    }

    /// Every allocated address of an entry with its host.
    pub(super) fn listed(&self, object: &Resource<ServiceEntrySpec>) -> Vec<(String, IpAddr)> {
        let mut all = Vec::new();
        for host in hosts(object) {
            let own = self.0.get(&key(object, &host)).into_iter().flatten();
            all.extend(own.map(|ip| (host.clone(), *ip)));
        }
        all
    }

    /// Whether a host should have an address and there was none left.
    pub(super) fn lacks(&self, object: &Resource<ServiceEntrySpec>) -> bool {
        let without = |host: &String| self.0.get(&key(object, host)).is_some_and(Vec::is_empty);
        hosts(object).any(|host| without(&host))
    }
}

/// Allocates for every entry.
pub(super) fn allocate(
    world: &World<'_>,
    services: &[ServiceFact<'_>],
    before: &Allocated,
) -> Allocated {
    let mut now = Allocated::default();
    if world.service_entries.is_empty() {
        return now;
    }
    let of_services = services.iter().flat_map(|s| &s.addresses).copied();
    let of_users = world.service_entries.iter().flat_map(|o| given(o));
    let mut taken: BTreeSet<IpAddr> = of_services.chain(of_users).map(|net| net.addr()).collect();
    let wanting: Vec<_> = world
        .service_entries
        .iter()
        .filter(|object| wants(object))
        .flat_map(|object| hosts(object).map(move |host| (*object, host)))
        .filter(|(object, host)| !host.starts_with('*') || is_dynamic(object))
        .collect();
    for (object, host) in &wanting {
        let key = key(object, host);
        let told = told(object, host);
        let known = before.0.get(&key).into_iter().flatten().copied();
        let mut kept: Vec<IpAddr> = Vec::new();
        for ip in told.into_iter().chain(known) {
            let one_of_family = kept.iter().all(|k| k.is_ipv4() != ip.is_ipv4());
            if is_ours(ip) && one_of_family && taken.insert(ip) {
                kept.push(ip);
            }
        }
        // A host that an older entry of the same name lists twice is one host.
        now.0.entry(key).or_insert(kept);
    }
    let block = |net: IpNet| AddressPool::new((net.addr(), net.prefix_len()), taken.clone());
    for mut pool in [block(V4.into()), block(V6.into())] {
        for (key, kept) in &mut now.0 {
            if kept.iter().all(|ip| !pool.is_of_family(*ip)) {
                kept.extend(pool.take(key));
            }
        }
    }
    for ips in now.0.values_mut() {
        ips.sort();
    }
    now
}

fn wants(object: &Resource<ServiceEntrySpec>) -> bool {
    let enabled = label(object.metadata.labels.as_ref(), ENABLED);
    object.spec.resolution != Resolution::None
        && object.spec.addresses.is_empty()
        && enabled.is_none_or(|word| !word.eq_ignore_ascii_case("false"))
}

/// Names below a wildcard without endpoints are told apart by requests, not by their addresses.
fn is_dynamic(object: &Resource<ServiceEntrySpec>) -> bool {
    object.spec.resolution == Resolution::DynamicDns
}

fn is_ours(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => V4.contains(&ip),
        IpAddr::V6(ip) => V6.contains(&ip),
    }
}

/// What the entry's status says of a host.
fn told(object: &Resource<ServiceEntrySpec>, host: &str) -> Vec<IpAddr> {
    let list = object.status.as_ref().and_then(|s| s.get("addresses"));
    let list = list.and_then(|l| l.as_array()).into_iter().flatten();
    list.filter(|one| one.get("host").and_then(|h| h.as_str()) == Some(host))
        .filter_map(|one| one.get("value")?.as_str()?.parse().ok())
        .collect()
}

fn key(object: &Resource<ServiceEntrySpec>, host: &str) -> String {
    let (namespace, name) = name_of(&object.metadata);
    format!("{namespace}/{name}/{host}")
}
