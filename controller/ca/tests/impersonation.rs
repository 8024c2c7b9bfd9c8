//! Who may be whom.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ambit_ca::authorize::{Denial, Rules};
use ambit_ca::caller::{BoundPod, Caller, ServiceAccount};
use ambit_ca::pods::{PodDirectory, PodFact};
use ambit_model::SpiffeId;

fn rules() -> Rules {
    Rules {
        trust_domain: "cluster.local".into(),
        trusted_node_accounts: vec![ServiceAccount::new("istio-system", "ztunnel")],
    }
}

fn pod(name: &str, account: &str, node: &str, terminated: bool) -> PodFact {
    let (namespace, account) = account.split_once('/').unwrap();
    PodFact {
        namespace: namespace.into(),
        name: name.into(),
        uid: format!("uid-{name}"),
        service_account: account.into(),
        node: node.into(),
        terminated,
    }
}

fn pods() -> PodDirectory {
    PodDirectory::new(vec![
        pod("zt-1", "istio-system/ztunnel", "n1", false),
        pod("zt-2", "istio-system/ztunnel", "n2", false),
        pod("web-1", "default/web", "n1", false),
        pod("job-1", "default/job", "n1", true),
        pod("db-1", "default/db", "n2", false),
        pod("new", "default/new", "", false),
    ])
}

fn ztunnel(pod: Option<(&str, &str)>, node: Option<&str>) -> Caller {
    Caller {
        service_account: ServiceAccount::new("istio-system", "ztunnel"),
        pod: pod.map(|(name, uid)| BoundPod {
            name: name.into(),
            uid: uid.into(),
        }),
        node: node.map(str::to_owned),
    }
}

fn ask(caller: &Caller, account: &str) -> Result<SpiffeId, &'static str> {
    let (namespace, name) = account.split_once('/').unwrap();
    let id = SpiffeId::new("cluster.local", namespace, name);
    rules()
        .identity(caller, Some(&id), &pods())
        .map_err(|denial| denial.reason())
}

#[test]
fn a_node_proxy_may_be_the_living_pods_of_its_node() {
    let n1 = ztunnel(Some(("zt-1", "uid-zt-1")), Some("n1"));
    assert!(ask(&n1, "default/web").is_ok());
    assert_eq!(ask(&n1, "default/job"), Err("not_on_node"));
    assert_eq!(ask(&n1, "default/db"), Err("not_on_node"));
    assert_eq!(ask(&n1, "default/new"), Err("not_on_node"));
    assert_eq!(ask(&n1, "default/unknown"), Err("not_on_node"));
}

#[test]
fn the_node_comes_from_the_token_else_from_the_pod_and_must_agree() {
    assert!(ask(&ztunnel(None, Some("n1")), "default/web").is_ok());
    assert!(ask(&ztunnel(Some(("zt-1", "")), None), "default/web").is_ok());
    assert!(ask(&ztunnel(Some(("gone", "x")), Some("n1")), "default/web").is_ok());
    assert_eq!(ask(&ztunnel(None, None), "default/web"), Err("no_node"));
    assert_eq!(
        ask(&ztunnel(Some(("gone", "x")), None), "default/web"),
        Err("no_node")
    );
    for (bound, node) in [
        (("zt-1", "uid-zt-1"), Some("n2")),
        (("zt-1", "uid-of-a-former-pod"), Some("n1")),
        (("zt-1", "uid-of-a-former-pod"), None),
    ] {
        assert_eq!(
            ask(&ztunnel(Some(bound), node), "default/web"),
            Err("pod_mismatch")
        );
    }
}

#[test]
fn everyone_else_is_exactly_itself() {
    let web = Caller {
        service_account: ServiceAccount::new("default", "web"),
        pod: None,
        node: Some("n1".into()),
    };
    assert!(ask(&web, "default/web").is_ok());
    assert_eq!(ask(&web, "default/db"), Err("not_trusted"));
    let own = rules().identity(&web, None, &pods()).unwrap();
    assert_eq!(own.to_string(), "spiffe://cluster.local/ns/default/sa/web");
    let foreign = SpiffeId::new("other", "default", "web");
    let caller = ztunnel(None, Some("n1"));
    assert!(matches!(
        rules().identity(&caller, Some(&foreign), &pods()),
        Err(Denial::TrustDomain { .. })
    ));
}
