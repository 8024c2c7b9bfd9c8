//! Which addresses a name has in the mesh. Pure.
//! In: the snapshot, the pod that asks, a name, a family. Out: addresses (none of them: the name
//! exists without that family), or nothing: not a name of the mesh.
//! Order: the name as asked; Kubernetes expansions by number of labels; the name without a search
//! domain (answered with a CNAME). Each exactly, then as wildcard.

use ambit_model::Snapshot;
use ambit_model::service::Service;
use ambit_model::workload::Workload;
use std::net::IpAddr;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The pod's own workload.
    pub workload: &'a Workload,
    /// Cluster domain, for example `cluster.local`.
    pub domain: &'a str,
    /// Whether IPv6 addresses are answered.
    pub ipv6: bool,
}

/// Address family of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A.
    V4,
    /// AAAA.
    V6,
}

/// A name of the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The name the question's name stands for, when a search domain had to be cut off.
    pub alias_of: Option<String>,
    /// Its addresses; may be empty.
    pub addresses: Vec<IpAddr>,
}

/// Looks a name up; `name` in any case, with or without a final dot.
pub fn lookup(snapshot: &Snapshot, asker: &Asker<'_>, name: &str, family: Family) -> Option<Found> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    if name.is_empty() {
        return None;
    }
    let mut candidates = vec![(name.clone(), false)];
    candidates.extend(expansions(&name, asker).into_iter().map(|n| (n, false)));
    candidates.extend(
        without_search_domain(&name, asker)
            .into_iter()
            .map(|n| (n, true)),
    );
    for (candidate, cut) in candidates {
        if let Some(service) = find(snapshot, asker, &candidate) {
            let addresses = addresses(snapshot, asker, service, family);
            return Some(Found {
                alias_of: cut.then_some(candidate),
                addresses,
            });
        }
        // Known, and left to its nameservers: no wildcard takes it.
        let namespace = &asker.workload.namespace;
        if snapshot
            .service_by_hostname(&candidate, namespace)
            .is_some()
        {
            continue;
        }
        if let Some(service) = wildcard(snapshot, asker, &candidate) {
            let addresses = addresses(snapshot, asker, service, family);
            return Some(Found {
                alias_of: None,
                addresses,
            });
        }
    }
    None
}

/// Kubernetes names are shortened from the right.
fn expansions(name: &str, asker: &Asker<'_>) -> Vec<String> {
    let (domain, namespace) = (asker.domain, &asker.workload.namespace);
    let labels: Vec<&str> = name.split('.').collect();
    let ends_in_svc = labels.last() == Some(&"svc");
    match labels.len() {
        1 => vec![format!("{name}.{namespace}.svc.{domain}")],
        2 => vec![
            format!("{name}.svc.{domain}"),
            format!("{name}.{namespace}.svc.{domain}"),
        ],
        3 if ends_in_svc => vec![format!("{name}.{domain}"), format!("{name}.svc.{domain}")],
        3 => vec![format!("{name}.svc.{domain}")],
        4 if ends_in_svc => vec![format!("{name}.{domain}")],
        _ => Vec::new(),
    }
}

/// Resolvers append search domains to names that are complete already.
fn without_search_domain(name: &str, asker: &Asker<'_>) -> Vec<String> {
    let domain = asker.domain;
    let searched = [
        format!(".{}.svc.{domain}", asker.workload.namespace),
        format!(".svc.{domain}"),
        format!(".{domain}"),
    ];
    searched
        .iter()
        .filter_map(|suffix| name.strip_suffix(suffix.as_str()))
        .filter(|rest| !rest.is_empty())
        .map(ToOwned::to_owned)
        .collect()
}

fn find<'a>(snapshot: &'a Snapshot, asker: &Asker<'_>, host: &str) -> Option<&'a Service> {
    let service = snapshot.service_by_hostname(host, &asker.workload.namespace)?;
    let in_cluster = service
        .key
        .hostname
        .ends_with(&format!(".svc.{}", asker.domain));
    (in_cluster || !service.addresses.is_empty()).then_some(&**service)
}

/// `*.rest`, from the nearest to the farthest. One without addresses says nothing of names below it.
fn wildcard<'a>(snapshot: &'a Snapshot, asker: &Asker<'_>, host: &str) -> Option<&'a Service> {
    let mut rest = host;
    while let Some((_, shorter)) = rest.split_once('.') {
        let found = find(snapshot, asker, &format!("*.{shorter}"));
        if let Some(service) = found.filter(|service| !service.addresses.is_empty()) {
            return Some(service);
        }
        rest = shorter;
    }
    None
}

fn addresses(
    snapshot: &Snapshot,
    asker: &Asker<'_>,
    service: &Service,
    family: Family,
) -> Vec<IpAddr> {
    if family == Family::V6 && !asker.ipv6 {
        return Vec::new();
    }
    let network = &asker.workload.network;
    let wanted =
        |ip: &IpAddr| ip.is_ipv4() == (family == Family::V4) && service.ip_families.allows(*ip);
    if !service.addresses.is_empty() {
        let ours = service.addresses.iter().filter(|a| &a.network == network);
        return ours
            .filter_map(|a| a.single())
            .map(|a| a.ip)
            .filter(wanted)
            .collect();
    }
    let ready = |w: &&std::sync::Arc<Workload>| {
        use ambit_model::workload::Health;
        &w.network == network
            && (w.health == Health::Healthy || service.load_balancing.allow_unhealthy)
    };
    snapshot
        .endpoints(&service.key)
        .filter(ready)
        .filter_map(|w| w.addresses.iter().copied().find(|ip| wanted(ip)))
        .collect()
}

#[cfg(test)]
mod tests;
