//! The facts one decision consulted, in order: what `explain`, denial logs and what-if print.
//! In: facts, pushed while deciding; reference counts only, nothing is formatted. Out: `Display` for
//! people, `Serialize` for tools.

use ambit_model::ids::{NetworkId, ServiceKey, SpiffeId, WorkloadUid};
use ambit_model::service::LoadBalancingMode;
use ambit_model::waypoint::{GatewayAddress, GatewayDestination};
use ambit_policy::l4::{Denial, DryRun, RuleRef};
use serde::Serialize;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Facts in the order they were consulted.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Trace(pub Vec<Fact>);

impl Trace {
    pub(crate) fn push(&mut self, fact: Fact) {
        self.0.push(fact);
    }
}

/// One fact.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub enum Fact {
    /// The address dialled, as captured.
    Dialled {
        /// Original destination.
        address: SocketAddr,
        /// Network it was looked up in.
        network: NetworkId,
    },
    /// The port is one of the proxy's own.
    Reserved(u16),
    /// The address is a workload's.
    IsWorkload(WorkloadUid),
    /// The address is a service's.
    IsService(ServiceKey),
    /// Nobody in the mesh has the address.
    IsUnknown,
    /// Traffic for the target goes through a waypoint.
    NamesWaypoint {
        /// Which one.
        waypoint: GatewayAddress,
        /// One of several, picked by weight.
        weighted: bool,
    },
    /// The source is that waypoint itself, so it is not used.
    SourceIsWaypoint,
    /// The waypoint's instances were looked for.
    WaypointIs(WorkloadUid),
    /// Endpoints of a service were compared.
    Compared {
        /// The service.
        service: ServiceKey,
        /// The rule they were compared by.
        mode: LoadBalancingMode,
        /// How many could take this connection.
        eligible: usize,
        /// How many there are.
        of: usize,
        /// How many of the eligible were equally good.
        best: usize,
    },
    /// This endpoint was chosen.
    Chose {
        /// The workload.
        workload: WorkloadUid,
        /// Its port.
        target_port: u16,
    },
    /// It is in another network.
    OtherNetwork(NetworkId),
    /// The name of a workload without address resolved to this.
    ResolvedTo(IpAddr),
    /// The service asks that no endpoint be chosen.
    PassesThrough(ServiceKey),
    /// Who the client proved to be; `None`: plaintext.
    PeerIs(Option<SpiffeId>),
    /// Policy let it through.
    PolicyAllowed(Option<RuleRef>),
    /// Policy refused it.
    PolicyDenied(Denial),
    /// A policy on trial.
    OnTrial(DryRun),
    /// The application is reached through its PROXY protocol port.
    ApplicationTunnel(u16),
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fact) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            fact.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dialled { address, network } if network.as_str().is_empty() => {
                write!(f, "the app dialled {address}")
            }
            Self::Dialled { address, network } => {
                write!(f, "the app dialled {address} in network {network}")
            }
            Self::Reserved(port) => write!(f, "port {port} is one of the proxy's own"),
            Self::IsWorkload(uid) => write!(f, "that is workload {uid}"),
            Self::IsService(key) => write!(f, "that is service {key}"),
            Self::IsUnknown => f.write_str("nobody in the mesh has that address"),
            Self::NamesWaypoint { waypoint, weighted } => {
                let picked = if *weighted { ", picked by weight" } else { "" };
                write!(
                    f,
                    "its traffic goes through waypoint {}{picked}",
                    Gateway(waypoint)
                )
            }
            Self::SourceIsWaypoint => f.write_str("the client is that waypoint, so it goes direct"),
            Self::WaypointIs(uid) => write!(f, "the waypoint is workload {uid}"),
            Self::Compared {
                service,
                mode,
                eligible,
                of,
                best,
            } => write!(
                f,
                "{eligible} of {of} endpoints of {service} can take it, {best} of them equally good ({mode:?})"
            ),
            Self::Chose {
                workload,
                target_port,
            } => {
                write!(f, "chose {workload} on port {target_port}")
            }
            Self::OtherNetwork(network) => write!(f, "it is in another network, `{network}`"),
            Self::ResolvedTo(ip) => write!(f, "its name resolves to {ip}"),
            Self::PassesThrough(key) => write!(f, "{key} asks for the original destination"),
            Self::PeerIs(Some(id)) => write!(f, "the client proved to be {id}"),
            Self::PeerIs(None) => f.write_str("the client is in plaintext, with no identity"),
            Self::PolicyAllowed(Some(by)) => {
                write!(f, "allowed by {} rule {}", by.policy, by.rule)
            }
            Self::PolicyAllowed(None) => f.write_str("no ALLOW policy applies, so it is allowed"),
            Self::PolicyDenied(denial) => denial.fmt(f),
            Self::OnTrial(trial) => {
                let action = if trial.deny { "deny" } else { "allow" };
                match trial.matched {
                    Some(rule) => {
                        write!(f, "on trial, {} rule {rule} would {action}", trial.policy)
                    }
                    None => write!(f, "on trial, {} would not {action}", trial.policy),
                }
            }
            Self::ApplicationTunnel(port) => {
                write!(f, "the app takes it on its PROXY protocol port {port}")
            }
        }
    }
}

/// A gateway in words.
pub(crate) struct Gateway<'a>(pub(crate) &'a GatewayAddress);

impl fmt::Display for Gateway<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.destination {
            GatewayDestination::Hostname(key) => write!(f, "{key}:{}", self.0.hbone_port),
            GatewayDestination::Address(a) => write!(f, "{}:{}", a.ip, self.0.hbone_port),
        }
    }
}
