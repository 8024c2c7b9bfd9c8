//! From invocation to answer.

use std::time::Duration;

use serde_json::json;

use crate::agent::{Answer, AskError, ask};
use crate::error::{CniError, Code};
use crate::invocation::{Command, Pod, Sandbox};
use crate::known::{Known, WithoutAgent, without_agent};
use crate::log;
use crate::netconf::{NEWEST, NetConf, SUPPORTED, pod_ips};
use crate::wire::{self, Request};

/// What the process ends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Bytes for stdout: a result, a version object or an error.
    pub stdout: Vec<u8>,
    /// Exit code 0 or 1.
    pub success: bool,
}

impl From<CniError> for Finished {
    fn from(error: CniError) -> Self {
        Self {
            stdout: error.to_json(NEWEST),
            success: false,
        }
    }
}

/// Runs one command. `lookup` reads environment variables.
pub fn run(lookup: &dyn Fn(&str) -> Option<String>, stdin: &[u8]) -> Finished {
    let command = match Command::read(lookup) {
        Ok(command) => command,
        Err(error) => return error.into(),
    };
    let done = match command {
        Command::Version => return success(version()),
        // An agent that is away does not make the network of other pods unready: ADD decides pod by pod.
        Command::Status => NetConf::parse(stdin)
            .map(|_| Vec::new())
            .map_err(|error| (error, NEWEST.to_owned())),
        // The agent drops what is gone by watching namespaces.
        Command::Gc => Ok(Vec::new()),
        Command::Del => {
            del(lookup, stdin);
            Ok(Vec::new())
        }
        Command::Add | Command::Check => with_conf(stdin, |conf| match command {
            Command::Add => add(lookup, conf),
            _ => check(lookup, conf),
        }),
    };
    match done {
        Ok(stdout) => success(stdout),
        Err((error, version)) => Finished {
            stdout: error.to_json(&version),
            success: false,
        },
    }
}

fn success(stdout: Vec<u8>) -> Finished {
    Finished {
        stdout,
        success: true,
    }
}

fn version() -> Vec<u8> {
    json!({"cniVersion": NEWEST, "supportedVersions": SUPPORTED})
        .to_string()
        .into_bytes()
}

fn with_conf(
    stdin: &[u8],
    job: impl FnOnce(&NetConf) -> Result<Vec<u8>, CniError>,
) -> Result<Vec<u8>, (CniError, String)> {
    let conf = NetConf::parse(stdin).map_err(|error| (error, NEWEST.to_owned()))?;
    job(&conf).map_err(|error| {
        log::line(
            conf.log_file.as_deref(),
            &format!("error {}: {error}", error.code),
        );
        (error, conf.cni_version.clone())
    })
}

fn add(lookup: &dyn Fn(&str) -> Option<String>, conf: &NetConf) -> Result<Vec<u8>, CniError> {
    let previous = conf.previous()?;
    let unchanged = previous.to_string().into_bytes();
    let sandbox = Sandbox::read(lookup)?;
    let netns = sandbox.netns()?;
    let Some(pod) = &sandbox.pod else {
        log::line(
            conf.log_file.as_deref(),
            &format!("add {}: no pod, passed", sandbox.container_id),
        );
        return Ok(unchanged);
    };
    if let Some(reason) = never_ours(conf, pod) {
        record(conf, "add", pod, reason);
        return Ok(unchanged);
    }
    let request = request(&sandbox, pod, netns, pod_ips(previous)?);
    match ask(&conf.agent_socket, wire::ADD, &request, DEADLINE) {
        Ok(Answer::Done) => record(conf, "add", pod, "done"),
        Ok(Answer::Refused(refusal)) => {
            return Err(CniError {
                code: refusal.code,
                msg: refusal.msg,
                details: refusal.details,
            });
        }
        // One that hangs is as good as none, for pods it has nothing to do for.
        Err(AskError::Away { .. } | AskError::Late(_)) => {
            record(conf, "add", pod, agent_away(conf, pod)?);
        }
        Err(error) => {
            return Err(CniError::new(
                Code::TryAgain,
                "no answer from the agent",
                chain(&error),
            ));
        }
    }
    Ok(unchanged)
}

fn check(lookup: &dyn Fn(&str) -> Option<String>, conf: &NetConf) -> Result<Vec<u8>, CniError> {
    let previous = conf.previous()?;
    let sandbox = Sandbox::read(lookup)?;
    let netns = sandbox.netns()?;
    let Some(pod) = &sandbox.pod else {
        return Ok(Vec::new());
    };
    if never_ours(conf, pod).is_some() {
        return Ok(Vec::new());
    }
    let request = request(&sandbox, pod, netns, pod_ips(previous)?);
    match ask(&conf.agent_socket, wire::CHECK, &request, DEADLINE) {
        Ok(Answer::Done) => Ok(Vec::new()),
        Ok(Answer::Refused(refusal)) => Err(CniError {
            code: refusal.code,
            msg: refusal.msg,
            details: refusal.details,
        }),
        Err(error) => Err(CniError::new(
            Code::TryAgain,
            "no answer from the agent",
            chain(&error),
        )),
    }
}

/// Best effort: what is not told now, the agent finds out when the namespace is gone.
fn del(lookup: &dyn Fn(&str) -> Option<String>, stdin: &[u8]) {
    let (Ok(conf), Ok(sandbox)) = (NetConf::parse(stdin), Sandbox::read(lookup)) else {
        return;
    };
    let Some(pod) = &sandbox.pod else { return };
    if never_ours(&conf, pod).is_some() {
        return;
    }
    let request = request(
        &sandbox,
        pod,
        sandbox.netns.as_deref().unwrap_or_default(),
        Vec::new(),
    );
    match ask(&conf.agent_socket, wire::DEL, &request, DEADLINE) {
        Ok(Answer::Done) => record(&conf, "del", pod, "done"),
        Ok(Answer::Refused(refusal)) => record(&conf, "del", pod, &refusal.msg),
        Err(error) => record(&conf, "del", pod, &chain(&error)),
    }
}

fn agent_away(conf: &NetConf, pod: &Pod) -> Result<&'static str, CniError> {
    let known = Known::read(&conf.state_file);
    if known.as_ref().is_some_and(|known| {
        known
            .own_pods
            .iter()
            .any(|own| own.matches(&pod.namespace, &pod.name))
    }) {
        return Ok("the pod is part of the mesh itself");
    }
    match without_agent(known.as_ref(), &pod.namespace) {
        WithoutAgent::Pass(reason) => Ok(reason),
        WithoutAgent::Wait(reason) => Err(CniError::new(
            Code::TryAgain,
            "the pod may belong to the mesh",
            format!("{}/{}: {reason}", pod.namespace, pod.name),
        )),
    }
}

fn never_ours(conf: &NetConf, pod: &Pod) -> Option<&'static str> {
    if conf.exclude_namespaces.contains(&pod.namespace) {
        Some("the namespace is excluded")
    } else if conf
        .own_pods
        .iter()
        .any(|own| own.matches(&pod.namespace, &pod.name))
    {
        Some("the pod is part of the mesh itself")
    } else {
        None
    }
}

fn request(sandbox: &Sandbox, pod: &Pod, netns: &str, ips: Vec<std::net::IpAddr>) -> Request {
    Request {
        container_id: sandbox.container_id.clone(),
        netns: netns.to_owned(),
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        uid: pod.uid.clone(),
        ips,
    }
}

fn record(conf: &NetConf, command: &str, pod: &Pod, outcome: &str) {
    log::line(
        conf.log_file.as_deref(),
        &format!("{command} {}/{}: {outcome}", pod.namespace, pod.name),
    );
}

fn chain(error: &AskError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Longer than the agent waits for a proxy, shorter than a runtime waits for a plugin.
const DEADLINE: Duration = Duration::from_secs(10);
