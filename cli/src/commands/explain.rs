//! `ambit explain connection`: asks the source pod's node proxy to run its own decision, without
//! making a connection, and prints every fact it consulted.

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
    },
}

/// The proxy's answer.
#[derive(Debug, Deserialize, Serialize)]
struct Explanation {
    /// One line: what happens.
    decision: String,
    /// Whether the connection would be refused.
    refused: bool,
    /// Facts in the order they were consulted.
    trace: Vec<String>,
}

/// Prints the explanation. [`Verdict::Wrong`] when the connection would be refused.
pub(crate) async fn run(args: &Args, target: &Target, format: Format) -> Result<Verdict> {
    let What::Connection { from, to } = &args.what;
    let (namespace, name) = pod(from)?;
    let mut refusals = Vec::new();
    for process in target.processes("ztunnel") {
        let path = format!("/explain?namespace={namespace}&pod={name}&to={to}");
        match process.admin(&path).await {
            Ok(text) => {
                let answer: Explanation =
                    serde_json::from_str(&text).context("the proxy's answer")?;
                print(&answer, process.node.as_deref().unwrap_or("?"), format)?;
                let refused = answer.refused;
                return Ok(if refused {
                    Verdict::Wrong
                } else {
                    Verdict::Fine
                });
            }
            Err(e) => refusals.push(format!("{}: {e:#}", process.name)),
        }
    }
    bail!(
        "no proxy could answer for {namespace}/{name}:\n  {}",
        refusals.join("\n  ")
    )
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
    for (i, fact) in answer.trace.iter().enumerate() {
        output::line(format_args!("  {}. {fact}", i + 1));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::pod;

    #[test]
    fn pods_are_named_both_ways() {
        assert_eq!(pod("default/web").unwrap(), ("default", "web"));
        assert_eq!(pod("web.default").unwrap(), ("default", "web"));
        assert!(pod("web").is_err());
        assert!(pod("/web").is_err());
    }
}
