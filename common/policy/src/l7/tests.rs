use super::*;
use ambit_api::route as pb;
use ambit_model::convert::route;
use pb::access_policy::Action;
use pb::access_test::Attribute;
use proptest::prelude::*;

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

fn test(attribute: Attribute, header: &str, values: &[&str]) -> pb::AccessTest {
    pb::AccessTest {
        attribute: attribute.into(),
        header: header.into(),
        values: values.iter().map(ToString::to_string).collect(),
        negated: false,
    }
}

fn not(mut test: pb::AccessTest) -> pb::AccessTest {
    test.negated = true;
    test
}

fn clause(tests: Vec<pb::AccessTest>) -> pb::AccessClause {
    pb::AccessClause {
        matches: vec![pb::AccessMatch { tests }],
    }
}

fn rule(index: u32, clauses: Vec<pb::AccessClause>) -> pb::AccessRule {
    pb::AccessRule { index, clauses }
}

fn policy(name: &str, action: Action, rules: Vec<pb::AccessRule>) -> pb::AccessPolicy {
    pb::AccessPolicy {
        namespace: "shop".into(),
        name: name.into(),
        action: action.into(),
        rules,
        dry_run: false,
    }
}

fn converted(policies: Vec<pb::AccessPolicy>) -> Vec<AccessPolicy> {
    let gateway = pb::Gateway {
        name: "shop/waypoint".into(),
        policies,
        ..Default::default()
    };
    route::gateway(gateway).unwrap().policies
}

fn connection() -> ConnectionFacts {
    ConnectionFacts {
        source_ip: "10.0.0.1".parse().unwrap(),
        source_identity: Some(WEB.parse().unwrap()),
        destination_ip: "10.96.0.1".parse().unwrap(),
        destination_port: 80,
    }
}

fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("x-user", "jason".parse().unwrap());
    headers.insert("x-two", "a".parse().unwrap());
    headers.append("x-two", "b".parse().unwrap());
    headers
}

fn request(headers: &HeaderMap) -> Spoken<'_> {
    Spoken::Request(RequestFacts {
        method: "GET",
        authority: "Shop.example:8080",
        path: "/cart/7",
        headers,
    })
}

fn run(policies: Vec<pb::AccessPolicy>, spoken: Spoken<'_>) -> Evaluation {
    evaluate(&converted(policies), &connection(), spoken)
}

fn allowed(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Allowed { .. })
}

/// Whether a policy of one test allows (as ALLOW) and denies (as DENY) what is spoken.
fn both(test: &pb::AccessTest, spoken: Spoken<'_>) -> (bool, bool) {
    let one = |action| {
        let rules = vec![rule(0, vec![clause(vec![test.clone()])])];
        allowed(&run(vec![policy("p", action, rules)], spoken).verdict)
    };
    (one(Action::Allow), !one(Action::Deny))
}

#[test]
fn tests_hold_as_the_table_says() {
    use Attribute as A;
    #[rustfmt::skip]
    let table = [
        (A::Principal, "", &["cluster.local/ns/shop/sa/web"][..], true),
        (A::Principal, "", &["spiffe://cluster.local/ns/shop/sa/web"], true),
        (A::Principal, "", &["spiffe://cluster.local/ns/shop/*"], true),
        (A::Principal, "", &["*/sa/web"], true),
        (A::Principal, "", &["*"], true),
        (A::Principal, "", &["cluster.local/ns/shop/sa/we"], false),
        (A::Namespace, "", &["shop", "other"], true),
        (A::Namespace, "", &["other"], false),
        (A::ServiceAccount, "", &["shop/web"], true),
        (A::ServiceAccount, "", &["other/web"], false),
        (A::TrustDomain, "", &["cluster.local"], true),
        (A::TrustDomain, "", &["cluster"], false),
        (A::SourceIp, "", &["10.0.0.0/24"], true),
        (A::SourceIp, "", &["10.0.1.0/24", "fd00::/8"], false),
        (A::DestinationIp, "", &["10.96.0.1/32"], true),
        (A::DestinationPort, "", &["80"], true),
        (A::DestinationPort, "", &["8080"], false),
        (A::Host, "", &["shop.EXAMPLE"], true),
        (A::Host, "", &["shop.example:8080"], true),
        (A::Host, "", &["shop.example:80"], false),
        (A::Host, "", &["*.example"], true),
        (A::Host, "", &["shop*"], true),
        (A::Host, "", &["example"], false),
        (A::Method, "", &["GET"], true),
        (A::Method, "", &["get"], false),
        (A::Method, "", &["P*"], false),
        (A::Path, "", &["/cart/7"], true),
        (A::Path, "", &["/cart"], false),
        (A::Path, "", &["/cart/*"], true),
        (A::Path, "", &["*/7"], true),
        (A::Path, "", &["*"], true),
        (A::Path, "", &["/cart/{*}"], true),
        (A::Path, "", &["/{*}"], false),
        (A::Path, "", &["/{**}"], true),
        (A::Header, "x-user", &["jason"], true),
        (A::Header, "x-user", &["ja*"], true),
        (A::Header, "x-user", &["*"], true),
        (A::Header, "x-user", &["eve"], false),
        (A::Header, "x-absent", &["*"], false),
        (A::Sni, "", &["*"], false),
    ];
    let headers = headers();
    for (attribute, header, values, holds) in table {
        let given = test(attribute, header, values);
        let said = both(&given, request(&headers));
        assert_eq!(said, (holds, holds), "{given:?}");
        let said = both(&not(given.clone()), request(&headers));
        assert_eq!(said, (!holds, !holds), "not {given:?}");
    }
}

#[test]
fn a_header_sent_twice_is_read_in_the_way_that_refuses() {
    let headers = headers();
    for value in ["a", "b", "a,b"] {
        let test = test(Attribute::Header, "x-two", &[value]);
        assert_eq!(both(&test, request(&headers)), (false, true), "{value}");
        assert_eq!(
            both(&not(test), request(&headers)),
            (false, true),
            "{value}"
        );
    }
    let every = test(Attribute::Header, "x-two", &["*"]);
    assert_eq!(both(&every, request(&headers)), (true, true));
    let none = test(Attribute::Header, "x-two", &["c"]);
    assert_eq!(both(&none, request(&headers)), (false, false));
}

#[test]
fn http_asked_of_bytes_allows_nothing_and_denies_the_rest_of_the_rule() {
    let bytes = Spoken::Bytes { sni: Some("db") };
    let get = test(Attribute::Method, "", &["GET"]);
    assert_eq!(both(&get, bytes), (false, true));
    assert_eq!(both(&not(get.clone()), bytes), (false, true));
    let port = test(Attribute::DestinationPort, "", &["80"]);
    assert_eq!(both(&port, bytes), (true, true));
    assert_eq!(
        both(&test(Attribute::Sni, "", &["db"]), bytes),
        (true, true)
    );
    let other = clause(vec![get, test(Attribute::DestinationPort, "", &["81"])]);
    let deny = policy("p", Action::Deny, vec![rule(0, vec![other])]);
    assert!(allowed(&run(vec![deny], bytes).verdict));
}

#[test]
fn deny_comes_before_allow_and_both_name_policy_and_rule() {
    let headers = headers();
    let all = |index| vec![rule(index, vec![])];
    let allow = policy("a", Action::Allow, all(0));
    let deny = policy("d", Action::Deny, all(3));
    let verdict = run(vec![allow.clone(), deny], request(&headers)).verdict;
    let Verdict::Denied(denial) = verdict else {
        panic!("must be denied");
    };
    assert_eq!(denial.to_string(), "explicitly denied by: shop/d (rule 3)");
    assert_eq!(
        denial.details(),
        "rbac_access_denied_matched_policy[ns[shop]-policy[d]-rule[3]]"
    );
    let Verdict::Allowed { by: Some(by) } = run(vec![allow], request(&headers)).verdict else {
        panic!("must be allowed");
    };
    assert_eq!((by.policy.to_string(), by.rule), ("shop/a".to_owned(), 0));
}

#[test]
fn a_missed_allow_names_what_came_closest() {
    let headers = headers();
    let post = clause(vec![test(Attribute::Method, "", &["POST"])]);
    let web = clause(vec![test(Attribute::Namespace, "", &["shop"])]);
    let far = policy("far", Action::Allow, vec![rule(0, vec![post.clone()])]);
    let near = policy("near", Action::Allow, vec![rule(2, vec![web, post])]);
    let Verdict::Denied(denial) = run(vec![far, near], request(&headers)).verdict else {
        panic!("must be denied");
    };
    assert_eq!(
        denial.to_string(),
        "allow policies exist, but none allowed (closest: shop/near rule 2, methods did not match)"
    );
    assert_eq!(denial.details(), "rbac_access_denied_matched_policy[none]");
}

#[test]
fn rules_are_ored_clauses_and_tests_anded_and_no_rule_allows_nothing() {
    let headers = headers();
    let get = || test(Attribute::Method, "", &["GET"]);
    let post = || test(Attribute::Method, "", &["POST"]);
    let either = pb::AccessClause {
        matches: vec![
            pb::AccessMatch {
                tests: vec![post()],
            },
            pb::AccessMatch { tests: vec![get()] },
        ],
    };
    let one = |tests| clause(tests);
    #[rustfmt::skip]
    let table = [
        ("no rules", vec![], false),
        ("an empty rule", vec![rule(0, vec![])], true),
        ("clauses", vec![rule(0, vec![one(vec![get()]), one(vec![post()])])], false),
        ("tests", vec![rule(0, vec![one(vec![get(), post()])])], false),
        ("rules", vec![rule(0, vec![one(vec![post()])]), rule(1, vec![one(vec![get()])])], true),
        ("matches", vec![rule(0, vec![either])], true),
    ];
    for (name, rules, expected) in table {
        let verdict = run(vec![policy("p", Action::Allow, rules)], request(&headers)).verdict;
        assert_eq!(allowed(&verdict), expected, "{name}");
    }
}

#[test]
fn a_policy_on_trial_is_reported_and_not_enforced() {
    let headers = headers();
    let mut deny = policy("d", Action::Deny, vec![rule(4, vec![])]);
    deny.dry_run = true;
    let mut allow = policy("a", Action::Allow, vec![]);
    allow.dry_run = true;
    let evaluation = run(vec![deny, allow], request(&headers));
    assert_eq!(evaluation.verdict, Verdict::Allowed { by: None });
    let said: Vec<_> = evaluation
        .dry_run
        .iter()
        .map(|d| (d.deny, d.matched))
        .collect();
    assert_eq!(said, [(true, Some(4)), (false, None)]);
}

proptest! {
    /// No header value, host or path makes matching panic, and a DENY of everything holds for each.
    #[test]
    fn hostile_text_is_only_text(
        authority in "[ -~é]{0,12}", path in "[/{}*a-c.]{0,12}", value in prop::collection::vec(32u8..=255, 0..8),
        pattern in "[a-c/{}*]{1,8}",
    ) {
        let mut headers = HeaderMap::new();
        if let Ok(value) = http::HeaderValue::from_bytes(&value) {
            headers.append("x", value.clone());
            headers.append("x", value);
        }
        let spoken = Spoken::Request(RequestFacts { method: "GET", authority: &authority, path: &path, headers: &headers });
        let tests = [Attribute::Host, Attribute::Header, Attribute::Method]
            .map(|a| test(a, "x", &[&pattern]));
        for test in tests {
            let (yes, no) = (both(&test, spoken), both(&not(test), spoken));
            prop_assert!(!(yes.0 && no.0), "both a test and its negation allow");
            prop_assert!(yes.1 || no.1, "neither a test nor its negation denies");
        }
    }
}
