//! Listeners of an ingress gateway: which of them take traffic, and why the others do not.
//! In: the Gateway's spec. Out: a fact per listener; pure.
//! Spec: Gateway API `Listener`, `ListenerStatus` and its condition reasons.

use ambit_api::ports;
use ambit_crds::gateway::{GatewaySpec, Listener, RouteKind};
use ambit_model::route::VirtualHost;

/// Ports that a gateway of ours listens on for itself.
pub(super) const OWN: [u16; 4] = [ports::ADMIN, ports::HBONE, ports::METRICS, ports::READINESS];
/// Kinds of routes that listeners take by default.
const KINDS: [RouteKind; 2] = [RouteKind::Http, RouteKind::Grpc];
const GATEWAY_API: &str = "gateway.networking.k8s.io";

/// A listener.
#[derive(Clone, Debug)]
pub(crate) struct ListenerFact<'a> {
    pub(crate) listener: &'a Listener,
    /// Hosts it takes.
    pub(crate) host: VirtualHost,
    /// Why it takes nothing.
    pub(crate) fault: Option<Fault>,
    /// Kinds that `allowedRoutes.kinds` names and that we do not run.
    pub(crate) unknown_kinds: Vec<String>,
    /// Kinds of routes that may attach.
    pub(crate) taken: Vec<RouteKind>,
}

/// Why a listener takes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Its protocol is not run.
    Protocol(String),
    /// The port is one of the proxy's own.
    Port(u16),
    /// Its hostname is none.
    Hostname(String),
    /// An equal one comes before or after it.
    Conflict(String),
}

impl Fault {
    /// Reason of the condition `Accepted`, and message.
    pub(crate) fn said(&self) -> (&'static str, String) {
        match self {
            Self::Protocol(protocol) => (
                "UnsupportedProtocol",
                format!("protocol {protocol} is not supported yet: only HTTP is"),
            ),
            Self::Port(port) => (
                "PortUnavailable",
                format!("port {port} is one of the proxy's own"),
            ),
            Self::Hostname(text) => ("Invalid", format!("`{text}` is not a host name")),
            Self::Conflict(other) => (
                "HostnameConflict",
                format!("listener {other} has the same port and hostname"),
            ),
        }
    }
}

impl ListenerFact<'_> {
    /// Whether routes of a kind may attach to it.
    pub(crate) fn takes(&self, kind: RouteKind) -> bool {
        self.taken.contains(&kind)
    }

    /// Whether it takes traffic.
    pub(crate) fn is_usable(&self) -> bool {
        self.fault.is_none()
    }
}

/// Derives every listener.
pub(crate) fn derive(spec: &GatewaySpec) -> Vec<ListenerFact<'_>> {
    let mut facts: Vec<ListenerFact<'_>> = spec.listeners.iter().map(one).collect();
    let equal = |a: &ListenerFact<'_>, b: &ListenerFact<'_>| {
        a.listener.port == b.listener.port && a.host == b.host
    };
    let conflicts: Vec<Option<String>> = facts
        .iter()
        .map(|this| {
            let usable = facts.iter().filter(|f| f.is_usable() && this.is_usable());
            let mut others = usable.filter(|f| f.listener.name != this.listener.name);
            let other = others.find(|f| equal(f, this))?;
            Some(other.listener.name.clone())
        })
        .collect();
    for (fact, conflict) in facts.iter_mut().zip(conflicts) {
        if let Some(other) = conflict {
            fact.fault = Some(Fault::Conflict(other));
        }
    }
    facts
}

fn one(listener: &Listener) -> ListenerFact<'_> {
    let text = listener.hostname.as_deref().filter(|h| !h.is_empty());
    let host = VirtualHost::parse(text.unwrap_or("*"));
    let fault = match (listener.protocol.as_str(), &host) {
        ("HTTP", _) if OWN.contains(&listener.port) => Some(Fault::Port(listener.port)),
        ("HTTP", None) => Some(Fault::Hostname(text.unwrap_or_default().to_owned())),
        ("HTTP", Some(_)) => None,
        (other, _) => Some(Fault::Protocol(other.to_owned())),
    };
    let kinds = listener.allowed_routes.iter().flat_map(|a| &a.kinds);
    let mut unknown_kinds = Vec::new();
    let (mut listed, mut taken) = (false, Vec::new());
    for kind in kinds {
        listed = true;
        let ours = kind.group.as_deref().unwrap_or(GATEWAY_API) == GATEWAY_API;
        let known = KINDS.into_iter().find(|of| of.kind().as_str() == kind.kind);
        match known.filter(|_| ours) {
            Some(known) => taken.push(known),
            None => unknown_kinds.push(kind.kind.clone()),
        }
    }
    if !listed {
        taken.extend(KINDS);
    }
    ListenerFact {
        listener,
        host: host.unwrap_or(VirtualHost::Any),
        fault,
        unknown_kinds,
        taken,
    }
}

/// The host that both take, if any.
pub(crate) fn common(a: &VirtualHost, b: &VirtualHost) -> Option<VirtualHost> {
    use VirtualHost::{Any, Exact, Suffix};
    match (a, b) {
        (Any, other) | (other, Any) => Some(other.clone()),
        (Exact(x), Exact(y)) => (x == y).then(|| a.clone()),
        (Exact(name), Suffix(suffix)) | (Suffix(suffix), Exact(name)) => {
            let fits = name.len() > suffix.len() && name.ends_with(&**suffix);
            fits.then(|| Exact(name.clone()))
        }
        (Suffix(x), Suffix(y)) => {
            let (longer, shorter) = if x.len() >= y.len() { (x, y) } else { (y, x) };
            longer.ends_with(&**shorter).then(|| Suffix(longer.clone()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(listeners: serde_json::Value) -> GatewaySpec {
        let spec = serde_json::json!({"gatewayClassName": "istio", "listeners": listeners});
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn a_listener_that_takes_nothing_says_why() {
        let spec = spec(serde_json::json!([
            {"name": "web", "port": 80, "protocol": "HTTP"},
            {"name": "tls", "port": 443, "protocol": "HTTPS"},
            {"name": "own", "port": 15021, "protocol": "HTTP"},
            {"name": "a", "port": 81, "protocol": "HTTP", "hostname": "a.example"},
            {"name": "b", "port": 81, "protocol": "HTTP", "hostname": "A.example"},
            {"name": "c", "port": 81, "protocol": "HTTP", "hostname": "*.example"},
        ]));
        let faults: Vec<_> = derive(&spec)
            .iter()
            .map(|f| f.fault.as_ref().map_or("", |f| f.said().0))
            .collect();
        let conflict = "HostnameConflict";
        let wanted = [
            "",
            "UnsupportedProtocol",
            "PortUnavailable",
            conflict,
            conflict,
            "",
        ];
        assert_eq!(faults, wanted);
    }

    #[test]
    fn hosts_meet_in_the_narrower_one() {
        let host = |text: &str| VirtualHost::parse(text).unwrap();
        for (a, b, both) in [
            ("*", "a.example", Some("a.example")),
            ("*.example", "a.example", Some("a.example")),
            ("*.example", "a.b.example", Some("a.b.example")),
            ("*.example", "*.b.example", Some("*.b.example")),
            ("*.example", "example", None),
            ("a.example", "b.example", None),
            ("*.example", "*.ample", None),
            ("*", "*", Some("*")),
        ] {
            let wanted = both.map(host);
            assert_eq!(common(&host(a), &host(b)), wanted, "{a} {b}");
            assert_eq!(common(&host(b), &host(a)), wanted, "{b} {a}");
        }
    }
}
