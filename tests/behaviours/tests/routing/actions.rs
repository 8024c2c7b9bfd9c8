//! What a VirtualService can do with a request.

use crate::case::{Ask, Case, get};

fn case(name: &'static str, http: &str, asks: Vec<Ask>) -> Case {
    let http = http.to_owned();
    Case { name, http, asks }
}

/// Where requests go.
pub(crate) fn destinations() -> Vec<Case> {
    vec![
        case(
            "a-lone-weight-of-0-takes-all",
            "    - route: [{destination: {host: reviews, subset: v2}, weight: 0}]\n",
            vec![get("/echo").from("v2")],
        ),
        case(
            "weight-0-beside-others-takes-nothing",
            "    - route:\n        - {destination: {host: reviews, subset: v1}, weight: 0}\n        \
             - {destination: {host: reviews, subset: v3}, weight: 7}\n",
            vec![get("/echo").from("v3")],
        ),
        case(
            "another-service-by-full-name-and-port",
            "    - route: [{destination: {host: details.bookinfo.svc.cluster.local, port: {number: 9080}}}]\n",
            vec![get("/details/0").from("v1")],
        ),
        case(
            "an-unknown-host",
            "    - route: [{destination: {host: nobody}}]\n",
            vec![
                get("/echo")
                    .is(503)
                    .from("")
                    .logged("NC", "cluster_not_found"),
            ],
        ),
        case(
            "an-unknown-subset",
            "    - route: [{destination: {host: reviews, subset: v9}}]\n",
            vec![
                get("/echo")
                    .is(503)
                    .from("")
                    .logged("NC", "cluster_not_found"),
            ],
        ),
        case(
            "mirror",
            "    - route: [{destination: {host: reviews, subset: v1}}]\n      \
             mirror: {host: reviews, subset: v3}\n      mirrorPercentage: {value: 100}\n",
            vec![
                get("/echo?count=mirror")
                    .by("POST")
                    .body("abc")
                    .from("v1")
                    .counts("v1", "mirror", 10)
                    .counts("v3", "mirror", 10)
                    .counts("v2", "mirror", 0),
            ],
        ),
        case(
            "mirrors",
            "    - route: [{destination: {host: reviews, subset: v1}}]\n      mirrors:\n        \
             - {destination: {host: reviews, subset: v2}, percentage: {value: 100}}\n        \
             - {destination: {host: reviews, subset: v3}, percentage: {value: 0}}\n",
            vec![
                get("/echo?count=mirrors")
                    .from("v1")
                    .counts("v1", "mirrors", 10)
                    .counts("v2", "mirrors", 10)
                    .counts("v3", "mirrors", 0),
            ],
        ),
    ]
}

/// An entry for everything to v1, with `tail`.
fn all(tail: &str) -> String {
    format!("    -{}{tail}", V1.trim_start_matches("     "))
}

const V1: &str = "      route: [{destination: {host: reviews, subset: v1}}]\n";

/// What becomes of paths and hosts.
pub(crate) fn rewrites() -> Vec<Case> {
    let with = |head: &str, tail: &str| format!("    - {head}\n{V1}{tail}");
    vec![
        case(
            "rewrite-of-a-prefix",
            &with(
                "match: [{uri: {prefix: /old/}}]",
                "      rewrite: {uri: /echo/new/}\n",
            ),
            vec![
                get("/old/a?x=1")
                    .from("v1")
                    .app_saw("/path", "/echo/new/a?x=1")
                    .app_saw("/headers/host", "reviews:9080"),
            ],
        ),
        case(
            "rewrite-of-a-whole-path-and-authority",
            &with(
                "match: [{uri: {exact: /old}}]",
                "      rewrite: {uri: /echo/new, authority: elsewhere.example}\n",
            ),
            vec![
                get("/old")
                    .app_saw("/path", "/echo/new")
                    .app_saw("/headers/host", "elsewhere.example"),
            ],
        ),
        case(
            "rewrite-by-expression",
            &with(
                "match: [{uri: {prefix: /user}}]",
                "      rewrite: {uriRegexRewrite: {match: '^/user/([^/]+)/(.*)$', rewrite: '/echo/\\2/of/\\1'}}\n",
            ),
            vec![get("/user/ann/posts?p=2").app_saw("/path", "/echo/posts/of/ann?p=2")],
        ),
    ]
}

/// Answers of the waypoint itself.
pub(crate) fn answers() -> Vec<Case> {
    vec![
        case(
            "redirect",
            "    - match: [{uri: {prefix: /old}}]\n      redirect: {uri: /new, authority: elsewhere.example}\n    \
             - redirect: {scheme: https, port: 8443, redirectCode: 307}\n",
            vec![
                get("/old/a")
                    .is(301)
                    .carries("location", "http://elsewhere.example/new")
                    .from(""),
                get("/b?x=1")
                    .is(307)
                    .carries("location", "https://reviews:8443/b?x=1")
                    .from(""),
            ],
        ),
        case(
            "redirect-of-a-prefix-by-scheme",
            "    - match: [{uri: {prefix: /old/}}]\n      redirect: {prefixRewrite: /new/, redirectCode: 308}\n    \
             - redirect: {scheme: https, authority: elsewhere.example, derivePort: FROM_PROTOCOL_DEFAULT, redirectCode: 302}\n",
            vec![
                get("/old/a?x=1")
                    .is(308)
                    .carries("location", "http://reviews:9080/new/a?x=1")
                    .from(""),
                get("/b")
                    .is(302)
                    .carries("location", "https://elsewhere.example/b")
                    .from(""),
            ],
        ),
        case(
            "direct-response-of-bytes",
            "    - directResponse: {status: 200, body: {bytes: aGVsbG8=}}\n",
            vec![
                get("/echo")
                    .says("hello")
                    .carries("content-length", "5")
                    .from(""),
            ],
        ),
    ]
}

/// What the app and the client see.
pub(crate) fn headers() -> Vec<Case> {
    vec![
        case(
            "the-app-sees-who-called-and-nothing-forged",
            &all(""),
            vec![
                get("/echo").with("x-forwarded-client-cert: By=spiffe://evil;URI=spiffe://evil")
                    .with("x-ambit-source-principal: spiffe://evil")
                    .app_saw("/headers/x-forwarded-client-cert", "By=spiffe://cluster.local/ns/bookinfo/sa/reviews-waypoint;URI=spiffe://cluster.local/ns/bookinfo/sa/client")
                    .app_saw("/headers/x-request-id", "the-app-sees-who-called-and-nothing-forged-0")
                    .app_saw("/headers/x-forwarded-proto", "http")
                    .app_saw("/headers/host", "reviews:9080")
                    .app_missed("/headers/baggage").app_missed("/headers/forwarded").app_missed("/headers/connection"),
            ],
        ),
        case(
            "direct-response",
            "    - directResponse: {status: 418, body: {string: short and stout}}\n      \
             headers: {response: {set: {x-made-by: the mesh}}}\n",
            vec![
                get("/echo")
                    .is(418)
                    .says("short and stout")
                    .carries("x-made-by", "the mesh")
                    .from(""),
            ],
        ),
        case(
            "headers-of-the-entry",
            &all(
                "      headers:\n        request: {set: {x-set: new}, add: {x-add: more}, remove: [x-gone]}\n        \
                 response: {set: {x-bookinfo-version: hidden}, add: {x-extra: '1'}, remove: [content-type]}\n",
            ),
            vec![
                get("/echo")
                    .with("x-set: old")
                    .with("x-add: first")
                    .with("x-gone: 1")
                    .app_saw("/headers/x-set", "new")
                    .app_saw("/headers/x-add", "first,more")
                    .app_missed("/headers/x-gone")
                    .carries("x-bookinfo-version", "hidden")
                    .carries("x-extra", "1")
                    .carries("content-type", ""),
            ],
        ),
        case(
            "headers-of-a-destination",
            "    - route:\n        - destination: {host: reviews, subset: v2}\n          headers:\n            \
             request: {set: {x-to: v2, host: changed.example}}\n            response: {add: {x-was: v2}}\n",
            vec![
                get("/echo")
                    .app_saw("/headers/x-to", "v2")
                    .app_saw("/headers/host", "changed.example")
                    .carries("x-was", "v2")
                    .from("v2"),
            ],
        ),
    ]
}

/// Time-outs and retries.
pub(crate) fn resilience() -> Vec<Case> {
    vec![
        case(
            "timeout",
            &all("      timeout: 300ms\n"),
            vec![
                get("/echo?ms=20000")
                    .is(504)
                    .from("")
                    .once()
                    .logged("UT", "response_timeout")
                    .lasting(300),
                get("/echo").from("v1"),
            ],
        ),
        case(
            "retries",
            &all("      retries: {attempts: 3, retryOn: '5xx', backoff: 5ms}\n"),
            vec![
                get("/echo?count=r1&fail=2")
                    .once()
                    .from("v1")
                    .logged("-", "via_upstream")
                    .counts("v1", "r1", 3),
                get("/echo?count=r2&fail=9")
                    .is(503)
                    .once()
                    .from("v1")
                    .logged("URX", "via_upstream")
                    .counts("v1", "r2", 4),
                get("/echo?count=r3&fail=2")
                    .by("POST")
                    .body("kept and sent again")
                    .once()
                    .from("v1")
                    .counts("v1", "r3", 3),
            ],
        ),
    ]
}

/// Retries with limits.
pub(crate) fn limits() -> Vec<Case> {
    vec![
        case(
            "retries-avoid-endpoints-that-were-tried",
            "    - route: [{destination: {host: reviews}}]\n      retries: {attempts: 2, retryOn: '5xx', backoff: 5ms}\n",
            vec![
                get("/echo?count=each&fail=1")
                    .is(503)
                    .once()
                    .logged("URX", "via_upstream")
                    .counts("v1", "each", 1)
                    .counts("v2", "each", 1)
                    .counts("v3", "each", 1),
            ],
        ),
        case(
            "no-retries",
            &all("      retries: {attempts: 0}\n"),
            vec![
                get("/echo?count=n1&fail=1")
                    .is(503)
                    .once()
                    .from("v1")
                    .logged("-", "via_upstream")
                    .counts("v1", "n1", 1),
            ],
        ),
        case(
            "retries-of-a-status-and-no-other",
            &all("      retries: {attempts: 1, retryOn: 'retriable-status-codes,418'}\n"),
            vec![
                get("/echo?count=s1&status=418")
                    .is(418)
                    .once()
                    .from("v1")
                    .counts("v1", "s1", 2),
                get("/echo?count=s2&status=500")
                    .is(500)
                    .once()
                    .from("v1")
                    .counts("v1", "s2", 1),
            ],
        ),
    ]
}

/// Faults.
pub(crate) fn faults() -> Vec<Case> {
    vec![
        case(
            "per-try-timeout",
            &all(
                "      retries: {attempts: 1, perTryTimeout: 300ms, retryOn: 'gateway-error', backoff: 5ms}\n",
            ),
            vec![
                get("/echo?count=p1&ms=20000")
                    .is(504)
                    .once()
                    .from("")
                    .logged("UT,URX", "upstream_per_try_timeout")
                    .lasting(600)
                    .counts("v1", "p1", 2),
            ],
        ),
        case(
            "fault-delay",
            &all("      fault: {delay: {fixedDelay: 150ms, percentage: {value: 100}}}\n"),
            vec![
                get("/echo")
                    .from("v1")
                    .logged("DI", "via_upstream")
                    .lasting(150),
            ],
        ),
        case(
            "fault-abort",
            &all("      fault: {abort: {httpStatus: 503, percentage: {value: 100}}}\n"),
            vec![
                get("/echo?count=a1")
                    .is(503)
                    .from("")
                    .logged("FI", "fault_filter_abort")
                    .counts("v1", "a1", 0),
            ],
        ),
        case(
            "fault-abort-of-some-by-status",
            "    - match: [{headers: {x-break: {}}}]\n      \
             fault: {abort: {httpStatus: 418, percentage: {value: 100}}}\n      \
             route: [{destination: {host: reviews, subset: v1}}]\n    \
             - fault: {abort: {httpStatus: 503, percentage: {value: 0}}}\n      \
             route: [{destination: {host: reviews, subset: v2}}]\n",
            vec![
                get("/echo")
                    .with("x-break: yes")
                    .is(418)
                    .from("")
                    .logged("FI", "fault_filter_abort"),
                get("/echo").from("v2").logged("-", "via_upstream"),
            ],
        ),
        case(
            "fault-delay-then-abort",
            &all(
                "      fault: {delay: {fixedDelay: 100ms, percentage: {value: 100}}, abort: {httpStatus: 500, percentage: {value: 100}}}\n",
            ),
            vec![
                get("/echo")
                    .is(500)
                    .from("")
                    .logged("DI,FI", "fault_filter_abort")
                    .lasting(100),
            ],
        ),
    ]
}
