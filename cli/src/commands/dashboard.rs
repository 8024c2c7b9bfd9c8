//! `ambit dashboard`: a port of a process of the mesh, or of a monitoring tool beside it, on loopback.
//! In: which one. Out: a URL, printed and opened in a browser. Owns the listener and every connection
//! through it; all of it ends with ctrl-C.

use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::Subcommand;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};

use crate::cluster::Cluster;
use crate::output::{self, Verdict};
use crate::target::{self, Place, Process, Target};

/// Options of `ambit dashboard`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    /// Port on this machine; 0 takes a free one
    #[arg(short, long, global = true, default_value_t = 0)]
    port: u16,
    /// Address on this machine
    #[arg(long, global = true, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// Open a browser
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", value_name = "BOOL", action = clap::ArgAction::Set)]
    browser: bool,
}

#[derive(Subcommand)]
enum What {
    /// Debug pages and metrics of the controller
    Controller {
        /// Pod; the first if not given
        pod: Option<String>,
    },
    /// Admin pages of a node proxy
    Ztunnel {
        /// Pod or node; not needed where there is one
        pod: Option<String>,
    },
    /// Admin pages of a waypoint or gateway
    #[command(visible_alias = "gateway")]
    Waypoint {
        /// Pod, or Gateway, as `name` or `namespace/name`
        pod: String,
    },
    /// Debug pages and metrics of a node's agent
    Agent {
        /// Pod or node; not needed where there is one
        pod: Option<String>,
    },
    /// Prometheus, if it is installed
    Prometheus,
    /// Grafana, if it is installed
    Grafana,
    /// Kiali, if it is installed
    Kiali,
    /// Jaeger, if it is installed
    Jaeger,
}

/// A tool beside the mesh.
struct Tool {
    name: &'static str,
    /// Labels its pods may have, the most usual first
    selectors: [&'static str; 2],
    port: u16,
    path: &'static str,
}

const PROMETHEUS: Tool = Tool {
    name: "prometheus",
    selectors: ["app.kubernetes.io/name=prometheus", "app=prometheus"],
    port: 9090,
    path: "",
};
const GRAFANA: Tool = Tool {
    name: "grafana",
    selectors: ["app.kubernetes.io/name=grafana", "app=grafana"],
    port: 3000,
    path: "",
};
const KIALI: Tool = Tool {
    name: "kiali",
    selectors: ["app.kubernetes.io/name=kiali", "app=kiali"],
    port: 20001,
    path: "kiali",
};
const JAEGER: Tool = Tool {
    name: "jaeger",
    selectors: ["app.kubernetes.io/name=jaeger", "app=jaeger"],
    port: 16686,
    path: "",
};
/// A browser opens a few; more is a program gone wrong.
const MOST_CONNECTIONS: usize = 64;

/// Where connections lead.
enum Way {
    Process(Box<Process>),
    Pod {
        cluster: Cluster,
        namespace: String,
        pod: String,
        port: u16,
    },
}

/// Serves until ctrl-C.
///
/// # Errors
/// If what was asked for is not there, or the port is taken.
pub(crate) async fn run(args: &Args, place: &Place) -> Result<Verdict> {
    let (way, what, path) = find(&args.what, place).await?;
    let listener = TcpListener::bind(SocketAddr::new(args.address, args.port))
        .await
        .with_context(|| format!("port {} of {}", args.port, args.address))?;
    let url = format!("http://{}/{path}", listener.local_addr()?);
    output::line(&url);
    output::note(format_args!("{what}; ctrl-C ends it"));
    if args.browser && std::io::stdout().is_terminal() {
        open(&url);
    }
    serve(&listener, &way).await?;
    Ok(Verdict::Fine)
}

async fn find(what: &What, place: &Place) -> Result<(Way, String, &'static str)> {
    let tool = match what {
        What::Prometheus => Some(&PROMETHEUS),
        What::Grafana => Some(&GRAFANA),
        What::Kiali => Some(&KIALI),
        What::Jaeger => Some(&JAEGER),
        _ => None,
    };
    if let Some(tool) = tool {
        let cluster = place.cluster.connect().await?;
        let way = beside(tool, cluster, &place.namespace).await?;
        return Ok((way, tool.name.to_owned(), tool.path));
    }
    let target = target::open(place).await?;
    let (role, name) = match what {
        What::Ztunnel { pod } => ("ztunnel", pod.as_deref()),
        What::Agent { pod } => ("agent", pod.as_deref()),
        What::Waypoint { pod } => ("waypoint", Some(pod.as_str())),
        What::Controller { pod } => {
            let first = target.processes("controller").next();
            let name = pod.clone().or_else(|| first.map(|p| p.name.clone()));
            let process = choose(&target, "controller", name.as_deref())?;
            let what = process.name.clone();
            return Ok((Way::Process(Box::new(process)), what, ""));
        }
        _ => bail!("nothing to show"),
    };
    let process = choose(&target, role, name)?;
    let what = process.name.clone();
    Ok((Way::Process(Box::new(process)), what, ""))
}

/// One process of a role by name, node or Gateway.
fn choose(target: &Target, role: &str, name: Option<&str>) -> Result<Process> {
    let all: Vec<&Process> = target.processes(role).collect();
    let found: Vec<&&Process> = match name {
        None => all.iter().collect(),
        Some(name) => all.iter().filter(|p| is_called(p, name)).collect(),
    };
    let names = || {
        let named = |p: &&Process| match &p.node {
            Some(node) => format!("{} ({node})", p.name),
            None => p.name.clone(),
        };
        all.iter().map(named).collect::<Vec<_>>().join(", ")
    };
    ensure!(!all.is_empty(), "this mesh has no {role}");
    match found[..] {
        [] => bail!("no {role} is called that; there are {}", names()),
        [process] => Ok((**process).clone()),
        // Pods of one Gateway are alike.
        [process, ..] if role == "waypoint" => Ok((**process).clone()),
        _ => bail!("choose one of {}", names()),
    }
}

/// A waypoint's pod is `namespace/gateway-hash-hash`. Pure.
fn is_called(process: &Process, name: &str) -> bool {
    let own = process.name.as_str();
    let (namespace, pod) = own.split_once('/').unwrap_or(("", own));
    let (wanted_namespace, wanted) = name.split_once('/').unwrap_or((namespace, name));
    own == name
        || process.node.as_deref() == Some(name)
        || (wanted_namespace == namespace
            && (pod == wanted
                || process.role == "waypoint"
                    && pod
                        .strip_prefix(wanted)
                        .is_some_and(|rest| rest.starts_with('-'))))
}

/// A pod of a tool: of the mesh's namespace, else of any.
async fn beside(tool: &Tool, cluster: Cluster, namespace: &str) -> Result<Way> {
    for scope in [Some(namespace), None] {
        for selector in tool.selectors {
            let pods = cluster.list("v1", "Pod", scope, selector).await?;
            let running = pods.iter().find(|pod| pod["status"]["phase"] == "Running");
            if let Some(pod) = running {
                let text = |key: &str| pod["metadata"][key].as_str().unwrap_or_default().to_owned();
                return Ok(Way::Pod {
                    namespace: text("namespace"),
                    pod: text("name"),
                    port: port_of(pod, tool.port),
                    cluster,
                });
            }
        }
    }
    bail!(
        "no pod of {} runs (labels {}); install it, for example with the addons of Istio's samples",
        tool.name,
        tool.selectors.join(" or ")
    )
}

/// The tool's usual port if a container has it, else the first. Pure.
fn port_of(pod: &Value, usual: u16) -> u16 {
    let ports: Vec<u64> = pod["spec"]["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|c| c["ports"].as_array().into_iter().flatten())
        .filter_map(|p| p["containerPort"].as_u64())
        .collect();
    if ports.contains(&u64::from(usual)) {
        return usual;
    }
    let first = ports.first().and_then(|p| u16::try_from(*p).ok());
    first.unwrap_or(usual)
}

async fn serve(listener: &TcpListener, way: &Way) -> Result<()> {
    let mut open = FuturesUnordered::new();
    let mut end = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            ended = &mut end => return ended.context("ctrl-C"),
            Some(()) = open.next() => {}
            accepted = listener.accept(), if open.len() < MOST_CONNECTIONS => {
                let (client, _) = accepted.context("a connection of the browser")?;
                open.push(carry(client, way));
            }
        }
    }
}

async fn carry(mut client: TcpStream, way: &Way) {
    let carried = match way {
        Way::Process(process) => process.carry_admin(&mut client).await,
        Way::Pod {
            cluster,
            namespace,
            pod,
            port,
        } => target::carry(cluster, (namespace, pod, *port), &mut client).await,
    };
    if let Err(error) = carried {
        output::note(format_args!("a connection ended: {error:#}"));
    }
}

fn open(url: &str) {
    let program = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    let started = Command::new(program)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if started.is_err() {
        output::note(format_args!("no browser could be opened ({program})"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_usual_port_is_taken_where_a_container_has_it() {
        let pod = |ports: &[u16]| {
            let ports: Vec<Value> = ports.iter().map(|p| json!({"containerPort": p})).collect();
            json!({"spec": {"containers": [{"ports": []}, {"ports": ports}]}})
        };
        assert_eq!(port_of(&pod(&[8080, 9090]), 9090), 9090);
        assert_eq!(port_of(&pod(&[8080]), 9090), 8080);
        assert_eq!(port_of(&json!({}), 9090), 9090);
    }

    #[test]
    fn processes_are_found_by_pod_node_and_gateway() {
        let waypoint = Process::for_test("default/waypoint-5d9c-abcde", "waypoint", "n1");
        for name in [
            "default/waypoint-5d9c-abcde",
            "waypoint-5d9c-abcde",
            "waypoint",
            "default/waypoint",
            "n1",
        ] {
            assert!(is_called(&waypoint, name), "{name}");
        }
        for name in ["way", "other/waypoint", "n2"] {
            assert!(!is_called(&waypoint, name), "{name}");
        }
        let ztunnel = Process::for_test("ztunnel-abcde", "ztunnel", "n1");
        assert!(is_called(&ztunnel, "ztunnel-abcde") && is_called(&ztunnel, "n1"));
        assert!(!is_called(&ztunnel, "ztunnel"));
    }
}
