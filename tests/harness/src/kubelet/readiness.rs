//! Readiness of a pod.
//! In: the probes of its containers, whether they run. Out: ready or not, and the reason.
//! Never here: making a probe (that is [`crate::prober`]) or writing the status.
//! Spec: `spec.containers[].readinessProbe`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::cluster::PodView;
use crate::prober::Probe;

/// Until the first success a probe is made this often, so that a lab is up quickly.
pub const FIRST: Duration = Duration::from_millis(100);

/// One container's probe and how it is going.
#[derive(Clone, Debug)]
pub struct Check {
    /// What to try
    pub probe: Probe,
    period: Duration,
    threshold: u32,
    failures: u32,
    succeeded: bool,
    last: String,
}

/// The probes of a pod at `address`.
pub fn checks(pod: &Pod, addresses: &[IpAddr]) -> Vec<Check> {
    let containers = PodView(pod).spec().map(|spec| spec.containers.iter());
    let Some(primary) = addresses.first() else {
        return Vec::new();
    };
    containers
        .into_iter()
        .flatten()
        .filter_map(|c| check(PodView(pod), c, *primary))
        .collect()
}

fn check(pod: PodView<'_>, container: &Container, primary: IpAddr) -> Option<Check> {
    let probe = container.readiness_probe.as_ref()?;
    let number = |port: &IntOrString| match port {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::String(name) => pod.named_port(name),
    };
    let (port, path, host) = match (&probe.http_get, &probe.tcp_socket) {
        (Some(http), _) => (
            number(&http.port)?,
            Some(http.path.clone().unwrap_or_else(|| "/".to_owned())),
            &http.host,
        ),
        (None, Some(tcp)) => (number(&tcp.port)?, None, &tcp.host),
        (None, None) => return None,
    };
    let host = host.as_ref().and_then(|host| host.parse().ok());
    let seconds = |value: Option<i32>, default: u64| {
        value
            .and_then(|s| u64::try_from(s).ok())
            .filter(|s| *s > 0)
            .unwrap_or(default)
    };
    Some(Check {
        probe: Probe {
            to: SocketAddr::new(host.unwrap_or(primary), port),
            path,
            timeout_ms: seconds(probe.timeout_seconds, 1) * 1000,
        },
        period: Duration::from_secs(seconds(probe.period_seconds, 10)),
        threshold: u32::try_from(seconds(probe.failure_threshold, 3)).unwrap_or(3),
        failures: 0,
        succeeded: false,
        last: "not probed yet".to_owned(),
    })
}

impl Check {
    /// Takes the result of one probe.
    pub fn result(&mut self, result: Result<(), String>) {
        match result {
            Ok(()) => {
                self.succeeded = true;
                self.failures = 0;
                self.last.clear();
            }
            Err(why) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= self.threshold {
                    self.succeeded = false;
                }
                self.last = why;
            }
        }
    }

    /// Ready, or why not.
    pub fn ready(&self) -> Result<(), String> {
        if self.succeeded {
            Ok(())
        } else {
            Err(format!("Readiness probe failed: {}", self.last))
        }
    }

    /// When to probe next.
    pub fn pause(&self) -> Duration {
        if self.succeeded { self.period } else { FIRST }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_success_makes_ready_and_only_the_threshold_makes_unready() {
        let pod = serde_json::json!({"spec": {"containers": [{
            "name": "c",
            "ports": [{"name": "web", "containerPort": 9080}],
            "readinessProbe": {"httpGet": {"path": "/health", "port": "web"}, "failureThreshold": 2},
        }]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let mut checks = checks(&pod, &[[10, 244, 1, 2].into()]);
        let check = &mut checks[0];
        assert_eq!(check.probe.to.port(), 9080);
        assert_eq!(check.pause(), FIRST);
        assert!(check.ready().is_err());
        check.result(Ok(()));
        assert!(check.ready().is_ok());
        assert_eq!(check.pause(), Duration::from_secs(10));
        check.result(Err("status 500".into()));
        assert!(check.ready().is_ok());
        check.result(Err("status 500".into()));
        assert_eq!(
            check.ready().unwrap_err(),
            "Readiness probe failed: status 500"
        );
    }
}
