//! The start-up self-test: everything enrolment needs, once, in a scratch namespace.
//! In: open capture, the sysctl root. Out: nothing, or the step that failed.
//! Owns the scratch namespace, gone afterwards. Must not happen here: a trace left in the kernel.

use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

use ambit_ebpf_common::MAX_SLOTS;
use ambit_ebpf_loader::{Capture, Mark, Role, Slot};
use ambit_net::Netns;
use ambit_net::socket::{DialSpec, ListenSpec};
use ambit_net::sysctl::SysctlRoot;
use std::time::Duration;

use crate::enroll::routing;

/// A step failed: pods cannot be enrolled on this node.
#[derive(Debug, thiserror::Error)]
#[error("self-test: cannot {step}")]
pub struct SelfTestError {
    /// What was tried.
    pub step: &'static str,
    /// Why not.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Goes through the steps of an enrolment.
///
/// # Errors
/// [`SelfTestError`].
pub async fn run(capture: &Capture, sysctls: &SysctlRoot) -> Result<(), SelfTestError> {
    let netns = at("make and enter a network namespace", Netns::make())?;
    at("read a namespace cookie (Linux 5.14)", netns.cookie())?;
    let routed = routing::route(&netns, sysctls, &[]).await;
    at("write sysctls, rules and routes of a pod", routed)?;
    let mut spec = ListenSpec::new(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)));
    spec.transparent = true;
    spec.reuse_port = true;
    let listener = at("make a transparent listener", spec.tcp(Some(&netns)))?;
    let mut dial = DialSpec::new(
        SocketAddr::from(([127, 0, 0, 1], 9)),
        Duration::from_secs(1),
    )
    .within(&netns);
    dial.mark = Some(Mark::TO_APP.0);
    dial.bind_device = Some("lo");
    at("mark a socket", dial.prepare())?;
    let slot = Slot::new(MAX_SLOTS - 1).expect("the last slot is a slot");
    if at("list steer links", capture.steered())?.contains(&slot) {
        // A full node; the steps below are what it has been doing all the time.
        return Ok(());
    }
    let steered = steer(capture, slot, &netns, &listener);
    at("detach a steer program", capture.detach_steer(slot))?;
    steered
}

fn steer(
    capture: &Capture,
    slot: Slot,
    netns: &Netns,
    listener: &impl AsFd,
) -> Result<(), SelfTestError> {
    let put = capture.set_listener(slot, Role::Outbound, listener.as_fd());
    at("put a listener into the sockmap", put)?;
    at(
        "empty a sockmap slot",
        capture.clear_listener(slot, Role::Outbound),
    )?;
    at(
        "attach a steer program",
        capture.attach_steer(slot, netns.as_fd()),
    )
}

fn at<T, E>(step: &'static str, result: Result<T, E>) -> Result<T, SelfTestError>
where
    E: std::error::Error + Send + Sync + 'static,
{
    result.map_err(|source| SelfTestError {
        step,
        source: Box::new(source),
    })
}
