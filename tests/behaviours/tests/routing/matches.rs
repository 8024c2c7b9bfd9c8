//! What a VirtualService can tell requests apart by. What matches goes to v2, the rest to v3.

use crate::case::{Ask, Case, get};
use crate::stage::all_to;

fn case(name: &'static str, condition: &str, asks: Vec<Ask>) -> Case {
    let v2 = "route: [{destination: {host: reviews, subset: v2}}]";
    let http = format!("    - match: [{condition}]\n      {v2}\n{}", all_to("v3"));
    Case { name, http, asks }
}

/// Paths.
pub(crate) fn paths() -> Vec<Case> {
    vec![
        case(
            "uri-exact",
            "{uri: {exact: /echo/a}}",
            vec![
                get("/echo/a").from("v2"),
                get("/echo/a?x=1").from("v2"),
                get("/echo/ab").from("v3"),
                get("/echo/A").from("v3"),
            ],
        ),
        case(
            "uri-prefix",
            "{uri: {prefix: /echo/a}}",
            vec![
                get("/echo/a").from("v2"),
                get("/echo/ab/c").from("v2"),
                get("/echo/b").from("v3"),
            ],
        ),
        case(
            "uri-regex",
            "{uri: {regex: '/echo/[0-9]+'}}",
            vec![
                get("/echo/17").from("v2"),
                get("/echo/17x").from("v3"),
                get("/echo/x").from("v3"),
            ],
        ),
        case(
            "ignore-uri-case-prefix",
            "{uri: {prefix: /echo/ab}, ignoreUriCase: true}",
            vec![get("/echo/aBc").from("v2"), get("/echo/ac").from("v3")],
        ),
        case(
            "ignore-uri-case-exact",
            "{uri: {exact: /echo/AB}, ignoreUriCase: true}",
            vec![get("/echo/ab").from("v2"), get("/echo/abc").from("v3")],
        ),
        case(
            "query-params",
            "{queryParams: {a: {exact: '1'}, b: {prefix: x}, c: {regex: '[0-9]+'}, d: {}}}",
            vec![
                get("/echo?a=1&b=xy&c=12&d=").from("v2"),
                get("/echo?d&c=0&b=x&a=1").from("v2"),
                get("/echo?a=2&b=xy&c=12&d=1").from("v3"),
                get("/echo?a=1&b=xy&c=1x&d=1").from("v3"),
                get("/echo?a=1&b=xy&c=1").from("v3"),
            ],
        ),
    ]
}

/// Methods, authorities, headers.
pub(crate) fn others() -> Vec<Case> {
    vec![
        case(
            "method",
            "{method: {exact: POST}}",
            vec![
                get("/echo").by("POST").body("x").from("v2"),
                get("/echo").from("v3"),
            ],
        ),
        case(
            "authority",
            "{authority: {exact: 'other:9080'}}",
            vec![
                get("/echo").with("host: other:9080").from("v2"),
                get("/echo").from("v3"),
            ],
        ),
        case(
            "headers",
            "{headers: {x-a: {exact: one}, x-b: {prefix: tw}, x-c: {regex: 'th.*e'}, x-d: {}}}",
            vec![
                get("/echo")
                    .with("x-a: one")
                    .with("X-B: two")
                    .with("x-c: three")
                    .with("x-d: 4")
                    .from("v2"),
                get("/echo")
                    .with("x-a: One")
                    .with("x-b: two")
                    .with("x-c: three")
                    .with("x-d: 4")
                    .from("v3"),
                get("/echo")
                    .with("x-a: one")
                    .with("x-b: owt")
                    .with("x-c: three")
                    .with("x-d: 4")
                    .from("v3"),
                get("/echo")
                    .with("x-a: one")
                    .with("x-b: two")
                    .with("x-c: three!")
                    .with("x-d: 4")
                    .from("v3"),
                get("/echo")
                    .with("x-a: one")
                    .with("x-b: two")
                    .with("x-c: three")
                    .from("v3"),
            ],
        ),
    ]
}

/// What must be absent, alternatives, order.
pub(crate) fn rest() -> Vec<Case> {
    vec![
        case(
            "without-headers",
            "{withoutHeaders: {x-a: {exact: one}, x-b: {}}}",
            vec![
                get("/echo").from("v2"),
                get("/echo").with("x-a: two").from("v2"),
                get("/echo").with("x-a: one").from("v3"),
                get("/echo").with("x-b: any").from("v3"),
            ],
        ),
        case(
            "matches-are-alternatives-of-conditions-that-hold-together",
            "{uri: {prefix: /echo/a}, method: {exact: GET}}, {headers: {x-a: {exact: one}}}",
            vec![
                get("/echo/a").from("v2"),
                get("/echo/b").with("x-a: one").from("v2"),
                get("/echo/a").by("POST").body("x").from("v3"),
            ],
        ),
        case(
            "scheme",
            "{scheme: {exact: https}, uri: {prefix: /echo}}, {scheme: {exact: http}, uri: {prefix: /echo/a}}",
            vec![get("/echo/a").from("v2"), get("/echo/b").from("v3")],
        ),
        case(
            "port",
            "{port: 9081}, {port: 9080, uri: {prefix: /echo/a}}",
            vec![get("/echo/a").from("v2"), get("/echo/b").from("v3")],
        ),
        Case {
            name: "the-first-match-wins",
            http: format!(
                "    - match: [{{uri: {{prefix: /echo}}}}]\n      {to}v1}}}}]\n    \
                 - match: [{{uri: {{exact: /echo/a}}}}]\n      {to}v2}}}}]\n{}",
                all_to("v3"),
                to = "route: [{destination: {host: reviews, subset: ",
            ),
            asks: vec![get("/echo/a").from("v1"), get("/reviews/0").from("v3")],
        },
        Case {
            name: "no-route",
            http: "    - match: [{uri: {prefix: /echo/a}}]\n      \
                   route: [{destination: {host: reviews, subset: v2}}]\n"
                .to_owned(),
            asks: vec![
                get("/echo/a").from("v2"),
                get("/echo/b")
                    .is(404)
                    .from("")
                    .logged("NR", "route_not_found"),
            ],
        },
    ]
}
