//! `security.istio.io AuthorizationPolicy`. Pure.
//! A clause that was dropped would allow more than its author wrote, so here, too, nothing is.

use serde_json::Value;

use super::schema::{about, list, open, required, selector, target_ref, text, texts, word};

pub(super) fn authorization_policy() -> Value {
    let rule = open(&[
        (
            "from",
            about("Any of these.", list(open(&[("source", source())]))),
        ),
        (
            "to",
            about("Any of these.", list(open(&[("operation", operation())]))),
        ),
        ("when", about("All of these.", list(condition()))),
    ]);
    open(&[
        ("selector", selector()),
        ("targetRef", target_ref()),
        (
            "targetRefs",
            about("Services or gateways it is for.", list(target_ref())),
        ),
        (
            "rules",
            about("Any of these; none matches nothing.", list(rule)),
        ),
        ("action", word(&["ALLOW", "DENY", "AUDIT", "CUSTOM"])),
        ("provider", open(&[("name", text())])),
    ])
}

fn source() -> Value {
    open(&[
        ("principals", texts()),
        ("notPrincipals", texts()),
        ("requestPrincipals", texts()),
        ("notRequestPrincipals", texts()),
        ("serviceAccounts", texts()),
        ("notServiceAccounts", texts()),
        ("namespaces", texts()),
        ("notNamespaces", texts()),
        ("ipBlocks", texts()),
        ("notIpBlocks", texts()),
        ("remoteIpBlocks", texts()),
        ("notRemoteIpBlocks", texts()),
    ])
}

fn operation() -> Value {
    open(&[
        ("hosts", texts()),
        ("notHosts", texts()),
        ("ports", texts()),
        ("notPorts", texts()),
        ("methods", texts()),
        ("notMethods", texts()),
        ("paths", texts()),
        ("notPaths", texts()),
    ])
}

fn condition() -> Value {
    required(
        &["key"],
        open(&[("key", text()), ("values", texts()), ("notValues", texts())]),
    )
}
