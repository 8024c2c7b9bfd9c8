use crate::bench::{Bench, MESH, SIGN};
use ambit_api::ca::IstioCertificateRequest;
use ambit_identity::grpc_tls::{GrpcServer, RootSource, TokenSource};
use ambit_identity::{CaClient, CaClientConfig};
use ambit_model::SpiffeId;
use prost::Message as _;
use rcgen::{CertificateParams, KeyPair};
use std::time::Duration;
use tonic::Code;

fn request(asked: Option<&str>) -> IstioCertificateRequest {
    let csr = CertificateParams::default()
        .serialize_request(&KeyPair::generate().unwrap())
        .unwrap();
    let metadata = asked.map(|id| prost_types::Struct {
        fields: [(
            "ImpersonatedIdentity".to_owned(),
            prost_types::Value {
                kind: Some(prost_types::value::Kind::StringValue(id.to_owned())),
            },
        )]
        .into(),
    });
    IstioCertificateRequest {
        csr: csr.pem().unwrap(),
        validity_duration: 3600,
        metadata,
    }
}

#[tokio::test]
async fn a_node_proxy_gets_certificates_for_its_pods_only_and_others_for_themselves() {
    let bench = Bench::start(&[("mesh.yaml", MESH)]).await;
    let (node, web) = (
        bench.node_token(),
        bench.issuer.token("default/web", "n1", 60),
    );
    let id = |sa: &str| format!("spiffe://cluster.local/ns/default/sa/{sa}");
    for (token, asked, code) in [
        (Some(&node), Some(id("web")), Code::Ok),
        (Some(&node), Some(id("far")), Code::Unauthenticated),
        (Some(&node), Some(id("nobody")), Code::Unauthenticated),
        (
            Some(&node),
            Some("spiffe://other/ns/default/sa/web".to_owned()),
            Code::Unauthenticated,
        ),
        (Some(&node), Some("web".to_owned()), Code::Unauthenticated),
        (Some(&web), None, Code::Ok),
        (Some(&web), Some(id("web")), Code::Ok),
        (Some(&web), Some(id("far")), Code::Unauthenticated),
        (None, Some(id("web")), Code::Unauthenticated),
    ] {
        let reply = bench
            .sign(token.map(String::as_str), request(asked.as_deref()))
            .await;
        let got = reply
            .as_ref()
            .map_or_else(tonic::Status::code, |_| Code::Ok);
        assert_eq!(got, code, "{asked:?}: {reply:?}");
        if let Err(status) = reply {
            assert_eq!(
                status.message(),
                "request authenticate failure",
                "the caller learns no reason"
            );
        }
    }
    let mut wrong = request(None);
    wrong.csr = "hello".into();
    let status = bench.sign(Some(&web), wrong).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let metrics = bench.get("/metrics").await;
    assert!(
        metrics.contains("citadel_server_success_cert_issuance_count_total 3"),
        "{metrics}"
    );
    assert!(
        metrics.contains(
            "citadel_server_authentication_failure_count_total{reason=\"not_on_node\"} 2"
        ),
        "{metrics}"
    );
}

#[tokio::test]
async fn requests_that_cannot_be_read_are_refused_and_counted_once_the_caller_is_known() {
    let bench = Bench::start(&[("mesh.yaml", MESH)]).await;
    let node = bench.node_token();
    let good = request(None).encode_to_vec();
    let length = u32::try_from(good.len()).unwrap().to_be_bytes();
    let good = [&[0][..], &length, &good].concat();
    let unreadable = [
        Vec::new(),
        b"\0\0\0\0\x05\xff\xff\xff\xff\xff".to_vec(),
        b"\0\0\0\0\x09\x0a\x01".to_vec(),
        b"\0\xff\xff\xff\xff\x0a".to_vec(),
        good.repeat(2),
    ];
    let (invalid, unknown) = (Code::InvalidArgument, Code::Unauthenticated);
    for body in &unreadable {
        let status = bench.say(SIGN, Some(&node), body.clone()).await;
        assert_eq!(status.code(), invalid, "{body:?}: {status:?}");
        assert_eq!(status.message(), "the message cannot be read");
        let status = bench.say(SIGN, None, body.clone()).await;
        assert_eq!(status.code(), unknown, "{body:?}: {status:?}");
    }
    let web = bench.issuer.token("default/web", "n1", 60);
    let status = bench.say(SIGN, Some(&web), good).await;
    assert_eq!(status.code(), Code::Ok, "{status:?}");
    let other = SIGN.replace("CreateCertificate", "Another");
    let status = bench.say(&other, Some(&node), Vec::new()).await;
    assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
    let bearer = format!("Bearer {node}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("grpc-encoding", "gzip"),
    ];
    let status = bench.say_with(SIGN, &headers, Vec::new()).await;
    assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
    let metrics = bench.get("/metrics").await;
    let line = "citadel_server_authentication_failure_count_total{reason=\"encoding\"} 1\n";
    assert!(metrics.contains(line), "no {line} in {metrics}");
    for reason in ["malformed", "token"] {
        let name = "citadel_server_authentication_failure_count_total";
        let line = format!("{name}{{reason=\"{reason}\"}} {}\n", unreadable.len());
        assert!(metrics.contains(&line), "no {line} in {metrics}");
    }
}

#[tokio::test]
async fn the_mesh_client_gets_a_working_svid() {
    let bench = Bench::start(&[("mesh.yaml", MESH)]).await;
    let server = GrpcServer {
        address: format!("https://{}", bench.app.xds_addr()),
        roots: RootSource::File(bench.dir.path().join("ca/root-cert.pem")),
        server_name: Some("istiod.istio-system.svc".to_owned()),
    };
    let token = TokenSource::Literal(bench.node_token());
    let client = CaClient::new(CaClientConfig::node_proxy(server, Some(token)));
    let id = SpiffeId::new("cluster.local", "default", "web");
    let svid = ambit_identity::authority::obtain(&client, &id, Duration::from_secs(3600)).await;
    assert_eq!(svid.unwrap().id().to_string(), id.to_string());
}
