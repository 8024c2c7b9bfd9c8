//! `networking.istio.io VirtualService`. Pure.

use serde_json::Value;

use super::schema::{
    about, any, count, duration, flag, integer, labels, list, map_of, number, open, port, required,
    string_match, text, texts, word,
};

pub(super) fn virtual_service() -> Value {
    open(&[
        ("hosts", about("Services or hosts it routes.", texts())),
        (
            "gateways",
            about("Gateways it applies to; empty means the mesh.", texts()),
        ),
        ("http", about("The first match wins.", list(http_route()))),
        ("tls", list(any())),
        ("tcp", list(any())),
        (
            "exportTo",
            about("Namespaces that see it: `.`, `*` or names.", texts()),
        ),
    ])
}

pub(super) fn destination() -> Value {
    required(
        &["host"],
        open(&[
            ("host", text()),
            ("subset", text()),
            ("port", open(&[("number", port())])),
        ]),
    )
}

fn percent() -> Value {
    open(&[("value", number())])
}

fn headers() -> Value {
    let operations = || open(&[("set", labels()), ("add", labels()), ("remove", texts())]);
    open(&[("request", operations()), ("response", operations())])
}

fn http_route() -> Value {
    let weighted = open(&[
        ("destination", destination()),
        ("weight", integer()),
        ("headers", headers()),
    ]);
    let mirror = open(&[("destination", destination()), ("percentage", percent())]);
    let regex_rewrite = open(&[("match", text()), ("rewrite", text())]);
    open(&[
        ("name", text()),
        (
            "match",
            about("Any of these; empty takes everything.", list(http_match())),
        ),
        ("route", about("Weighted destinations.", list(weighted))),
        ("redirect", redirect()),
        ("directResponse", direct_response()),
        ("delegate", open(&[("name", text()), ("namespace", text())])),
        (
            "rewrite",
            open(&[
                ("uri", text()),
                ("authority", text()),
                ("uriRegexRewrite", regex_rewrite),
            ]),
        ),
        ("timeout", about("For the whole request.", duration())),
        ("retries", retries()),
        ("fault", fault()),
        ("mirror", destination()),
        ("mirrors", list(mirror)),
        ("mirrorPercentage", percent()),
        ("mirrorPercent", count()),
        ("mirror_percent", count()),
        ("corsPolicy", cors()),
        ("headers", headers()),
    ])
}

fn http_match() -> Value {
    open(&[
        ("name", text()),
        ("uri", string_match()),
        ("scheme", string_match()),
        ("method", string_match()),
        ("authority", string_match()),
        ("headers", map_of(string_match())),
        ("withoutHeaders", map_of(string_match())),
        ("queryParams", map_of(string_match())),
        ("ignoreUriCase", flag()),
        ("port", port()),
        ("sourceLabels", labels()),
        ("sourceNamespace", text()),
        ("gateways", texts()),
        ("statPrefix", text()),
    ])
}

fn redirect() -> Value {
    open(&[
        ("uri", text()),
        ("authority", text()),
        ("scheme", text()),
        ("port", port()),
        (
            "derivePort",
            word(&["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"]),
        ),
        ("redirectCode", count()),
    ])
}

fn direct_response() -> Value {
    let body = open(&[("string", text()), ("bytes", text())]);
    required(&["status"], open(&[("status", count()), ("body", body)]))
}

fn retries() -> Value {
    open(&[
        ("attempts", integer()),
        ("perTryTimeout", duration()),
        ("retryOn", text()),
        ("retryRemoteLocalities", flag()),
        ("retryIgnorePreviousHosts", flag()),
        ("backoff", duration()),
    ])
}

fn fault() -> Value {
    let delay = open(&[
        ("fixedDelay", duration()),
        ("exponentialDelay", duration()),
        ("percentage", percent()),
        ("percent", integer()),
    ]);
    let abort = open(&[
        ("httpStatus", integer()),
        ("grpcStatus", text()),
        ("http2Error", text()),
        ("percentage", percent()),
    ]);
    open(&[("delay", delay), ("abort", abort)])
}

fn cors() -> Value {
    open(&[
        ("allowOrigin", texts()),
        ("allowOrigins", list(string_match())),
        ("allowMethods", texts()),
        ("allowHeaders", texts()),
        ("exposeHeaders", texts()),
        ("maxAge", duration()),
        ("allowCredentials", flag()),
        (
            "unmatchedPreflights",
            word(&["UNSPECIFIED", "FORWARD", "IGNORE"]),
        ),
    ])
}
