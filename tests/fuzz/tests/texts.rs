//! YAML of users, JSON of kubelet, names and tokens of peers.

use ambit_fuzz::fuzz;

fuzz!(object, |bytes| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(value) = serde_saphyr::from_str::<serde_json::Value>(text) else {
        return;
    };
    if let Ok(object) = ambit_crds::Object::parse(value) {
        let _ = ambit_crds::validate(&object);
    }
});

fuzz!(overlay, |bytes| {
    use ambit_index::overlay::{Overlaid, overlay};
    let text = String::from_utf8_lossy(bytes);
    let document = serde_json::json!({
        "metadata": {"name": "w", "labels": {"gateway.istio.io/managed": "m"}},
        "spec": {
            "selector": {}, "ports": [{"port": 80}], "maxReplicas": 1,
            "scaleTargetRef": {"kind": "Deployment", "name": "w"},
            "template": {"spec": {"containers": [{"name": "waypoint", "env": [{"name": "A"}]}]}},
        },
    });
    for kind in Overlaid::ALL {
        if let Ok(merged) = overlay(kind, &document, &text) {
            assert_eq!(merged["metadata"]["name"], "w");
        }
    }
});

fuzz!(directory_file, |bytes| {
    thread_local! {
        static DIR: tempfile::TempDir = tempfile::tempdir().expect("a scratch directory");
    }
    DIR.with(|dir| {
        std::fs::write(dir.path().join("x.yaml"), bytes).expect("a writable scratch directory");
        let _ = ambit_source::load(dir.path());
    });
});

fuzz!(cni_netconf, |bytes| {
    let variables = |name: &str| {
        Some(
            match name {
                "CNI_COMMAND" => "ADD",
                "CNI_CONTAINERID" => "c",
                "CNI_NETNS" => "/nonexistent",
                "CNI_IFNAME" => "eth0",
                "CNI_PATH" => "/nonexistent",
                "CNI_ARGS" => "K8S_POD_NAMESPACE=a;K8S_POD_NAME=p;K8S_POD_UID=u",
                _ => return None,
            }
            .to_owned(),
        )
    };
    let _ = ambit_cni::run(&variables, bytes);
});

fuzz!(spiffe_id, |bytes| {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(id) = text.parse::<ambit_model::SpiffeId>() {
        assert_eq!(id.to_string(), text);
    }
});

fuzz!(dns_question, |bytes| {
    if let Some(question) = ambit_ztunnel::dns::message::Question::decode(bytes) {
        let _ = question.name();
    }
});

fuzz!(dns_answer, |bytes| {
    let _ = ambit_ztunnel::dns::message::resolved(bytes);
});

fuzz!(certificate, |bytes| {
    let der = rustls_pki_types::CertificateDer::from(bytes.to_vec());
    let _ = ambit_identity::verify::identity_of(&der);
});

fuzz!(signed_certificate, |bytes| {
    use ambit_ca::external::proof::{Asked, Names, prove};
    let roots = ambit_ca::roots::Roots::from_pem(include_str!("texts/root.pem"));
    let roots = roots.expect("a root that was checked in");
    let id = ambit_model::SpiffeId::new("cluster.local", "shop", "web");
    let key = include_bytes!("texts/leaf.spki.der");
    for names in [Names::Identity(&id), Names::Dns(&[])] {
        let asked = Asked { key, names };
        // Within the life of the seed, so that it is verified, too.
        let now = std::time::UNIX_EPOCH + std::time::Duration::from_secs(2_000_000_000);
        if let Ok(proved) = prove(bytes, &asked, &roots, now) {
            assert!(proved.not_after > now && !proved.chain.is_empty());
        }
    }
});

fuzz!(revocation_lists, |bytes| {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(lists) = ambit_identity::Revocations::from_pem(&text) {
        let _ = lists.prove(&[], std::time::SystemTime::UNIX_EPOCH);
    }
});

fuzz!(trust_bundle, |bytes| {
    let _ = ambit_identity::bundle::TrustBundle::from_pem(bytes);
    if let Ok(roots) = ambit_ca::roots::Roots::from_pem(&String::from_utf8_lossy(bytes)) {
        let again = ambit_ca::roots::Roots::from_pem(&roots.pem());
        assert_eq!(again.ok(), Some(roots));
    }
});
