//! Settings of upstream's node proxy that have no effect here, or not every effect.
//! In: names and values. Out: what holds instead, to be said at the start; a value that would weaken
//! what this proxy promises is a mistake. Nothing is ignored in silence.
//! Spec: ztunnel `config.rs`.

use ambit_runtime::env::Reader;

/// A setting that was given and has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unheeded {
    /// Variable.
    pub name: String,
    /// What holds, whatever it says.
    pub holds: &'static str,
}

/// Which value of a switch changes nothing.
enum Harmless {
    /// `true`: it is always on.
    On,
    /// `false`: it is always off.
    Off,
}

/// Switches of which only one position is to be had.
const SWITCHES: [(&str, Harmless, &str); 3] = [
    (
        "INPOD_PORT_REUSE",
        Harmless::On,
        "every worker has a listener of its own in each pod, by SO_REUSEPORT",
    ),
    (
        "LOCALHOST_APP_TUNNEL",
        Harmless::On,
        "applications that take the PROXY protocol are dialled over loopback",
    ),
    (
        "AUTHZ_POLICY_INFO_LOGGING",
        Harmless::Off,
        "refusals name policy and rule in their access line; who is allowed is in `ambit explain`",
    ),
];

/// Settings without any effect.
const VALUES: [(&str, &str); 4] = [
    (
        "PREFERED_SERVICE_NAMESPACE",
        "a name in several namespaces is the client's own, else the canonical one",
    ),
    (
        "ISTIO_META_DNS_PROXY_ADDR",
        "DNS is answered at port 15053 of each pod's loopback",
    ),
    ("PROXY_CONFIG", "settings are environment variables only"),
    (
        "PROXY_WORKLOAD_INFO",
        "the proxy serves all pods of its node that the agent hands over",
    ),
];

/// Upstream's file of settings.
const MESH_FILE: &str = "./etc/istio/config/mesh";

/// Beginnings of names under which anything may be given.
const PREFIXES: [(&str, &str); 4] = [
    (
        "XDS_HEADER_",
        "no further metadata is sent to the controller",
    ),
    ("CA_HEADER_", "no further metadata is sent to the authority"),
    ("ISTIO_METAJSON_", "node metadata is fixed"),
    ("ISTIO_META_", "node metadata is fixed"),
];

/// Names under those beginnings that have an effect, or are told by themselves.
const KNOWN: [&str; 3] = [
    "ISTIO_META_CLUSTER_ID",
    "ISTIO_META_DNS_CAPTURE",
    "ISTIO_META_DNS_PROXY_ADDR",
];

/// What was given in vain; `names`: every variable there is. Refuses what would weaken a promise.
pub(super) fn read(reader: &Reader<'_>, names: &[String]) -> Vec<Unheeded> {
    if !reader.flag("ENABLE_ORIG_SRC", true) {
        reader.reject(
            "ENABLE_ORIG_SRC",
            reader.text("ENABLE_ORIG_SRC"),
            "applications always see the address of their client: their own rules may depend on it",
        );
    }
    let unheeded = |name: &str, holds| Unheeded {
        name: name.to_owned(),
        holds,
    };
    let mut found = Vec::new();
    for (name, harmless, holds) in SWITCHES {
        let always = matches!(harmless, Harmless::On);
        if reader.flag(name, always) != always {
            found.push(unheeded(name, holds));
        }
    }
    for (name, holds) in VALUES {
        if reader.text(name).is_some() {
            found.push(unheeded(name, holds));
        }
    }
    if std::path::Path::new(MESH_FILE).exists() {
        found.push(unheeded(
            MESH_FILE,
            "settings are environment variables only",
        ));
    }
    for name in names.iter().filter(|name| !KNOWN.contains(&name.as_str())) {
        let beginning = PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix));
        if let Some((_, holds)) = beginning {
            found.push(unheeded(name, holds));
        }
    }
    found
}
