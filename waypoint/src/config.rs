//! Settings, read once from the environment under the names Istio's proxies use.
//! In: an [`Env`]. Out: [`Config`], or every mistake at once.
//! Must not: read the environment anywhere else; hold anything only a test would set.

#[cfg(test)]
mod tests;

use crate::limits::Limits;
use ambit_api::ports;
use ambit_identity::Compliance;
use ambit_identity::grpc_tls::{GrpcServer, RootSource, TokenSource};
use ambit_net::socket::any_address;
use ambit_runtime::drain;
use ambit_runtime::env::{Env, Mistakes, Reader};
use ambit_telemetry::logging::Format;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// All settings of the waypoint.
#[derive(Clone, Debug)]
pub struct Config {
    /// The Gateway it runs, `<namespace>/<name>` (`GATEWAY`).
    pub gateway: String,
    /// Data-plane worker threads (`WORKERS`; 0: one per CPU).
    pub workers: usize,
    /// Who and where it is.
    pub pod: PodConfig,
    /// xDS server (`XDS_ADDRESS`, `XDS_ROOT_CA`, `ALT_XDS_HOSTNAME`).
    pub xds: GrpcServer,
    /// Certificate authority (`CA_ADDRESS`, `CA_ROOT_CA`, `ALT_CA_HOSTNAME`).
    pub ca: GrpcServer,
    /// Credential for both (`AUTH_TOKEN`).
    pub token: Option<TokenSource>,
    /// Lists of revoked certificates (`CRL_PATH`); a file that is not there is no list.
    pub revoked: Option<PathBuf>,
    /// Validity asked of the authority (`SECRET_TTL`).
    pub secret_ttl: Duration,
    /// Which key exchanges handshakes may use (`COMPLIANCE_POLICY`).
    pub compliance: Compliance,
    /// What clients may ask.
    pub limits: Limits,
    /// How long requests may go on after SIGTERM.
    pub termination_deadline: Duration,
    /// Line format of logs and access lines (`LOG_FORMAT`).
    pub log_format: Format,
    /// Log directives (`RUST_LOG`).
    pub log_filter: String,
    /// Where it listens.
    pub listen: ListenConfig,
}

/// Who and where this waypoint is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodConfig {
    /// `POD_NAME`.
    pub name: String,
    /// `POD_NAMESPACE`.
    pub namespace: String,
    /// `SERVICE_ACCOUNT`.
    pub service_account: String,
    /// `TRUST_DOMAIN`.
    pub trust_domain: String,
    /// `NODE_NAME`.
    pub node: String,
    /// `INSTANCE_IP`.
    pub ip: String,
    /// `NETWORK`.
    pub network: String,
    /// `ISTIO_META_CLUSTER_ID`, else `CLUSTER_ID`.
    pub cluster_id: String,
    /// `CLUSTER_DOMAIN`.
    pub cluster_domain: String,
}

/// Where it listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenConfig {
    /// HBONE.
    pub hbone: SocketAddr,
    /// Admin, loopback only.
    pub admin: SocketAddr,
    /// `/metrics`, `/stats/prometheus`.
    pub metrics: SocketAddr,
    /// `/healthz/ready`.
    pub readiness: SocketAddr,
}

/// Where the controller mounts what pods trust and who they are.
const ROOT_CERT: &str = "./var/run/secrets/istio/root-cert.pem";
const TOKEN: &str = "./var/run/secrets/tokens/istio-token";
/// Bound on workers, against typing errors.
const MOST_WORKERS: usize = 512;

impl Config {
    /// Reads all settings.
    ///
    /// # Errors
    /// Every setting that cannot be used, together.
    pub fn from_env(env: &dyn Env) -> Result<Self, Mistakes> {
        let reader = Reader::new(env);
        let config = Self {
            gateway: gateway(&reader),
            workers: workers(&reader),
            pod: pod(&reader),
            xds: server(&reader, ["XDS_ADDRESS", "XDS_ROOT_CA", "ALT_XDS_HOSTNAME"]),
            ca: server(&reader, ["CA_ADDRESS", "CA_ROOT_CA", "ALT_CA_HOSTNAME"]),
            token: token(&reader),
            revoked: reader.text("CRL_PATH").map(PathBuf::from),
            secret_ttl: reader.duration("SECRET_TTL", Duration::from_secs(24 * 3600)),
            compliance: reader.or("COMPLIANCE_POLICY", Compliance::default()),
            limits: limits(&reader),
            termination_deadline: drain::time(&reader),
            log_format: reader.or("LOG_FORMAT", Format::Plain),
            log_filter: reader.or("RUST_LOG", "info".to_owned()),
            listen: listen(reader.flag("IPV6_ENABLED", true)),
        };
        reader.finish()?;
        Ok(config)
    }
}

fn gateway(reader: &Reader<'_>) -> String {
    let Some(value) = reader.required::<String>("GATEWAY") else {
        return String::new();
    };
    let well_formed = value
        .split_once('/')
        .is_some_and(|(ns, name)| !ns.is_empty() && !name.is_empty() && !name.contains('/'));
    if !well_formed {
        reader.reject("GATEWAY", Some(value.clone()), "must be <namespace>/<name>");
    }
    value
}

fn workers(reader: &Reader<'_>) -> usize {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    match reader.or("WORKERS", cpus.min(2)) {
        0 => cpus,
        count if count > MOST_WORKERS => {
            reader.reject("WORKERS", Some(count.to_string()), "more than 512 workers");
            1
        }
        count => count,
    }
}

/// No limit can be switched off.
fn limits(reader: &Reader<'_>) -> Limits {
    let default = Limits::default();
    let time = |name: &str, default: Duration| {
        let given = reader.duration(name, default);
        if given.is_zero() {
            reader.reject(name, reader.text(name), "must be longer than 0");
        }
        given
    };
    let number = |name: &str, default: u32, (least, most): (u32, u32)| {
        let given = reader.or(name, default);
        if !(least..=most).contains(&given) {
            let range = format!("must be between {least} and {most}");
            reader.reject(name, Some(given.to_string()), &range);
        }
        given
    };
    let headers = u32::try_from(default.headers).unwrap_or(u32::MAX);
    let headers = number("AMBIT_MAX_HEADERS", headers, (1, 16_384));
    Limits {
        head: time("AMBIT_HEAD_TIMEOUT", default.head),
        idle: time("AMBIT_IDLE_TIMEOUT", default.idle),
        // The least a parser works with, and what a header list may reasonably be.
        header_bytes: number(
            "AMBIT_MAX_HEADER_BYTES",
            default.header_bytes,
            (8 << 10, 8 << 20),
        ),
        headers: usize::try_from(headers).unwrap_or(default.headers),
        streams: number("AMBIT_MAX_STREAMS", default.streams, (1, 1 << 20)),
        ..default
    }
}

fn pod(reader: &Reader<'_>) -> PodConfig {
    let text = |name: &str| reader.or(name, String::new());
    let required = |name: &str| reader.required::<String>(name).unwrap_or_default();
    PodConfig {
        name: required("POD_NAME"),
        namespace: required("POD_NAMESPACE"),
        service_account: required("SERVICE_ACCOUNT"),
        trust_domain: reader.or("TRUST_DOMAIN", "cluster.local".to_owned()),
        node: text("NODE_NAME"),
        ip: reader.or("INSTANCE_IP", "1.1.1.1".to_owned()),
        network: text("NETWORK"),
        cluster_id: reader
            .text("ISTIO_META_CLUSTER_ID")
            .unwrap_or_else(|| reader.or("CLUSTER_ID", "Kubernetes".to_owned())),
        cluster_domain: reader.or("CLUSTER_DOMAIN", "cluster.local".to_owned()),
    }
}

fn server(reader: &Reader<'_>, [address, root, name]: [&str; 3]) -> GrpcServer {
    let in_cluster = reader.text("KUBERNETES_SERVICE_HOST").is_some();
    let host = if in_cluster {
        "istiod.istio-system.svc"
    } else {
        "localhost"
    };
    let given = reader.or(address, format!("https://{host}:{}", ports::XDS));
    let url = if given.contains("://") {
        given
    } else {
        format!("https://{given}")
    };
    if url.strip_prefix("https://").is_none_or(str::is_empty) {
        reader.reject(address, Some(url.clone()), "must be https://<host>:<port>");
    }
    GrpcServer {
        address: url,
        roots: RootSource::parse(&reader.or(root, ROOT_CERT.to_owned())),
        server_name: reader.text(name),
    }
}

/// A token has no slash; a path that does not exist yet may appear.
fn token(reader: &Reader<'_>) -> Option<TokenSource> {
    match reader.text("AUTH_TOKEN") {
        Some(text) if text.contains('/') => Some(TokenSource::File(text.into())),
        Some(text) => Some(TokenSource::Literal(text)),
        None => std::path::Path::new(TOKEN)
            .exists()
            .then(|| TokenSource::File(TOKEN.into())),
    }
}

fn listen(ipv6: bool) -> ListenConfig {
    let any = any_address(ipv6);
    ListenConfig {
        hbone: (any, ports::HBONE).into(),
        admin: (Ipv4Addr::LOCALHOST, ports::ADMIN).into(),
        metrics: (any, ports::METRICS).into(),
        readiness: (any, ports::READINESS).into(),
    }
}
