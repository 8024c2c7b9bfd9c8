//! What a controller does with a cluster: roots, leadership, statuses, waypoints, certificates.

use crate::api::Api;
use ambit_ca::authority::{Pem, SelfSigned};
use ambit_ca::caller::ServiceAccount;
use ambit_ca::rotation::Pace;
use ambit_controller::app::App;
use ambit_controller::config::{AuthorityConfig, ClusterConfig, Config, ExternalConfig, Source};
use ambit_identity::authority::{CaError, obtain};
use ambit_identity::grpc_tls::{GrpcServer, RootSource, TokenSource};
use ambit_identity::{CaClient, CaClientConfig};
use ambit_index::{MeshConfig, WaypointForm};
use ambit_model::SpiffeId;
use ambit_runtime::drain;
use ambit_runtime::tasks::Task;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

const DEADLINE: Duration = Duration::from_secs(30);
const NS: &str = "api/v1/namespaces";
const SECRET: &str = "api/v1/namespaces/istio-system/secrets/istio-ca-secret";
const RECORD: &str = "api/v1/namespaces/istio-system/secrets/ambit-ca-roots";
const LEASE: &str =
    "apis/coordination.k8s.io/v1/namespaces/istio-system/leases/ambit-controller-leader";

pub(crate) struct Bench {
    pub(crate) api: Api,
    _server: Task<()>,
    dir: tempfile::TempDir,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let (api, server) = Api::start().await;
        for name in ["istio-system", "shop", "kube-public"] {
            api.put(NS, json!({"metadata": {"name": name}}));
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("kubeconfig"), api.kubeconfig()).unwrap();
        Self {
            api,
            _server: server,
            dir,
        }
    }

    pub(crate) async fn controller(&self, name: &str) -> (App, drain::Trigger) {
        self.controller_with(name, AuthorityConfig::default()).await
    }

    async fn controller_with(
        &self,
        name: &str,
        authority: AuthorityConfig,
    ) -> (App, drain::Trigger) {
        self.started(name, authority, None).await.unwrap()
    }

    /// One whose certificates others may sign.
    pub(crate) async fn started(
        &self,
        name: &str,
        authority: AuthorityConfig,
        external: Option<ExternalConfig>,
    ) -> anyhow::Result<(App, drain::Trigger)> {
        let free = ([127, 0, 0, 1], 0).into();
        let config = Config {
            source: Source::Cluster(ClusterConfig {
                kubeconfig: Some(self.dir.path().join("kubeconfig")),
                pod_name: name.to_owned(),
                cacerts_dir: self.dir.path().join("cacerts"),
                webhook_addr: free,
                trust_bundle: true,
                external,
            }),
            namespace: "istio-system".to_owned(),
            xds_addr: free,
            http_addr: free,
            compliance: ambit_identity::Compliance::default(),
            mesh: MeshConfig {
                waypoint_image: "hub/waypoint:1".to_owned(),
                waypoints: WaypointForm::Deployments {
                    control_plane: "https://istiod.istio-system.svc:15012".to_owned(),
                },
                ..MeshConfig::default()
            },
            node_accounts: vec![ServiceAccount::new("istio-system", "ztunnel")],
            authority,
        };
        let (trigger, watch) = drain::channel();
        Ok((App::start(config, watch).await?, trigger))
    }

    pub(crate) fn root(&self) -> String {
        let secret = self.api.object(SECRET).unwrap();
        let text = secret["data"]["root-cert.pem"].as_str().unwrap();
        String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
    }

    pub(crate) async fn until<T>(&self, what: &str, look: impl Fn(&Api) -> Option<T>) -> T {
        let end = tokio::time::Instant::now() + DEADLINE;
        loop {
            if let Some(found) = look(&self.api) {
                return found;
            }
            assert!(tokio::time::Instant::now() < end, "never: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn object(&self, path: &str) -> Value {
        self.until(path, |api| api.object(path)).await
    }

    /// Of the node proxy of `n1`: an unsigned token with an end, so that its review is remembered.
    pub(crate) fn node_token(&self) -> String {
        let payload = json!({"exp": 4_000_000_000_u64}).to_string();
        let token = format!(
            "e30.{}.x",
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(payload)
        );
        self.api.accept_token(
            &token,
            json!({"authenticated": true, "audiences": ["istio-ca"], "user": {
                "username": "system:serviceaccount:istio-system:ztunnel",
                "extra": {"authentication.kubernetes.io/node-name": ["n1"]}}}),
        );
        token
    }

    fn leader(api: &Api) -> Option<String> {
        let lease = api.object(LEASE)?;
        lease["spec"]["holderIdentity"].as_str().map(str::to_owned)
    }
}

pub(crate) fn config_map(namespace: &str) -> String {
    format!("{NS}/{namespace}/configmaps/istio-ca-root-cert")
}

fn gateway() -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "waypoint", "namespace": "shop", "uid": "u-1"},
        "spec": {"gatewayClassName": "istio-waypoint",
            "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE"}]},
    })
}

const GATEWAYS: &str = "apis/gateway.networking.k8s.io/v1/namespaces/shop/gateways";
const BUNDLE: &str =
    "apis/certificates.k8s.io/v1beta1/clustertrustbundles/istio.io:istiod-ca:root-cert";
const DEPLOYMENT: &str = "apis/apps/v1/namespaces/shop/deployments/waypoint";

#[tokio::test]
async fn the_root_is_made_once_and_is_in_every_namespace_also_after_it_was_deleted() {
    let bench = Bench::new().await;
    let _running = bench.controller("a").await;
    let map = bench.object(&config_map("shop")).await;
    assert_eq!(map["data"]["root-cert.pem"], bench.root().as_str());
    assert_eq!(map["metadata"]["labels"]["istio.io/config"], "true");
    bench.object(&config_map("istio-system")).await;
    bench.api.put(NS, json!({"metadata": {"name": "late"}}));
    bench.object(&config_map("late")).await;
    bench.api.delete(&config_map("shop"));
    bench.object(&config_map("shop")).await;
    assert_eq!(bench.api.object(&config_map("kube-public")), None);
    // Asked for here.
    let bundle = bench.object(BUNDLE).await;
    assert_eq!(bundle["spec"]["trustBundle"], bench.root().as_str());
    assert_eq!(bundle["spec"]["signerName"], "istio.io/istiod-ca");
    // Without lists there are no ConfigMaps of them.
    let revoked = config_map("shop").replace("root-cert", "crl");
    assert_eq!(bench.api.object(&revoked), None);
}

#[tokio::test]
async fn one_replica_writes_and_the_next_goes_on_where_it_stopped() {
    let bench = Bench::new().await;
    let (first, stop) = bench.controller("a").await;
    bench
        .until("a leads", |api| (Bench::leader(api)? == "a").then_some(()))
        .await;
    let before = bench.root();
    let _second = bench.controller("b").await;
    assert_eq!(bench.root(), before, "replicas share one root");
    bench.api.put(GATEWAYS, gateway());
    bench.object(DEPLOYMENT).await;
    stop.start(Duration::from_secs(5));
    first.finished().await.unwrap();
    bench
        .until("b leads", |api| (Bench::leader(api)? == "b").then_some(()))
        .await;
    let count = bench.api.writes().len();
    bench.api.delete(&format!("{GATEWAYS}/waypoint"));
    bench
        .until("the deployment is gone", |api| {
            api.object(DEPLOYMENT).is_none().then_some(())
        })
        .await;
    assert!(bench.api.writes().len() > count);
}

#[tokio::test]
async fn a_gateway_gets_its_objects_and_a_status_and_the_users_own_service_stays() {
    let bench = Bench::new().await;
    let services = "api/v1/namespaces/shop/services";
    let own = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "waypoint", "namespace": "shop"},
        "spec": {"clusterIP": "10.96.0.9", "ports": [{"port": 15008}]}});
    bench.api.put(services, own);
    bench.api.put(GATEWAYS, gateway());
    let _running = bench.controller("a").await;
    let deployment = bench.object(DEPLOYMENT).await;
    assert_eq!(deployment["metadata"]["ownerReferences"][0]["uid"], "u-1");
    let status = bench
        .until("a status", |api| {
            let gateway = api.object(&format!("{GATEWAYS}/waypoint"))?;
            gateway.get("status").cloned()
        })
        .await;
    assert_eq!(status["conditions"][0]["type"], "Accepted");
    let time = status["conditions"][0]["lastTransitionTime"].as_str();
    assert!(
        time.is_some_and(|time| time.ends_with('Z') && time.len() == 20),
        "{time:?}"
    );
    let service = bench.object(&format!("{services}/waypoint")).await;
    assert_eq!(service["metadata"].get("labels"), None);
}

#[tokio::test]
async fn tokens_are_reviewed_once_and_a_node_proxy_gets_what_runs_on_its_node() {
    let bench = Bench::new().await;
    let pods = "api/v1/namespaces/shop/pods";
    for (name, node) in [("web", "n1"), ("far", "n2")] {
        bench.api.put(
            pods,
            json!({"metadata": {"name": name, "namespace": "shop"},
                "spec": {"nodeName": node, "serviceAccountName": name, "containers": []}}),
        );
    }
    let (app, _trigger) = bench.controller("a").await;
    bench.object(&config_map("shop")).await;
    let token = bench.node_token();
    let svid_of = async |token: &str, account: &str| {
        let server = GrpcServer {
            address: format!("https://{}", app.xds_addr()),
            roots: RootSource::Pem(bench.root()),
            server_name: Some("ambit-controller.istio-system.svc".to_owned()),
        };
        let token = TokenSource::Literal(token.to_owned());
        let client = CaClient::new(CaClientConfig::node_proxy(server, Some(token)));
        let id = SpiffeId::new("cluster.local", "shop", account);
        let svid = obtain(&client, &id, Duration::from_secs(3600)).await;
        svid.map(|svid| svid.id().to_string())
    };
    let web = svid_of(&token, "web").await.unwrap();
    assert_eq!(web, "spiffe://cluster.local/ns/shop/sa/web");
    assert_eq!(bench.api.reviews(), 1);
    svid_of(&token, "web").await.unwrap();
    assert!(svid_of(&token, "far").await.is_err(), "on another node");
    assert_eq!(bench.api.reviews(), 1, "the review is remembered");
    assert!(svid_of("e30.e30.y", "web").await.is_err(), "not known");
}

pub(crate) fn quick() -> AuthorityConfig {
    AuthorityConfig {
        look: Duration::from_millis(50),
        pace: Pace {
            settle: Duration::from_secs(2),
            overlap: Duration::from_secs(2),
        },
        root_check: Duration::from_millis(100),
        ..AuthorityConfig::default()
    }
}

pub(crate) async fn publishes(bench: &Bench, roots: &str) {
    let look = |api: &Api| {
        let map = api.object(&config_map("shop"))?;
        (map["data"]["root-cert.pem"] == roots).then_some(())
    };
    bench.until(roots, look).await;
}

/// Whether a replica's port shows a certificate of this root: without a token there is no certificate, but
/// there is an answer.
pub(crate) async fn serves(app: &App, root: &str) -> bool {
    let server = GrpcServer {
        address: format!("https://{}", app.xds_addr()),
        roots: RootSource::Pem(root.to_owned()),
        server_name: Some("istiod.istio-system.svc".to_owned()),
    };
    let client = CaClient::new(CaClientConfig::node_proxy(server, None));
    let id = SpiffeId::new("cluster.local", "shop", "web");
    match obtain(&client, &id, Duration::from_secs(3600)).await {
        Err(CaError::Refused { code, .. }) => code == tonic::Code::Unauthenticated,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_plugged_in_authority_takes_over_from_the_self_signed_one_in_every_replica() {
    let bench = Bench::new().await;
    let (first, _running) = bench.controller_with("a", quick()).await;
    bench
        .until("a leads", |api| (Bench::leader(api)? == "a").then_some(()))
        .await;
    let (second, _too) = bench.controller_with("b", quick()).await;
    let old = bench.root();
    publishes(&bench, &old).await;
    bench.object(RECORD).await;
    let plugged = Pem::self_signed(&SelfSigned::of("cluster.local"), SystemTime::now()).unwrap();
    let dir = bench.dir.path().join("cacerts");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("root-cert.pem"), &plugged.root_cert).unwrap();
    std::fs::write(dir.join("ca-cert.pem"), &plugged.ca_cert).unwrap();
    std::fs::write(dir.join("ca-key.pem"), &plugged.ca_key).unwrap();
    let new = &plugged.root_cert;
    for roots in [format!("{old}{new}"), format!("{new}{old}"), new.clone()] {
        publishes(&bench, &roots).await;
    }
    let end = tokio::time::Instant::now() + DEADLINE;
    for app in [&first, &second] {
        while !serves(app, new).await {
            assert!(tokio::time::Instant::now() < end, "never");
        }
    }
    let mut others = bench.api.writes();
    others.retain(|(method, path)| path == RECORD && method == "PUT");
    assert_eq!(others.len(), 3, "one step each, by one replica: {others:?}");
    assert_eq!(
        bench.root(),
        old,
        "the Secret of before is nobody's to change"
    );
}

#[tokio::test]
async fn a_self_signed_root_near_its_end_is_renewed_with_its_key_and_published() {
    let bench = Bench::new().await;
    let days = |n: u64| Duration::from_secs(n * 24 * 3600);
    let made = SystemTime::now() - days(3400);
    let pem = Pem::self_signed(&SelfSigned::of("cluster.local"), made).unwrap();
    let part = |text: &str| STANDARD.encode(text);
    bench.api.put(
        &format!("{NS}/istio-system/secrets"),
        json!({"metadata": {"name": "istio-ca-secret", "namespace": "istio-system"},
            "type": "istio.io/ca-root", "data": {"ca-cert.pem": part(&pem.ca_cert), "ca-key.pem": part(&pem.ca_key),
                "root-cert.pem": part(&pem.root_cert), "cert-chain.pem": ""}}),
    );
    let _running = bench.controller_with("a", quick()).await;
    let old = &pem.root_cert;
    bench
        .until("renewed", |api| {
            let secret = api.object(SECRET)?;
            (secret["data"]["root-cert.pem"] != part(old).as_str()).then_some(())
        })
        .await;
    let secret = bench.api.object(SECRET).unwrap();
    assert_eq!(secret["data"]["ca-key.pem"], part(&pem.ca_key).as_str());
    let new = bench.root();
    for roots in [format!("{old}{new}"), format!("{new}{old}"), new.clone()] {
        publishes(&bench, &roots).await;
    }
    assert_eq!(bench.root(), new, "once is enough");
}
