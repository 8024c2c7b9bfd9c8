//! `security.istio.io` but AuthorizationPolicy, and `telemetry.istio.io`. Pure.

use serde_json::Value;

use super::schema::{
    about, any, duration, flag, list, map_of, number, open, required, selector, target_ref, text,
    texts, word,
};

pub(super) fn peer_authentication() -> Value {
    let mtls = || open(&[("mode", word(&["UNSET", "DISABLE", "PERMISSIVE", "STRICT"]))]);
    open(&[
        ("selector", selector()),
        ("mtls", about("Unset inherits.", mtls())),
        (
            "portLevelMtls",
            about("By port of the workload.", map_of(mtls())),
        ),
    ])
}

pub(super) fn request_authentication() -> Value {
    let header = required(&["name"], open(&[("name", text()), ("prefix", text())]));
    let claim = required(
        &["header", "claim"],
        open(&[("header", text()), ("claim", text())]),
    );
    let rule = required(
        &["issuer"],
        open(&[
            ("issuer", text()),
            ("audiences", texts()),
            ("jwksUri", text()),
            ("jwks_uri", text()),
            ("jwks", text()),
            ("fromHeaders", list(header)),
            ("fromParams", texts()),
            ("fromCookies", texts()),
            ("outputPayloadToHeader", text()),
            ("outputClaimToHeaders", list(claim)),
            ("forwardOriginalToken", flag()),
            ("timeout", duration()),
        ]),
    );
    open(&[
        ("selector", selector()),
        ("targetRef", target_ref()),
        ("targetRefs", list(target_ref())),
        ("jwtRules", list(rule)),
    ])
}

pub(super) fn telemetry() -> Value {
    let provider = || open(&[("name", text())]);
    let mode = || word(&["CLIENT_AND_SERVER", "CLIENT", "SERVER"]);
    let tracing = open(&[
        ("match", open(&[("mode", mode())])),
        ("providers", list(provider())),
        ("randomSamplingPercentage", number()),
        ("disableSpanReporting", flag()),
        ("customTags", map_of(any())),
    ]);
    let metrics = open(&[
        ("providers", list(provider())),
        ("overrides", list(any())),
        ("reportingInterval", duration()),
    ]);
    let logging = open(&[
        ("match", open(&[("mode", mode())])),
        ("providers", list(provider())),
        ("disabled", flag()),
        ("filter", open(&[("expression", text())])),
    ]);
    open(&[
        ("selector", selector()),
        ("targetRef", target_ref()),
        ("targetRefs", list(target_ref())),
        ("tracing", list(tracing)),
        ("metrics", list(metrics)),
        ("accessLogging", list(logging)),
    ])
}
