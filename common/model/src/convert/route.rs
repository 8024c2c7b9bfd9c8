//! `ambit.route.v1` → [`crate::route`].
//! A resource with one wrong field is refused whole: half a router would send traffic to the wrong
//! place.

mod access;
mod filters;
mod matching;

use super::{ConvertError, port};
use crate::ids::{ClusterName, ServiceKey};
use crate::route::{
    Action, Addressee, Cluster, Endpoint, Endpoints, Gateway, HttpRoute, LoadBalancer, Protocol,
    Router, TcpRoute, VirtualHost, WeightedCluster,
};
use ambit_api::route as pb;
use std::net::SocketAddr;
use std::time::Duration;

/// Limit of one connection attempt where the cluster names none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Converts one router.
///
/// # Errors
/// The first field that is wrong.
pub fn router(m: pb::Router) -> Result<Router, ConvertError> {
    let protocol = protocol("protocol", m.protocol)?;
    if m.gateway.is_empty() {
        return Err(ConvertError::new("gateway", "must not be empty"));
    }
    let http = each("http", m.http, http_route)?;
    let tcp = each("tcp", m.tcp, |field, r: pb::TcpRoute| {
        let clusters = each(&format!("{field}.clusters"), r.clusters, weighted)?;
        Ok(TcpRoute {
            source: r.source.into(),
            clusters,
        })
    })?;
    Ok(Router {
        gateway: m.gateway.into(),
        addressed: addressed(&m.service, &m.hostname)?,
        port: nonzero_port("port", m.port)?,
        protocol,
        http,
        tcp,
        policies: each("policies", m.policies, access::policy)?,
        by_host: m.by_host,
    })
}

/// Converts what a gateway demands.
///
/// # Errors
/// The first field that is wrong.
pub fn gateway(m: pb::Gateway) -> Result<Gateway, ConvertError> {
    if m.name.is_empty() {
        return Err(ConvertError::new("name", "must not be empty"));
    }
    Ok(Gateway {
        name: m.name.into(),
        policies: each("policies", m.policies, access::policy)?,
        ports: each("ports", m.ports, nonzero_port)?,
        withholds_client: m.withholds_client,
    })
}

fn addressed(service_key: &str, hostname: &str) -> Result<Addressee, ConvertError> {
    match (service_key, hostname) {
        (key, "") => Ok(Addressee::Service(service("service", key)?)),
        ("", host) => {
            let wrong = || ConvertError::new("hostname", format!("`{host}` is not a host name"));
            VirtualHost::parse(host)
                .map(Addressee::Host)
                .ok_or_else(wrong)
        }
        _ => Err(ConvertError::new(
            "hostname",
            "a router is for a service or for a host",
        )),
    }
}

/// Converts one cluster.
///
/// # Errors
/// The first field that is wrong.
pub fn cluster(m: pb::Cluster) -> Result<Cluster, ConvertError> {
    let load_balancer = match pb::LoadBalancer::try_from(m.load_balancer) {
        Ok(pb::LoadBalancer::LeastRequest) => LoadBalancer::LeastRequest,
        Ok(pb::LoadBalancer::RoundRobin) => LoadBalancer::RoundRobin,
        Ok(pb::LoadBalancer::Random) => LoadBalancer::Random,
        Err(_) => return Err(unknown("load_balancer", m.load_balancer)),
    };
    Ok(Cluster {
        protocol: protocol("protocol", m.protocol)?,
        service: service("service", &m.service)?,
        port: nonzero_port("port", m.port)?,
        name: cluster_name("name", m.name)?,
        subset: m.subset.into(),
        load_balancer,
        connect_timeout: millis(m.connect_timeout_ms).unwrap_or(CONNECT_TIMEOUT),
        authority: match m.authority.as_str() {
            "" => None,
            text => {
                let reason = format!("`{text}` is not <ip>:<port>");
                let wrong = |_| ConvertError::new("authority", reason);
                Some(text.parse::<SocketAddr>().map_err(wrong)?)
            }
        },
        by_host: match port("by_host_port", m.by_host_port)? {
            0 => None,
            given => Some(given),
        },
        race: m.race,
    })
}

/// Converts the members of one cluster.
///
/// # Errors
/// The first field that is wrong.
pub fn endpoints(m: pb::Endpoints) -> Result<Endpoints, ConvertError> {
    let endpoints = each("endpoints", m.endpoints, |field, e: pb::Endpoint| {
        if e.workload_uid.is_empty() {
            return Err(ConvertError::new(
                format!("{field}.workload_uid"),
                "must not be empty",
            ));
        }
        Ok(Endpoint {
            workload: e.workload_uid.into(),
            target_port: nonzero_port(&format!("{field}.target_port"), e.target_port)?,
            weight: e.weight.max(1),
        })
    })?;
    Ok(Endpoints {
        cluster: cluster_name("cluster", m.cluster)?,
        endpoints,
    })
}

fn http_route(field: &str, m: pb::HttpRoute) -> Result<HttpRoute, ConvertError> {
    let sub = |name: &str| format!("{field}.{name}");
    let action = match m.action {
        Some(pb::http_route::Action::Forward(f)) => {
            Action::Forward(each(&sub("forward.clusters"), f.clusters, weighted)?)
        }
        Some(pb::http_route::Action::Redirect(r)) => {
            Action::Redirect(filters::redirect(&sub("redirect"), r)?)
        }
        Some(pb::http_route::Action::DirectResponse(d)) => {
            Action::DirectResponse(filters::direct_response(&sub("direct_response"), d)?)
        }
        None => return Err(ConvertError::new(field, "no action is set")),
    };
    Ok(HttpRoute {
        name: m.name.into(),
        source: m.source.into(),
        matches: each(&sub("matches"), m.matches, matching::http_match)?,
        action,
        request_headers: filters::header_ops(&sub("request_headers"), m.request_headers)?,
        response_headers: filters::header_ops(&sub("response_headers"), m.response_headers)?,
        rewrite: m
            .rewrite
            .map(|r| filters::rewrite(&sub("rewrite"), r))
            .transpose()?,
        timeout: millis(m.timeout_ms),
        retry: m
            .retry
            .map(|r| filters::retry(&sub("retry"), r))
            .transpose()?
            .flatten(),
        fault: filters::fault(&sub("fault"), m.fault.unwrap_or_default())?,
        mirrors: each(&sub("mirrors"), m.mirrors, filters::mirror)?,
    })
}

fn weighted(field: &str, m: pb::WeightedCluster) -> Result<WeightedCluster, ConvertError> {
    let sub = |name: &str| format!("{field}.{name}");
    Ok(WeightedCluster {
        cluster: cluster_name(&sub("cluster"), m.cluster)?,
        weight: m.weight,
        request_headers: filters::header_ops(&sub("request_headers"), m.request_headers)?,
        response_headers: filters::header_ops(&sub("response_headers"), m.response_headers)?,
    })
}

fn protocol(field: &str, value: i32) -> Result<Protocol, ConvertError> {
    Ok(match pb::Protocol::try_from(value) {
        Ok(pb::Protocol::Auto) => Protocol::Auto,
        Ok(pb::Protocol::Http1) => Protocol::Http1,
        Ok(pb::Protocol::Http2) => Protocol::Http2,
        Ok(pb::Protocol::Grpc) => Protocol::Grpc,
        Ok(pb::Protocol::Tcp) => Protocol::Tcp,
        Err(_) => return Err(unknown(field, value)),
    })
}

fn service(field: &str, value: &str) -> Result<ServiceKey, ConvertError> {
    value
        .parse()
        .map_err(|e| ConvertError::new(field, format!("{e}")))
}

fn cluster_name(field: &str, value: String) -> Result<ClusterName, ConvertError> {
    if value.is_empty() {
        return Err(ConvertError::new(field, "must not be empty"));
    }
    Ok(value.into())
}

fn nonzero_port(field: &str, value: u32) -> Result<u16, ConvertError> {
    match port(field, value)? {
        0 => Err(ConvertError::new(field, "0 is not a port")),
        port => Ok(port),
    }
}

fn unknown(field: &str, value: i32) -> ConvertError {
    ConvertError::new(field, format!("{value} is unknown"))
}

/// 0 means none.
fn millis(value: u64) -> Option<Duration> {
    (value > 0).then(|| Duration::from_millis(value))
}

fn each<A, B>(
    field: &str,
    items: Vec<A>,
    convert: impl Fn(&str, A) -> Result<B, ConvertError>,
) -> Result<Vec<B>, ConvertError> {
    let one = |(i, item)| convert(&format!("{field}[{i}]"), item);
    items.into_iter().enumerate().map(one).collect()
}

#[cfg(test)]
mod tests;
