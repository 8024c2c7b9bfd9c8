//! `ambit explain connection`: asks the source pod's node proxy to run its own decision, and the
//! waypoint it leads to, if any, to run its own for a request, without making a connection. Prints
//! every fact they consulted.

use crate::output::{self, Format, Verdict};
use crate::target::Target;
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use serde::{Deserialize, Serialize};

/// Options of `ambit explain`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Where would a connection from this pod go, and why
    Connection {
        /// Pod that connects: `<namespace>/<name>` or `<name>.<namespace>`
        #[arg(long, value_name = "POD")]
        from: String,
        /// What it dials: a service name, hostname or address, with its port
        #[arg(long, value_name = "HOST:PORT")]
        to: String,
        #[command(flatten)]
        request: RequestArgs,
    },
}

/// What the application says, for waypoints, which decide by request.
#[derive(clap::Args)]
struct RequestArgs {
    /// Method of the request, where a waypoint decides by it
    #[arg(long, default_value = "GET")]
    method: String,
    /// Path of the request, with its query
    #[arg(long, default_value = "/")]
    path: String,
    /// A header of the request, `NAME: VALUE`; may be repeated. `Host` is the dialled name otherwise
    #[arg(long = "header", value_name = "HEADER")]
    headers: Vec<String>,
}

/// The node proxy's answer.
#[derive(Debug, Deserialize, Serialize)]
struct Explanation {
    /// One line: what happens.
    decision: String,
    /// Node of the pod; absent from older proxies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    /// Whether the connection would be refused.
    refused: bool,
    /// Facts in the order they were consulted.
    trace: Vec<String>,
    /// The waypoint it leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    waypoint: Option<Onward>,
}

/// A waypoint and what it is asked for.
#[derive(Debug, Deserialize, Serialize)]
struct Onward {
    namespace: String,
    pod: String,
    authority: String,
    identity: String,
    client: Option<String>,
    /// What it says; absent where it could not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    explanation: Option<RequestExplanation>,
}

/// The waypoint's answer.
#[derive(Debug, Deserialize, Serialize)]
struct RequestExplanation {
    /// One line: what happens.
    decision: String,
    /// Whether the waypoint would answer with an error.
    refused: bool,
    /// The route taken.
    route: String,
    /// The cluster chosen.
    cluster: String,
    /// The endpoint chosen.
    endpoint: String,
    /// Facts in the order they were consulted.
    trace: Vec<String>,
}

/// Prints the explanation. [`Verdict::Wrong`] when the connection or the request would be refused.
pub(crate) async fn run(args: &Args, target: &Target, format: Format) -> Result<Verdict> {
    let What::Connection { from, to, request } = &args.what;
    let (namespace, name) = pod(from)?;
    let mut refusals = Vec::new();
    for process in target.processes("ztunnel") {
        let path = format!(
            "/explain?namespace={}&pod={}&to={}",
            escaped(namespace),
            escaped(name),
            escaped(to)
        );
        let text = match process.admin(&path).await {
            Ok(text) => text,
            Err(e) => {
                refusals.push(format!("{}: {e:#}", process.name));
                continue;
            }
        };
        let mut answer: Explanation = serde_json::from_str(&text).context("the proxy's answer")?;
        if let Some(node) = &answer.node
            && process.node.as_ref() != Some(node)
            && target
                .processes("ztunnel")
                .any(|other| other.node.as_ref() == Some(node))
        {
            // What it knows may differ from what the pod's own proxy knows.
            refusals.push(format!("{}: the pod is on {node}", process.name));
            continue;
        }
        let mut refused = answer.refused;
        if let Some(onward) = &mut answer.waypoint {
            let host = to.rsplit_once(':').map_or(to.as_str(), |(host, _)| host);
            let explained = ask(target, onward, (request, host)).await?;
            refused |= explained.refused;
            onward.explanation = Some(explained);
        }
        print(&answer, process.node.as_deref().unwrap_or("?"), format)?;
        return Ok(match refused {
            true => Verdict::Wrong,
            false => Verdict::Fine,
        });
    }
    bail!(
        "no proxy could answer for {namespace}/{name}:\n  {}",
        refusals.join("\n  ")
    )
}

/// Asks the waypoint.
async fn ask(
    target: &Target,
    onward: &Onward,
    (request, host): (&RequestArgs, &str),
) -> Result<RequestExplanation> {
    let name = format!("{}/{}", onward.namespace, onward.pod);
    let mut waypoints = target.processes("waypoint");
    let process = waypoints
        .find(|p| p.name == name)
        .with_context(|| format!("waypoint {name} is not to be found"))?;
    let mut path = format!(
        "/explain?to={}&identity={}&client={}&method={}&path={}",
        escaped(&onward.authority),
        escaped(&onward.identity),
        escaped(onward.client.as_deref().unwrap_or_default()),
        escaped(&request.method),
        escaped(&request.path)
    );
    let named = |header: &String| {
        let name = header.split(':').next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case("host")
    };
    let dialled = format!("host:{host}");
    let host = Some(&dialled).filter(|_| !request.headers.iter().any(named));
    for header in request.headers.iter().chain(host) {
        path.push_str("&header=");
        path.push_str(&escaped(header));
    }
    let text = process.admin(&path).await?;
    serde_json::from_str(&text).context("the waypoint's answer")
}

/// As a value in a query (RFC 3986 section 3.4).
fn escaped(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b':' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

fn pod(text: &str) -> Result<(&str, &str)> {
    text.split_once('/')
        .or_else(|| {
            text.rsplit_once('.')
                .map(|(name, namespace)| (namespace, name))
        })
        .filter(|(a, b)| !a.is_empty() && !b.is_empty())
        .with_context(|| format!("`{text}` is not <namespace>/<name>"))
}

fn print(answer: &Explanation, node: &str, format: Format) -> Result<()> {
    if format != Format::Table {
        return output::value(answer, format);
    }
    output::line(format_args!(
        "{} (decided by the proxy of {node})",
        answer.decision
    ));
    facts(&answer.trace);
    let Some(onward) = &answer.waypoint else {
        return Ok(());
    };
    let Some(explained) = &onward.explanation else {
        return Ok(());
    };
    output::line(format_args!(
        "{} (decided by the waypoint {}/{})",
        explained.decision, onward.namespace, onward.pod
    ));
    facts(&explained.trace);
    Ok(())
}

fn facts(trace: &[String]) {
    for (i, fact) in trace.iter().enumerate() {
        output::line(format_args!("  {}. {fact}", i + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::{escaped, pod};

    #[test]
    fn pods_are_named_both_ways() {
        assert_eq!(pod("default/web").unwrap(), ("default", "web"));
        assert_eq!(pod("web.default").unwrap(), ("default", "web"));
        assert!(pod("web").is_err());
        assert!(pod("/web").is_err());
    }

    #[test]
    fn values_survive_a_query() {
        assert_eq!(escaped("[fd00::1]:80"), "%5Bfd00::1%5D:80");
        assert_eq!(escaped("/a?b=c&d#%"), "/a%3Fb%3Dc%26d%23%25");
        assert_eq!(escaped("x-user: José"), "x-user:%20Jos%C3%A9");
    }
}
