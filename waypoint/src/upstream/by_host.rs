//! Requests to names below a wildcard: where each of them goes (ServiceEntry of resolution DYNAMIC_DNS).
//! In: a cluster, the Host of a request. Out: addresses that may be dialled for it, or why there are none.
//! The client chooses the name, and whoever owns the name its addresses; so what the client could not have
//! dialled itself to the same end is refused here (`barred`), at every request anew.
//! Must not happen here: a name that is not below the cluster's wildcard, a port that the client chose.
//! Source: istio/api ServiceEntry `DYNAMIC_DNS`; answers are those of Envoy's dynamic forward proxy.

mod barred;
mod names;
mod resolver;

pub(crate) use names::Names;

use super::Upstreams;
use crate::metrics::Series;
use crate::outcome::{Failure, Unnamed};
use ambit_api::workload as pb;
use ambit_model::convert;
use ambit_model::ids::{ClusterName, ServiceKey};
use ambit_model::route::host_below;
use ambit_model::workload::Workload;
use std::net::IpAddr;
use std::sync::Arc;

/// Addresses of the host of one request; never empty.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    addresses: Vec<IpAddr>,
}

impl Named {
    /// Each address with what is known of whoever has it.
    pub(crate) fn endpoints(
        &self,
        service: &ServiceKey,
    ) -> impl Iterator<Item = (Arc<Workload>, IpAddr)> {
        let strangers = self.addresses.iter();
        strangers.filter_map(|ip| Some((stranger(service, *ip)?, *ip)))
    }
}

/// Finds out where a request for `authority` goes; `None`: the cluster has endpoints.
pub(crate) async fn resolve(
    (upstreams, series): (&Upstreams, &Series),
    name: &ClusterName,
    authority: &str,
) -> Result<Option<Named>, Failure> {
    let service = {
        let view = upstreams.state.load();
        match view.cluster(name) {
            Some(cluster) if cluster.by_host.is_some() => cluster.service.clone(),
            _ => return Ok(None),
        }
    };
    let host = host_below(&service.hostname, authority).ok_or(Failure::NoRoute)?;
    let known = upstreams.names.addresses(&host, series).await;
    let known = known.map_err(Failure::Unnamed)?;
    let view = upstreams.state.load();
    let (mut addresses, mut refused) = (Vec::new(), None);
    for ip in known.iter() {
        match barred::find((&upstreams.me, &view), *ip) {
            None => addresses.push(*ip),
            Some(why) => refused = refused.or(Some((why, *ip))),
        }
    }
    let Some((why, ip)) = refused else {
        return Ok(Some(Named { addresses }));
    };
    series.address_refused(why.reason());
    if !addresses.is_empty() {
        return Ok(Some(Named { addresses }));
    }
    tracing::debug!(
        dst.service = %service,
        host = &*host,
        dst.addr = %ip,
        error = why.reason(),
        "a name below a wildcard leads where its clients may not be taken"
    );
    Err(Failure::Unnamed(Unnamed::Barred(why)))
}

/// Whoever has an address outside the mesh, reached in plaintext.
fn stranger(service: &ServiceKey, ip: IpAddr) -> Option<Arc<Workload>> {
    let octets = match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let name = service.hostname.trim_start_matches("*.").to_owned();
    let message = pb::Workload {
        uid: format!("named/{service}/{ip}"),
        name: name.clone(),
        namespace: service.namespace.to_string(),
        addresses: vec![octets],
        workload_name: name.clone(),
        canonical_name: name,
        canonical_revision: "latest".to_owned(),
        ..Default::default()
    };
    convert::workload::from_proto(message).ok().map(Arc::new)
}
