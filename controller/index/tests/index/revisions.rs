//! Which objects a revision acts on and writes about, and the network of the cluster.

use crate::mesh::Mesh;
use ambit_api::type_urls;
use ambit_crds::{Kind, ObjectKey};
use ambit_index::MeshConfig;

fn of(revision: &str) -> MeshConfig {
    MeshConfig {
        revision: revision.to_owned(),
        ..MeshConfig::default()
    }
}

const POLICIES: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: everybodys, namespace: shop}
spec: {action: DENY, rules: [{from: [{source: {namespaces: [a]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: canarys, namespace: shop, labels: {istio.io/rev: canary}}
spec: {action: DENY, rules: [{from: [{source: {namespaces: [b]}}]}]}
"#;

fn tag(tag: &str, revision: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: istiod-revision-tag-{tag}, namespace: istio-system, \
         labels: {{istio.io/tag: {tag}, istio.io/rev: {revision}}}}}, \
         spec: {{clusterIP: 10.96.0.9, ports: [{{port: 15012}}]}}}}"
    )
}

#[test]
fn configuration_of_another_revision_is_not_acted_on_and_one_revision_writes_about_each() {
    let key = |name| ObjectKey::new(Kind::AuthorizationPolicy, "shop", name);
    let default = Mesh::with(of("default"), POLICIES);
    assert_eq!(default.names(type_urls::AUTHORIZATION), ["shop/everybodys"]);
    assert!(default.statuses.contains_key(&key("everybodys")));
    assert!(!default.statuses.contains_key(&key("canarys")));
    let canary = Mesh::with(of("canary"), POLICIES);
    assert_eq!(
        canary.names(type_urls::AUTHORIZATION),
        ["shop/canarys", "shop/everybodys"]
    );
    assert!(canary.statuses.contains_key(&key("canarys")));
    assert!(!canary.statuses.contains_key(&key("everybodys")));
}

#[test]
fn a_tag_that_moves_takes_its_objects_along_and_nothing_is_taken_away() {
    let key = ObjectKey::new(Kind::AuthorizationPolicy, "shop", "everybodys");
    let mut default = Mesh::with(of("default"), POLICIES);
    let mut canary = Mesh::with(of("canary"), POLICIES);
    for mesh in [&mut default, &mut canary] {
        mesh.apply(&tag("default", "canary"));
    }
    assert!(canary.statuses.contains_key(&key));
    // What was written before stays: it is the other one's now.
    assert!(default.statuses.contains_key(&key));
    assert!(default.has(type_urls::AUTHORIZATION, "shop/everybodys"));
    default.apply(
        &POLICIES
            .replace("everybodys", "mine")
            .replace("rev: canary", "rev: default"),
    );
    // `default` means canary now.
    assert!(!default.has(type_urls::AUTHORIZATION, "shop/canarys"));
    default.apply(&tag("default", "default"));
    assert!(default.has(type_urls::AUTHORIZATION, "shop/canarys"));
}

#[test]
fn the_system_namespace_names_the_network_of_everything() {
    let mut mesh = Mesh::new(
        r#"
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.1, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {nodeName: node-1, containers: []}
status: {phase: Running, podIPs: [{ip: 10.0.0.1}]}
"#,
    );
    assert_eq!(
        mesh.aliases("shop/web.shop.svc.cluster.local"),
        ["/10.96.0.1"]
    );
    for network in ["east", "west"] {
        mesh.apply(&format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: istio-system, \
             labels: {{topology.istio.io/network: {network}}}}}}}"
        ));
        let service = mesh.service("shop/web.shop.svc.cluster.local");
        assert_eq!(service.addresses[0].network, network);
        assert_eq!(mesh.pod("shop", "web").network, network);
        let alias = format!("{network}/10.0.0.1");
        assert_eq!(mesh.aliases("Kubernetes//Pod/shop/web"), [alias]);
    }
}
