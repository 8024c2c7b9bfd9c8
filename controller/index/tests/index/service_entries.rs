use crate::mesh::Mesh;
use ambit_api::type_urls::ADDRESS;
use ambit_api::workload::load_balancing::Mode;
use ambit_api::workload::service::Visibility;
use ambit_api::workload::{AppProtocol, TunnelProtocol, Workload, WorkloadStatus};
use ambit_crds::{Kind, ObjectKey};
use serde_json::Value;

const INLINE: &str = "Kubernetes/networking.istio.io/ServiceEntry";
const ENTRY: &str = "Kubernetes/networking.istio.io/WorkloadEntry";

/// An entry `ns/e`.
fn entry(spec: &str) -> Mesh {
    Mesh::new(&document("e", "", spec))
}

pub(crate) fn document(name: &str, meta: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: networking.istio.io/v1, kind: ServiceEntry, \
          metadata: {{name: {name}, namespace: ns{meta}}}, spec: {spec}}}"
    )
}

pub(crate) fn condition(mesh: &Mesh, name: &str, kind: &str) -> Option<(String, String, String)> {
    mesh.condition(Kind::ServiceEntry, ("ns", name), kind)
}

fn allocated(mesh: &Mesh, name: &str) -> Vec<(String, String)> {
    let key = ObjectKey::new(Kind::ServiceEntry, "ns", name);
    let list = mesh.statuses.get(&key).map(|s| s["addresses"].clone());
    let list = list
        .as_ref()
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    list.map(|one| (text(&one["host"]), text(&one["value"])))
        .collect()
}

/// (service port, target port) for a service.
fn ports(workload: &Workload, service: &str) -> Vec<(u32, u32)> {
    let list = &workload.services[service].ports;
    list.iter()
        .map(|p| (p.service_port, p.target_port))
        .collect()
}

#[test]
fn every_host_is_a_service_with_the_endpoints_listed() {
    let mesh = entry(
        "{hosts: [db.example.com, DB.other.org], addresses: [10.1.2.3], resolution: STATIC,
          subjectAltNames: ['spiffe://cluster.local/ns/ns/sa/db'],
          ports: [{number: 80, name: http, protocol: HTTP}, {number: 90, name: tcp, targetPort: 9000},
                  {number: 53, name: dns, protocol: UDP}],
          endpoints: [{address: 192.0.2.1, ports: {tcp: 9001}, weight: 3, locality: r/z/s,
                       labels: {version: v1}, serviceAccount: db},
                      {address: 'fd00::9', network: far},
                      {address: 192.0.2.1, ports: {tcp: 9002}}]}",
    );
    let s = mesh.service("ns/db.example.com");
    assert_eq!((&*s.name, &*s.hostname), ("e", "db.example.com"));
    assert_eq!(s.addresses[0].address, [10, 1, 2, 3]);
    assert_eq!(s.subject_alt_names, ["spiffe://cluster.local/ns/ns/sa/db"]);
    assert!(s.canonical && s.load_balancing.is_none());
    let offered: Vec<_> = s
        .ports
        .iter()
        .map(|p| (p.service_port, p.target_port, p.app_protocol()))
        .collect();
    assert_eq!(
        offered,
        [(80, 80, AppProtocol::Http11), (90, 9000, AppProtocol::Tcp)]
    );
    assert_eq!(mesh.aliases("ns/db.example.com"), ["/10.1.2.3"]);
    assert!(mesh.has(ADDRESS, "ns/db.other.org"));

    let w = mesh.workload(&format!("{INLINE}/ns/e/192.0.2.1"));
    assert_eq!(
        (&*w.name, &*w.workload_name, &*w.service_account),
        ("e", "e", "db")
    );
    assert_eq!(w.addresses, [[192, 0, 2, 1]]);
    assert_eq!(
        (w.capacity, w.tunnel_protocol()),
        (Some(3), TunnelProtocol::None)
    );
    assert_eq!(w.locality.as_ref().unwrap().subzone, "s");
    assert_eq!(w.status(), WorkloadStatus::Healthy);
    for host in ["ns/db.example.com", "ns/db.other.org"] {
        assert_eq!(ports(&w, host), [(80, 80), (90, 9001)]);
    }
    let six = mesh.workload(&format!("{INLINE}/ns/e/fd00::9"));
    assert_eq!((six.addresses[0].len(), &*six.network), (16, "far"));
    let again = mesh.workload(&format!("{INLINE}/ns/e/192.0.2.1#1"));
    assert_eq!(ports(&again, "ns/db.example.com"), [(80, 80), (90, 9002)]);
}

#[test]
fn names_are_left_to_the_proxy_and_addresses_to_the_application() {
    let implicit = entry(
        "{hosts: [a.example.com], resolution: DNS, ports: [{number: 443, name: tls, protocol: TLS}]}",
    );
    let w = implicit.workload(&format!("{INLINE}/ns/e/a.example.com"));
    assert!(w.addresses.is_empty());
    assert_eq!(w.hostname, "a.example.com");
    assert_eq!(ports(&w, "ns/a.example.com"), [(443, 443)]);
    let named = entry(
        "{hosts: ['*.example.com'], addresses: [10.1.0.9], resolution: DNS,
          ports: [{number: 80, name: http}], endpoints: [{address: Real.Example.com}]}",
    );
    let w = named.workload(&format!("{INLINE}/ns/e/Real.Example.com"));
    assert_eq!(w.hostname, "real.example.com");
    assert!(w.services.contains_key("ns/*.example.com"));
    let none = entry(
        "{hosts: [lan.example.com], addresses: [10.9.8.7/16, 'fd00:1::/64'], resolution: NONE,
          ports: [{number: 80, name: http}]}",
    );
    let s = none.service("ns/lan.example.com");
    assert_eq!(s.load_balancing.unwrap().mode(), Mode::Passthrough);
    assert_eq!(
        (&s.addresses[0].address[..], s.addresses[0].length),
        (&[10, 9, 0, 0][..], Some(16))
    );
    assert_eq!(s.addresses[1].length, Some(64));
    assert!(none.aliases("ns/lan.example.com").is_empty());
    assert_eq!(none.names(ADDRESS), ["ns/lan.example.com"]);
}

#[test]
fn addresses_are_allocated_for_those_who_give_none() {
    let of = |meta: &str, spec: &str| allocated(&Mesh::new(&document("e", meta, spec)), "e");
    let port = "ports: [{number: 80, name: http}]";
    let dns = format!("{{hosts: [a.org, b.org], resolution: DNS, {port}}}");
    let both = of("", &dns);
    let hosts: Vec<_> = both.iter().map(|(host, _)| host.as_str()).collect();
    assert_eq!(hosts, ["a.org", "a.org", "b.org", "b.org"]);
    for (i, (_, ip)) in both.iter().enumerate() {
        let prefix = if i % 2 == 0 { "240.240." } else { "2001:2::" };
        assert!(ip.starts_with(prefix), "{ip}");
    }
    assert_eq!(of("", &dns), both, "the same names, the same addresses");
    let off = ", labels: {networking.istio.io/enable-autoallocate-ip: 'false'}";
    for (meta, spec) in [
        (off, dns.clone()),
        (
            "",
            format!("{{hosts: [a.org], addresses: [10.0.0.1], resolution: DNS, {port}}}"),
        ),
        ("", format!("{{hosts: [a.org], resolution: NONE, {port}}}")),
        (
            "",
            format!(
                "{{hosts: ['*.a.org'], resolution: STATIC, {port}, endpoints: [{{address: 10.0.0.1}}]}}"
            ),
        ),
    ] {
        assert!(of(meta, &spec).is_empty(), "{meta} {spec}");
    }
    let mesh = Mesh::new(&document("e", "", &dns));
    let s = mesh.service("ns/a.org");
    assert_eq!((s.addresses.len(), s.addresses[0].address.len()), (2, 4));
    assert_eq!(mesh.aliases("ns/a.org")[0], format!("/{}", both[0].1));
}

#[test]
fn allocated_addresses_stay_and_of_two_that_claim_one_the_older_keeps_it() {
    let dns = |host: &str| {
        format!("{{hosts: [{host}], resolution: DNS, ports: [{{number: 80, name: http}}]}}")
    };
    let status =
        |ip: &str, host: &str| format!("status: {{addresses: [{{value: {ip}, host: {host}}}]}}");
    let with = |name: &str, born: &str, host: &str, ip: &str| {
        let meta = format!(", creationTimestamp: '{born}'");
        let text = document(name, &meta, &dns(host));
        format!(
            "{}, {}}}",
            text.strip_suffix('}').unwrap(),
            status(ip, host)
        )
    };
    let old = with("old", "2026-01-01T00:00:00Z", "a.org", "240.240.7.7");
    let young = with("aaa", "2026-02-01T00:00:00Z", "b.org", "240.240.7.7");
    let stray = with("zzz", "2026-03-01T00:00:00Z", "c.org", "10.0.0.1");
    let mesh = Mesh::new(&format!("{young}\n---\n{old}\n---\n{stray}"));
    let first = |name: &str| allocated(&mesh, name)[0].1.clone();
    assert_eq!(first("old"), "240.240.7.7");
    assert_ne!(first("aaa"), "240.240.7.7");
    assert!(first("aaa").starts_with("240.240."));
    assert!(
        first("zzz").starts_with("240.240."),
        "not ours: {}",
        first("zzz")
    );
}

#[test]
fn a_host_has_one_owner_in_a_namespace_and_one_for_all_others() {
    let spec = "{hosts: [s.ns.svc.cluster.local, x.org], addresses: [10.0.0.1], resolution: NONE,
                 ports: [{number: 80, name: http}]}";
    let older = document("older", ", creationTimestamp: '2026-01-01T00:00:00Z'", spec);
    let younger = document(
        "younger",
        ", creationTimestamp: '2026-02-01T00:00:00Z'",
        spec,
    );
    let abroad = older.replace("namespace: ns", "namespace: far");
    let mesh = Mesh::new(&format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: s, namespace: ns}}, spec: {{clusterIP: 10.96.0.9}}}}
---
{older}
---
{younger}
---
{abroad}"
    ));
    assert_eq!(mesh.service("ns/s.ns.svc.cluster.local").name, "s");
    assert_eq!(mesh.service("ns/x.org").name, "older");
    assert!(
        !mesh.service("ns/x.org").canonical,
        "far/older comes first by name"
    );
    assert!(mesh.service("far/x.org").canonical);
    assert!(!mesh.service("far/s.ns.svc.cluster.local").canonical);
    let said = condition(&mesh, "younger", "ambit.io/Accepted").unwrap();
    assert_eq!((&*said.0, &*said.1), ("False", "Conflicted"));
    assert!(
        said.2.contains("a Service already") && said.2.contains("ServiceEntry older"),
        "{}",
        said.2
    );
}

#[test]
fn export_to_limits_who_sees_it_as_far_as_proxies_can() {
    let of = |export: &str| {
        entry(&format!(
            "{{hosts: [x.org], resolution: NONE, addresses: [10.0.0.1], exportTo: {export}}}"
        ))
    };
    for (export, visible, reason) in [
        ("['*']", Visibility::Public, None),
        ("[.]", Visibility::Namespace, Some("Namespace")),
        ("[ns]", Visibility::Namespace, Some("Namespace")),
        ("[., other]", Visibility::Public, Some("Public")),
    ] {
        let mesh = of(export);
        let s = mesh.service("ns/x.org");
        assert_eq!(s.visibility(), visible, "{export}");
        assert_eq!(s.canonical, visible == Visibility::Public, "{export}");
        let said = condition(&mesh, "e", "istio.io/VisibilityApplied");
        assert_eq!(said.as_ref().map(|c| &*c.1), reason, "{export}");
    }
}

const SELECTED: &str = "
{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: e, namespace: ns}, spec: {
  hosts: [x.org], addresses: [10.0.0.1], resolution: STATIC, workloadSelector: {labels: {app: x}},
  ports: [{number: 80, name: web}, {number: 90, name: other, targetPort: 9000}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: s, namespace: ns}, spec: {
  clusterIP: 10.96.0.9, selector: {app: x},
  ports: [{name: web, port: 1, targetPort: 10}, {name: named, port: 2, targetPort: web}, {name: lost, port: 3, targetPort: nope}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: ns, labels: {app: x}}, spec: {
  containers: [{name: c, ports: [{name: web, containerPort: 8080}]}]},
  status: {phase: Running, podIPs: [{ip: 10.244.1.5}]}}
---
{apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: {name: vm, namespace: ns, labels: {app: x}},
  spec: {address: 192.0.2.7, ports: {web: 8081}, labels: {app: hidden, version: v2}, serviceAccount: vm, weight: 5}}
---
{apiVersion: networking.istio.io/v1, kind: WorkloadEntry,
  metadata: {name: hbone, namespace: ns, labels: {networking.istio.io/tunnel: http}},
  spec: {address: vm.example.com, network: far}, status: {conditions: [{type: Healthy, status: 'False'}]}}
---
{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: v2, namespace: ns},
  spec: {selector: {matchLabels: {version: v2}}}}";

#[test]
fn entries_and_services_select_pods_and_workload_entries() {
    let mesh = Mesh::new(SELECTED);
    let (entry, service) = ("ns/x.org", "ns/s.ns.svc.cluster.local");
    let pod = mesh.pod("ns", "p");
    assert_eq!(ports(&pod, entry), [(80, 8080), (90, 9000)]);
    assert_eq!(ports(&pod, service), [(1, 10), (2, 8080)]);
    let vm = mesh.workload(&format!("{ENTRY}/ns/vm"));
    assert_eq!(ports(&vm, entry), [(80, 8081), (90, 9000)]);
    assert_eq!(ports(&vm, service), [(1, 8081), (2, 8081)]);
    assert_eq!(
        (&*vm.name, &*vm.service_account, vm.capacity),
        ("vm", "vm", Some(5))
    );
    assert_eq!(vm.authorization_policies, ["ns/v2"]);
    assert_eq!((&*vm.canonical_name, &*vm.canonical_revision), ("x", "v2"));
    assert_eq!(mesh.aliases(&format!("{ENTRY}/ns/vm")), ["/192.0.2.7"]);
    let hbone = mesh.workload(&format!("{ENTRY}/ns/hbone"));
    assert_eq!(
        (&*hbone.hostname, &*hbone.network),
        ("vm.example.com", "far")
    );
    assert_eq!(hbone.tunnel_protocol(), TunnelProtocol::Hbone);
    assert!(hbone.native_tunnel && hbone.services.is_empty());
    assert_eq!(hbone.status(), WorkloadStatus::Unhealthy);
}

#[test]
fn what_is_gone_leaves_nothing_behind() {
    let mut mesh = Mesh::new(SELECTED);
    mesh.delete(Kind::ServiceEntry, "ns", "e");
    mesh.delete(Kind::WorkloadEntry, "ns", "vm");
    assert!(!mesh.has(ADDRESS, "ns/x.org") && !mesh.has(ADDRESS, &format!("{ENTRY}/ns/vm")));
    assert!(!mesh.pod("ns", "p").services.contains_key("ns/x.org"));
}
