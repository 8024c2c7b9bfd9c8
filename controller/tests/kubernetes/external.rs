//! An authority outside, in front of the API server in memory: a task that signs, denies or says nothing.

use crate::api::Api;
use crate::mesh::{Bench, config_map, publishes, quick, serves};
use ambit_api::ca::IstioCertificateRequest;
use ambit_ca::external::signers::Signers;
use ambit_controller::app::App;
use ambit_controller::config::ExternalConfig;
use ambit_identity::authority::{Authority, CaError, SignRequest, obtain};
use ambit_identity::grpc_tls::{GrpcServer, RootSource, TokenSource};
use ambit_identity::rpc::istio_certificate_service_client::IstioCertificateServiceClient;
use ambit_identity::{CaClient, CaClientConfig};
use ambit_model::SpiffeId;
use ambit_runtime::tasks::{self, Task};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, SanType,
};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tonic::Code;

const REQUESTS: &str = "apis/certificates.k8s.io/v1/certificatesigningrequests";
const HOUR: Duration = Duration::from_secs(3600);

/// What the signer does with what is approved.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Signs,
    Denies,
    Nothing,
    /// Signs by a root that nobody knows.
    Strange,
}

/// The signer, and the directory that says its root.
struct Outside {
    root: String,
    dir: tempfile::TempDir,
    mood: Arc<Mutex<Mood>>,
    _task: Task<()>,
}

fn authority() -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = params.self_signed(&key).unwrap().pem();
    (root, Issuer::new(params, key))
}

impl Outside {
    fn start(bench: &Bench) -> Self {
        let (root, issuer) = authority();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("root-cert.pem"), &root).unwrap();
        let mood = Arc::new(Mutex::new(Mood::Signs));
        let (api, now) = (bench.api.clone(), mood.clone());
        let strange = authority().1;
        let work = async move {
            loop {
                let mood = *now.lock().unwrap();
                for request in api.all(REQUESTS) {
                    let issuer = match mood {
                        Mood::Strange => &strange,
                        _ => &issuer,
                    };
                    act(&api, &request, (mood, issuer));
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        Self {
            root,
            dir,
            mood,
            _task: tasks::spawn("signer", work),
        }
    }

    fn config(&self) -> ExternalConfig {
        ExternalConfig {
            signers: Signers::new("ambit.test/mesh", "more.test").unwrap(),
            approve: true,
            roots_dir: self.dir.path().to_owned(),
        }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("root-cert.pem")
    }

    fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn server(&self, app: &App) -> GrpcServer {
        GrpcServer {
            address: format!("https://{}", app.xds_addr()),
            roots: RootSource::Pem(self.root.clone()),
            server_name: Some("ambit-controller.istio-system.svc".to_owned()),
        }
    }

    fn client(&self, app: &App, token: &str) -> CaClient {
        let token = TokenSource::Literal(token.to_owned());
        CaClient::new(CaClientConfig::node_proxy(self.server(app), Some(token)))
    }
}

fn act(api: &Api, request: &Value, (mood, issuer): (Mood, &Issuer<'static, KeyPair>)) {
    let status = &request["status"];
    if status["conditions"][0]["type"] != "Approved" || !status["certificate"].is_null() {
        return;
    }
    let name = request["metadata"]["name"].as_str().unwrap();
    // Who asked may have deleted it: then it stays deleted.
    let path = format!("{REQUESTS}/{name}");
    match mood {
        Mood::Nothing => {}
        Mood::Denies => {
            let denied = json!([{"type": "Denied", "status": "True", "reason": "Policy",
                "message": "not here"}]);
            api.change(&path, |request| request["status"]["conditions"] = denied);
        }
        Mood::Signs | Mood::Strange => {
            let pem = STANDARD.decode(request["spec"]["request"].as_str().unwrap());
            let pem = String::from_utf8(pem.unwrap()).unwrap();
            let mut asked = CertificateSigningRequestParams::from_pem(&pem).unwrap();
            asked.params.extended_key_usages = vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ];
            let signed = STANDARD.encode(asked.signed_by(issuer).unwrap().pem());
            api.change(&path, |request| {
                request["status"]["certificate"] = signed.into();
            });
        }
    }
}

fn web(bench: &Bench) -> SpiffeId {
    bench.api.put(
        "api/v1/namespaces/shop/pods",
        json!({"metadata": {"name": "web", "namespace": "shop"},
            "spec": {"nodeName": "n1", "serviceAccountName": "web", "containers": []}}),
    );
    SpiffeId::new("cluster.local", "shop", "web")
}

async fn none_is_left(bench: &Bench) {
    let look = |api: &Api| api.all(REQUESTS).is_empty().then_some(());
    bench.until("no request", look).await;
}

fn refusal<T: std::fmt::Debug>(done: Result<T, CaError>) -> (Code, String) {
    match done.unwrap_err() {
        CaError::Refused { code, source } => (code, source.message().to_owned()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_authority_outside_signs_for_pods_and_for_the_port() {
    let bench = Bench::new().await;
    let (outside, id) = (Outside::start(&bench), web(&bench));
    let (app, _running) = bench
        .started("a", quick(), Some(outside.config()))
        .await
        .unwrap();
    publishes(&bench, &outside.root).await;
    let client = outside.client(&app, &bench.node_token());
    let svid = obtain(&client, &id, HOUR).await.unwrap();
    assert_eq!(svid.id(), &id);
    let count = |api: &Api, method: &str| {
        let writes = api.writes();
        let is = |(m, path): &&(String, String)| m == method && path.starts_with(REQUESTS);
        writes.iter().filter(is).count()
    };
    // Of the request for the pod and of those for the two ports.
    let all = |api: &Api| (count(api, "DELETE") == 3).then_some(());
    bench.until("three requests are deleted", all).await;
    assert_eq!(
        (count(&bench.api, "POST"), count(&bench.api, "PATCH")),
        (3, 3)
    );
    none_is_left(&bench).await;
    let key = "api/v1/namespaces/istio-system/secrets/istio-ca-secret";
    assert_eq!(bench.api.object(key), None);
}

#[tokio::test]
async fn who_gets_no_certificate_is_told_why() {
    let bench = Bench::new().await;
    let (outside, id) = (Outside::start(&bench), web(&bench));
    let (app, _running) = bench
        .started("a", quick(), Some(outside.config()))
        .await
        .unwrap();
    bench.object(&config_map("shop")).await;
    let client = outside.client(&app, &bench.node_token());
    obtain(&client, &id, HOUR).await.unwrap();
    outside.is(Mood::Denies);
    assert_eq!(
        refusal(obtain(&client, &id, HOUR).await),
        (
            Code::PermissionDenied,
            "signer ambit.test/mesh gave no certificate: the request was denied: Policy: not here"
                .to_owned()
        )
    );
    outside.is(Mood::Strange);
    let (code, words) = refusal(obtain(&client, &id, HOUR).await);
    assert_eq!(code, Code::FailedPrecondition);
    assert!(
        words.contains("does not verify to the roots of the mesh"),
        "{words}"
    );
    // Names that are not permitted do not leave the controller.
    outside.is(Mood::Signs);
    let mut params = CertificateParams::default();
    let other = "spiffe://cluster.local/ns/kube-system/sa/admin";
    params.subject_alt_names = vec![SanType::URI(other.try_into().unwrap())];
    let csr = params
        .serialize_request(&KeyPair::generate().unwrap())
        .unwrap();
    let request = SignRequest {
        id: id.clone(),
        csr_pem: csr.pem().unwrap(),
        validity: HOUR,
    };
    let before = bench.api.writes().len();
    let (code, words) = refusal(client.sign(request).await);
    assert_eq!(code, Code::InvalidArgument);
    assert!(words.contains("as its only name"), "{words}");
    let after = bench.api.writes();
    let made = |(method, path): &&(String, String)| method == "POST" && path == REQUESTS;
    assert_eq!(after[before..].iter().find(made), None);
    none_is_left(&bench).await;
}

#[tokio::test]
async fn a_request_that_names_a_signer_goes_to_that_one() {
    let bench = Bench::new().await;
    let (outside, id) = (Outside::start(&bench), web(&bench));
    let (app, _running) = bench
        .started("a", quick(), Some(outside.config()))
        .await
        .unwrap();
    // The port has its certificate.
    assert!(serves(&app, &outside.root).await);
    let channel = outside
        .server(&app)
        .endpoint(&outside.root)
        .unwrap()
        .connect_lazy();
    let text = |text: &str| prost_types::Value {
        kind: Some(prost_types::value::Kind::StringValue(text.to_owned())),
    };
    let fields = [
        ("ImpersonatedIdentity".to_owned(), text(&id.to_string())),
        ("CertSigner".to_owned(), text("second")),
    ];
    let csr = ambit_identity::csr::request(&id).unwrap();
    let mut request = tonic::Request::new(IstioCertificateRequest {
        csr: csr.csr_pem,
        validity_duration: 1,
        metadata: Some(prost_types::Struct {
            fields: fields.into(),
        }),
    });
    let token = format!("Bearer {}", bench.node_token());
    request
        .metadata_mut()
        .insert("authorization", token.parse().unwrap());
    outside.is(Mood::Nothing);
    let mut client = IstioCertificateServiceClient::new(channel);
    let asking = client.create_certificate(request);
    let named = |api: &Api| {
        let is = |request: &Value| request["spec"]["signerName"] == "more.test/second";
        api.all(REQUESTS).into_iter().find(is)
    };
    let (reply, request) = tokio::join!(asking, async {
        let request = bench.until("its request", named).await;
        outside.is(Mood::Signs);
        request
    });
    assert_eq!(reply.unwrap().into_inner().cert_chain.len(), 2);
    // What the API takes at least.
    assert_eq!(request["spec"]["expirationSeconds"], 600);
}

#[tokio::test]
async fn a_request_goes_with_its_caller_and_the_port_serves_while_the_signer_is_away() {
    let bench = Bench::new().await;
    let (outside, id) = (Outside::start(&bench), web(&bench));
    let (app, _running) = bench
        .started("a", quick(), Some(outside.config()))
        .await
        .unwrap();
    publishes(&bench, &outside.root).await;
    assert!(serves(&app, &outside.root).await);
    outside.is(Mood::Nothing);
    let token = bench.node_token();
    let client = outside.client(&app, &token);
    {
        let asking = obtain(&client, &id, HOUR);
        let waits = |api: &Api| (!api.all(REQUESTS).is_empty()).then_some(());
        tokio::select! {
            done = asking => panic!("{done:?}"),
            () = bench.until("a request", waits) => {}
        }
    }
    none_is_left(&bench).await;
    // Another root beside it: the port wants another certificate, and keeps the one it has.
    let both = format!("{}{}", outside.root, authority().0);
    std::fs::write(outside.file(), &both).unwrap();
    publishes(&bench, &both).await;
    let waits = |api: &Api| (!api.all(REQUESTS).is_empty()).then_some(());
    bench.until("the port's request", waits).await;
    assert!(serves(&app, &outside.root).await);
    // What is no root changes nothing.
    std::fs::write(outside.file(), "none").unwrap();
    outside.is(Mood::Signs);
    obtain(&client, &id, HOUR).await.unwrap();
    publishes(&bench, &both).await;
}

#[tokio::test]
async fn without_roots_there_is_no_controller() {
    let bench = Bench::new().await;
    let outside = Outside::start(&bench);
    std::fs::remove_file(outside.file()).unwrap();
    let refused = bench.started("a", quick(), Some(outside.config())).await;
    let words = format!("{:#}", refused.err().unwrap());
    assert!(
        words.contains("root-cert.pem of Secret external-ca-cert"),
        "{words}"
    );
}
