use super::*;
use crate::fixtures::{backs, pod, service, snapshot};

fn mesh() -> Snapshot {
    snapshot(vec![
        pod("shop", "client", "10.1.0.1", |_| {}),
        service(
            "shop",
            "web.shop.svc.cluster.local",
            &["10.96.0.1", "fd00::1"],
        ),
        service("other", "web.other.svc.cluster.local", &["10.96.0.2"]),
        service("shop", "headless.shop.svc.cluster.local", &[]),
        pod("shop", "h-0", "10.1.0.2", |w| {
            backs(w, "shop/headless.shop.svc.cluster.local")
        }),
        pod("shop", "h-1", "10.1.0.3", |w| {
            backs(w, "shop/headless.shop.svc.cluster.local");
            w.status = ambit_api::workload::WorkloadStatus::Unhealthy as i32;
        }),
        service("shop", "api.example.com", &["240.0.0.1"]),
        service("shop", "*.wild.example.com", &["240.0.0.2"]),
        service("shop", "no-vip.example.com", &[]),
        service("shop", "*.example.com", &["240.0.0.3"]),
        service("shop", "here.wild.example.com", &["240.0.0.4"]),
        service("shop", "*.com", &["240.0.0.5"]),
        service("shop", "*.db.svc.cluster.local", &[]),
    ])
}

fn ask(name: &str, family: Family, ipv6: bool) -> Option<(Option<String>, Vec<String>)> {
    let mesh = mesh();
    let client = mesh.workload_named("shop", "client").unwrap().clone();
    let asker = Asker {
        workload: &client,
        domain: "cluster.local",
        ipv6,
    };
    let found = lookup(&mesh, &asker, name, family)?;
    Some((
        found.alias_of,
        found.addresses.iter().map(ToString::to_string).collect(),
    ))
}

#[test]
fn names_of_the_mesh() {
    let web = "10.96.0.1";
    let cases: &[(&str, Option<&str>)] = &[
        ("web.shop.svc.cluster.local.", Some(web)),
        ("WEB.shop.SVC.cluster.local", Some(web)),
        ("web", Some(web)),
        ("web.shop", Some(web)),
        ("web.shop.svc", Some(web)),
        ("web.other", Some("10.96.0.2")),
        ("web.other.svc", Some("10.96.0.2")),
        ("web.elsewhere", None),
        ("api.example.com", Some("240.0.0.1")),
        ("a.wild.example.com", Some("240.0.0.2")),
        ("a.b.wild.example.com", Some("240.0.0.2")),
        // Exact names win, then the nearest wildcard.
        ("here.wild.example.com", Some("240.0.0.4")),
        ("wild.example.com", Some("240.0.0.3")),
        ("no-vip.example.com", None),
        ("example.com", Some("240.0.0.5")),
        ("example.com.shop.svc.cluster.local", Some("240.0.0.5")),
        ("a.db.svc.cluster.local", None),
        ("com", None),
        ("example.org", None),
        ("", None),
        (".", None),
    ];
    for (name, expected) in cases {
        let got = ask(name, Family::V4, true).map(|(_, ips)| ips);
        assert_eq!(got, expected.map(|ip| vec![ip.to_owned()]), "{name}");
    }
}

#[test]
fn a_search_domain_is_cut_off_and_shown() {
    for suffix in [
        "shop.svc.cluster.local",
        "svc.cluster.local",
        "cluster.local",
    ] {
        let (alias, ips) = ask(&format!("api.example.com.{suffix}"), Family::V4, true).unwrap();
        assert_eq!(alias.as_deref(), Some("api.example.com"), "{suffix}");
        assert_eq!(ips, ["240.0.0.1"]);
    }
}

#[test]
fn headless_services_have_the_addresses_of_ready_endpoints() {
    let (_, ips) = ask("headless", Family::V4, true).unwrap();
    assert_eq!(ips, ["10.1.0.2"]);
}

#[test]
fn families() {
    assert_eq!(ask("web", Family::V6, true).unwrap().1, ["fd00::1"]);
    assert_eq!(
        ask("web", Family::V6, false).unwrap().1,
        Vec::<String>::new()
    );
    assert_eq!(
        ask("api.example.com", Family::V6, true).unwrap().1,
        Vec::<String>::new()
    );
}
