//! Settings, read once from the environment under the names upstream's node proxy uses.
//! In: an [`Env`]. Out: [`Config`], or every mistake at once. What upstream knows and this proxy does
//! not yet support is refused rather than ignored: a switch that does nothing may be a safety switch.
//! Must not: read the environment anywhere else; hold anything only a test would set.
//! Spec: ztunnel `config.rs` variable names and defaults.

mod endpoint;
mod unheeded;
mod workers;

pub use endpoint::{ControlEndpoint, RootCertificate, Token};
pub use unheeded::Unheeded;

use ambit_hbone::io::Settings;
use ambit_identity::Compliance;
use ambit_net::socket::{Keepalive, any_address};
use ambit_runtime::drain;
use ambit_runtime::env::{Env, Mistakes, Reader};
use ambit_telemetry::logging::Format;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// All settings of the node proxy.
#[derive(Clone, Debug)]
pub struct Config {
    /// Data-plane worker threads.
    pub workers: usize,
    /// Who and where this proxy is.
    pub node: NodeConfig,
    /// xDS server; `None` when `XDS_ADDRESS` is set and empty.
    pub xds: Option<ControlEndpoint>,
    /// Certificate authority.
    pub ca: ControlEndpoint,
    /// Credential for both.
    pub token: Token,
    /// Lists of revoked certificates (`CRL_PATH`); a file that is not there is no list.
    pub revoked: Option<PathBuf>,
    /// Validity asked of the authority.
    pub secret_ttl: Duration,
    /// Which key exchanges handshakes may use (`COMPLIANCE_POLICY`).
    pub compliance: Compliance,
    /// Sizes and deadlines of HBONE tunnels.
    pub tunnel: Settings,
    /// Keep-alive of accepted and dialled sockets; `None` is off.
    pub keepalive: Option<Keepalive>,
    /// Mark of the sockets we dial with, which upstream's netfilter rules let through.
    pub packet_mark: u32,
    /// ZDS socket of the agent.
    pub zds: PathBuf,
    /// Serve no pod before the first configuration is here: for a proxy that starts beside another.
    pub zds_after_sync: bool,
    /// How long connections may go on after SIGTERM.
    pub termination_deadline: Duration,
    /// Answer IPv6 and listen on it.
    pub ipv6: bool,
    /// Send `baggage` with the answer to CONNECT.
    pub response_baggage: bool,
    /// Node-local DNS.
    pub dns: DnsConfig,
    /// Line format of the logs.
    pub log_format: Format,
    /// Log directives, as in `RUST_LOG`.
    pub log_filter: String,
    /// Where admin, metrics and readiness listen.
    pub ports: PortConfig,
    /// Settings that were given in vain.
    pub unheeded: Vec<Unheeded>,
}

/// Who and where this proxy is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeConfig {
    /// Network this node is in (`NETWORK`).
    pub network: String,
    /// Cluster (`ISTIO_META_CLUSTER_ID`, else `CLUSTER_ID`).
    pub cluster_id: String,
    /// DNS suffix of services (`CLUSTER_DOMAIN`).
    pub cluster_domain: String,
    /// Kubernetes node (`NODE_NAME`).
    pub node_name: String,
    /// Own pod (`POD_NAME`).
    pub pod_name: String,
    /// Own namespace (`POD_NAMESPACE`).
    pub pod_namespace: String,
    /// Own service account (`SERVICE_ACCOUNT`).
    pub service_account: String,
    /// Own trust domain (`TRUST_DOMAIN`).
    pub trust_domain: String,
    /// Own address (`INSTANCE_IP`).
    pub instance_ip: String,
}

/// Node-local DNS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsConfig {
    /// Whether queries of pods are answered (`ISTIO_META_DNS_CAPTURE`).
    pub enabled: bool,
    /// Real nameservers, in the order the agent indexes them (`AMBIT_NAMESERVERS`, else
    /// `/etc/resolv.conf`).
    pub nameservers: Vec<IpAddr>,
}

/// Where admin, metrics and readiness listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortConfig {
    /// Loopback only.
    pub admin: SocketAddr,
    /// `/metrics`, `/stats/prometheus`.
    pub metrics: SocketAddr,
    /// `/healthz/ready`.
    pub readiness: SocketAddr,
}

impl Config {
    /// Reads all settings.
    ///
    /// # Errors
    /// Every setting that cannot be used, together.
    pub fn from_env(env: &dyn Env) -> Result<Self, Mistakes> {
        Self::from_names(env, &[])
    }

    /// Reads all settings; `names` are those of all variables there are, of which some families have
    /// no effect here ([`Config::unheeded`]).
    ///
    /// # Errors
    /// Every setting that cannot be used, together.
    pub fn from_names(env: &dyn Env, names: &[String]) -> Result<Self, Mistakes> {
        let reader = Reader::new(env);
        refuse_unsupported(&reader);
        let cluster = reader.or("CLUSTER_ID", "Kubernetes".to_owned());
        let node = NodeConfig {
            network: reader.or("NETWORK", String::new()),
            cluster_id: reader.or("ISTIO_META_CLUSTER_ID", cluster),
            cluster_domain: reader.or("CLUSTER_DOMAIN", "cluster.local".to_owned()),
            node_name: reader.or("NODE_NAME", String::new()),
            pod_name: reader.or("POD_NAME", String::new()),
            pod_namespace: reader.or("POD_NAMESPACE", String::new()),
            service_account: reader.or("SERVICE_ACCOUNT", String::new()),
            trust_domain: reader.or("TRUST_DOMAIN", "cluster.local".to_owned()),
            instance_ip: reader.or("INSTANCE_IP", "1.1.1.1".to_owned()),
        };
        let ipv6 = reader.flag("IPV6_ENABLED", true);
        let config = Self {
            workers: workers::count(&reader),
            xds: endpoint::xds(env, &reader),
            ca: endpoint::ca(&reader),
            token: endpoint::token(&reader),
            revoked: reader.text("CRL_PATH").map(PathBuf::from),
            node,
            secret_ttl: reader.duration("SECRET_TTL", Duration::from_secs(24 * 3600)),
            compliance: reader.or("COMPLIANCE_POLICY", Compliance::default()),
            tunnel: tunnel(&reader),
            keepalive: keepalive(&reader),
            packet_mark: reader.or("PACKET_MARK", UPSTREAM_MARK),
            zds: reader.or("INPOD_UDS", PathBuf::from("/var/run/ztunnel/ztunnel.sock")),
            zds_after_sync: reader.flag("ZDS_AFTER_SYNC", false),
            termination_deadline: drain::time(&reader),
            ipv6,
            response_baggage: reader.flag("ENABLE_RESPONSE_BAGGAGE", true),
            dns: dns(&reader),
            log_format: reader.or("LOG_FORMAT", Format::Plain),
            log_filter: reader.or("RUST_LOG", "info".to_owned()),
            ports: ports(ipv6),
            unheeded: unheeded::read(&reader, names),
        };
        reader.finish()?;
        Ok(config)
    }
}

impl Config {
    /// Says what was given in vain.
    pub fn warn(&self) {
        for Unheeded { name, holds } in &self.unheeded {
            tracing::warn!(setting = name, holds, "setting has no effect");
        }
    }
}

/// Mark of proxy sockets that upstream's netfilter rules let through.
const UPSTREAM_MARK: u32 = 1337;

/// Settings whose effect we do not have. A value other than the one that means "off" is a mistake.
fn refuse_unsupported(reader: &Reader<'_>) {
    let off_only = [
        ("XDS_ON_DEMAND", "on-demand xDS is not supported yet"),
        (
            "UNSTABLE_ENABLE_SOCKS5",
            "the SOCKS5 listener is not supported",
        ),
        ("FAKE_CA", "a fake certificate authority is not supported"),
        ("TLS12_ENABLED", "TLS 1.2 is not supported"),
        (
            "USER_TIMEOUT_ENABLED",
            "TCP_USER_TIMEOUT is not supported yet",
        ),
    ];
    for (name, reason) in off_only {
        if reader.flag(name, false) {
            reader.reject(name, reader.text(name), reason);
        }
    }
    let unset_only = [
        ("LOCAL_XDS_PATH", "static state is not supported"),
        ("LOCAL_XDS", "static state is not supported"),
    ];
    for (name, reason) in unset_only {
        if let Some(value) = reader.text(name) {
            reader.reject(name, Some(value), reason);
        }
    }
    if let Some(mode) = reader.text("PROXY_MODE").filter(|m| m != "shared") {
        reader.reject("PROXY_MODE", Some(mode), "only `shared` is supported");
    }
    if !reader.flag("ENABLE_PROXY", true) {
        reader.reject(
            "ENABLE_PROXY",
            reader.text("ENABLE_PROXY"),
            "a node proxy without proxy",
        );
    }
}

fn tunnel(reader: &Reader<'_>) -> Settings {
    let default = Settings::default();
    let positive = |name: &str, value: u32| {
        if value == 0 {
            reader.reject(name, Some("0".into()), "must be at least 1");
        }
        value
    };
    let number = |name: &str, default: u32| positive(name, reader.or(name, default));
    let streams = number("POOL_MAX_STREAMS_PER_CONNECTION", 100);
    let frame = number("HTTP2_FRAME_SIZE", default.frame);
    // RFC 9113 section 6.5.2.
    if !(1 << 14..1 << 24).contains(&frame) {
        let given = Some(frame.to_string());
        reader.reject(
            "HTTP2_FRAME_SIZE",
            given,
            "must be between 16384 and 16777215",
        );
    }
    Settings {
        stream_window: number("HTTP2_STREAM_WINDOW_SIZE", default.stream_window),
        connection_window: number("HTTP2_CONNECTION_WINDOW_SIZE", default.connection_window),
        frame,
        max_streams_per_tunnel: usize::try_from(streams).unwrap_or(usize::MAX),
        idle_release: reader.duration("POOL_UNUSED_RELEASE_TIMEOUT", default.idle_release),
        ..default
    }
}

fn keepalive(reader: &Reader<'_>) -> Option<Keepalive> {
    let default = Keepalive::default();
    let keepalive = Keepalive {
        idle: reader.duration("KEEPALIVE_TIME", default.idle),
        interval: reader.duration("KEEPALIVE_INTERVAL", default.interval),
        retries: reader.or("KEEPALIVE_RETRIES", default.retries),
    };
    reader.flag("KEEPALIVE_ENABLED", true).then_some(keepalive)
}

fn dns(reader: &Reader<'_>) -> DnsConfig {
    let mut nameservers = Vec::new();
    for text in reader.list("AMBIT_NAMESERVERS") {
        match text.parse() {
            Ok(ip) => nameservers.push(ip),
            Err(_) => reader.reject("AMBIT_NAMESERVERS", Some(text), "not an IP address"),
        }
    }
    if nameservers.is_empty() {
        let file = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        nameservers = resolv_conf(&file);
    }
    DnsConfig {
        enabled: reader.flag("ISTIO_META_DNS_CAPTURE", true),
        nameservers,
    }
}

/// The `nameserver` lines (resolv.conf(5)).
fn resolv_conf(text: &str) -> Vec<IpAddr> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.split_whitespace().next())
        .filter_map(|address| address.parse().ok())
        .collect()
}

fn ports(ipv6: bool) -> PortConfig {
    use ambit_api::ports;
    use std::net::Ipv4Addr;
    let any = any_address(ipv6);
    PortConfig {
        admin: (Ipv4Addr::LOCALHOST, ports::ADMIN).into(),
        metrics: (any, ports::METRICS).into(),
        readiness: (any, ports::READINESS).into(),
    }
}

#[cfg(test)]
mod tests;
