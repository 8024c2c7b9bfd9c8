//! `ambit ztunnel-config …`: a node proxy's own view, as istioctl prints it.

mod certificates;

use crate::dump::{ConfigDump, Connection, Workload};
use crate::output::{self, Format, Verdict};
use crate::target::Target;
use anyhow::{Context, Result};
use certificates::certificates;
use clap::Subcommand;
use serde::Serialize;
use std::path::PathBuf;

/// Options of `ambit ztunnel-config`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    /// Node whose proxy to ask (all of them know the same workloads)
    #[arg(long, global = true)]
    node: Option<String>,
    /// Read a saved `/config_dump` instead of asking a proxy; `-` is standard input
    #[arg(short, long, global = true, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Admin port of the proxy
    #[arg(long, global = true, default_value_t = ambit_api::ports::ADMIN, value_name = "PORT")]
    proxy_admin_port: u16,
}

#[derive(Subcommand)]
enum What {
    /// Workloads: address, node, waypoint, protocol
    #[command(visible_aliases = ["workloads", "w"])]
    Workload {
        /// Only this namespace
        #[arg(long)]
        workload_namespace: Option<String>,
        /// Only workloads on this node
        #[arg(long)]
        workload_node: Option<String>,
        /// Only the workload with this address
        #[arg(long)]
        address: Option<String>,
    },
    /// Services: virtual address, waypoint, endpoints
    #[command(visible_aliases = ["services", "svc", "s"])]
    Service {
        /// Only this namespace
        #[arg(long)]
        service_namespace: Option<String>,
    },
    /// Authorization policies
    #[command(visible_aliases = ["policies", "p"])]
    Policy {
        /// Only this namespace
        #[arg(long)]
        policy_namespace: Option<String>,
    },
    /// Certificates the proxy holds for its pods
    #[command(visible_aliases = ["certificates", "certs", "cert"])]
    Certificate,
    /// Live connections
    #[command(visible_aliases = ["cons"])]
    Connections {
        /// Only pods of this namespace
        #[arg(long)]
        workload_namespace: Option<String>,
        /// `inbound` or `outbound`
        #[arg(long)]
        direction: Option<String>,
    },
    /// Everything above
    All,
    /// Show or change log levels
    Log {
        /// `info`, or `target=level,…`
        #[arg(long)]
        level: Option<String>,
        /// Back to the level it was started with
        #[arg(long)]
        reset: bool,
    },
}

/// Runs the command. `open` is called only when a proxy is asked.
pub(crate) async fn run(
    args: &Args,
    open: impl AsyncFnOnce() -> Result<Target>,
    format: Format,
) -> Result<Verdict> {
    if let What::Log { level, reset } = &args.what {
        return log(args, &open().await?, level.as_deref(), *reset).await;
    }
    let text = match &args.file {
        Some(path) if path.as_os_str() == "-" => std::io::read_to_string(std::io::stdin())?,
        Some(path) => {
            std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?
        }
        None => {
            let target = open().await?;
            let node = default_node(args, &target);
            let mut process = target.ztunnel(node.as_deref())?.clone();
            process.set_admin_port(args.proxy_admin_port);
            process.admin("/config_dump").await?
        }
    };
    let dump: ConfigDump =
        serde_json::from_str(&text).context("this is not a node proxy's config dump")?;
    show(&args.what, &dump, format)?;
    Ok(Verdict::Fine)
}

/// Every proxy knows every workload, so the first will do; certificates and connections are its own.
fn default_node(args: &Args, target: &Target) -> Option<String> {
    let own = matches!(
        args.what,
        What::Certificate | What::Connections { .. } | What::All
    );
    if args.node.is_some() || own {
        return args.node.clone();
    }
    target.nodes().first().map(|n| (*n).to_owned())
}

async fn log(args: &Args, target: &Target, level: Option<&str>, reset: bool) -> Result<Verdict> {
    let mut process = target.ztunnel(args.node.as_deref())?.clone();
    process.set_admin_port(args.proxy_admin_port);
    let path = match (level, reset) {
        (_, true) => "/logging?reset=true".to_owned(),
        (Some(level), false) => format!("/logging?level={level}"),
        (None, false) => "/logging".to_owned(),
    };
    output::line(process.admin_post(&path).await?.trim_end());
    Ok(Verdict::Fine)
}

fn show(what: &What, dump: &ConfigDump, format: Format) -> Result<()> {
    match what {
        What::Workload {
            workload_namespace,
            workload_node,
            address,
        } => workloads(dump, format, |w| {
            is(workload_namespace.as_deref(), &w.namespace)
                && is(workload_node.as_deref(), &w.node)
                && address.as_ref().is_none_or(|a| w.workload_ips.contains(a))
        }),
        What::Service { service_namespace } => services(dump, format, service_namespace.as_deref()),
        What::Policy { policy_namespace } => policies(dump, format, policy_namespace.as_deref()),
        What::Certificate => certificates(&dump.certificates, format),
        What::Connections {
            workload_namespace,
            direction,
        } => connections(
            dump,
            workload_namespace.as_deref(),
            direction.as_deref(),
            format,
        ),
        What::All if format == Format::Table => all(dump, format),
        What::All => output::value(dump, format),
        What::Log { .. } => Ok(()),
    }
}

fn all(dump: &ConfigDump, format: Format) -> Result<()> {
    workloads(dump, format, |_| true)?;
    output::line("");
    services(dump, format, None)?;
    output::line("");
    policies(dump, format, None)?;
    output::line("");
    certificates(&dump.certificates, format)?;
    output::line("");
    connections(dump, None, None, format)
}

fn workloads(dump: &ConfigDump, format: Format, wanted: impl Fn(&Workload) -> bool) -> Result<()> {
    let mut rows: Vec<_> = dump.workloads.iter().filter(|w| wanted(w)).collect();
    rows.sort_by_key(|w| (&w.namespace, &w.name));
    let header = [
        "NAMESPACE",
        "POD NAME",
        "ADDRESS",
        "NODE",
        "WAYPOINT",
        "PROTOCOL",
    ];
    print(&rows, format, &header, |w| {
        let ips = w.workload_ips.join(",");
        let address = if ips.is_empty() { &w.hostname } else { &ips };
        vec![
            w.namespace.clone(),
            w.name.clone(),
            or_none(address),
            or_none(&w.node),
            gateway(w.waypoint.as_ref()),
            w.protocol.clone(),
        ]
    })
}

fn services(dump: &ConfigDump, format: Format, namespace: Option<&str>) -> Result<()> {
    let mut rows: Vec<_> = dump
        .services
        .iter()
        .filter(|s| is(namespace, &s.namespace))
        .collect();
    rows.sort_by_key(|s| (&s.namespace, &s.name));
    let header = [
        "NAMESPACE",
        "SERVICE NAME",
        "SERVICE VIP",
        "WAYPOINT",
        "ENDPOINTS",
    ];
    print(&rows, format, &header, |s| {
        // `<network>/<address>`
        let vips = s.vips.iter().map(|v| v.rsplit('/').next().unwrap_or(v));
        vec![
            s.namespace.clone(),
            s.name.clone(),
            or_none(&vips.collect::<Vec<_>>().join(",")),
            gateway(s.waypoint.as_ref()),
            format!("{0}/{0}", s.endpoints.len()),
        ]
    })
}

fn policies(dump: &ConfigDump, format: Format, namespace: Option<&str>) -> Result<()> {
    let mut rows: Vec<_> = dump
        .policies
        .iter()
        .filter(|p| is(namespace, &p.namespace))
        .collect();
    rows.sort_by_key(|p| (&p.namespace, &p.name));
    let header = ["NAMESPACE", "POLICY NAME", "ACTION", "SCOPE"];
    print(&rows, format, &header, |p| {
        vec![
            p.namespace.clone(),
            p.name.clone(),
            p.action.clone(),
            p.scope.clone(),
        ]
    })
}

#[derive(Serialize)]
struct LiveConnection<'a> {
    workload: String,
    direction: &'static str,
    #[serde(flatten)]
    connection: &'a Connection,
}

fn connections(
    dump: &ConfigDump,
    namespace: Option<&str>,
    direction: Option<&str>,
    format: Format,
) -> Result<()> {
    let mut rows = Vec::new();
    for (uid, state) in &dump.workload_state {
        if !is(namespace, &state.info.namespace) {
            continue;
        }
        let workload = match state.info.name.as_str() {
            "" => uid.clone(),
            name => format!("{name}.{}", state.info.namespace),
        };
        let both = [
            ("Inbound", &state.connections.inbound),
            ("Outbound", &state.connections.outbound),
        ];
        for (name, list) in both {
            if direction.is_none_or(|d| d.eq_ignore_ascii_case(name)) {
                rows.extend(list.iter().map(|connection| LiveConnection {
                    workload: workload.clone(),
                    direction: name,
                    connection,
                }));
            }
        }
    }
    print(
        &rows,
        format,
        &[
            "WORKLOAD",
            "DIRECTION",
            "LOCAL",
            "REMOTE",
            "REMOTE TARGET",
            "PROTOCOL",
        ],
        |r| {
            let c = r.connection;
            vec![
                r.workload.clone(),
                r.direction.to_owned(),
                c.src.clone(),
                or_none(&c.actual_dst),
                or_none(&c.original_dst),
                c.protocol.clone(),
            ]
        },
    )
}

fn print<T: Serialize>(
    rows: &[T],
    format: Format,
    header: &[&str],
    row: impl Fn(&T) -> Vec<String>,
) -> Result<()> {
    if format != Format::Table {
        return output::value(&rows, format);
    }
    output::table(header, rows.iter().map(row));
    Ok(())
}

fn is(wanted: Option<&str>, value: &str) -> bool {
    wanted.is_none_or(|w| w == value)
}

fn or_none(value: &str) -> String {
    if value.is_empty() {
        "-".to_owned()
    } else {
        value.to_owned()
    }
}

fn gateway(gateway: Option<&crate::dump::Gateway>) -> String {
    let Some(gateway) = gateway else {
        return "None".to_owned();
    };
    // `<namespace>/<name>.<namespace>.svc.<domain>`: the first label is what people call it.
    let host = gateway
        .destination
        .rsplit('/')
        .next()
        .unwrap_or(&gateway.destination);
    match host.parse::<std::net::IpAddr>() {
        Ok(ip) => ip.to_string(),
        Err(_) => host.split('.').next().unwrap_or(host).to_owned(),
    }
}
