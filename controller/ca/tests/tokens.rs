//! Which tokens count, and for whom.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ambit_ca::auth::{AuthError, Authenticator};
use ambit_ca::caller::ServiceAccount;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const NOW: u64 = 1_800_000_000;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

struct Issuer {
    key: KeyPair,
    kid: &'static str,
}

impl Issuer {
    fn new(kid: &'static str) -> Self {
        Self {
            key: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(),
            kid,
        }
    }

    fn jwk(&self) -> Value {
        let raw = self.key.public_key_raw();
        let part = |range| URL_SAFE_NO_PAD.encode(&raw[range]);
        json!({"kty": "EC", "crv": "P-256", "kid": self.kid, "alg": "ES256",
               "x": part(1..33), "y": part(33..65)})
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.kid.to_owned());
        let key = EncodingKey::from_ec_der(&self.key.serialize_der());
        jsonwebtoken::encode(&header, claims, &key).unwrap()
    }
}

struct Bench {
    dir: tempfile::TempDir,
    auth: Authenticator,
}

impl Bench {
    fn new(issuer: &Issuer) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("jwks.json"), &[issuer]);
        let auth = Authenticator::open(&dir.path().join("jwks.json"), at(NOW)).unwrap();
        Self { dir, auth }
    }

    fn jwks(&self) -> PathBuf {
        self.dir.path().join("jwks.json")
    }
}

fn write(path: &std::path::Path, issuers: &[&Issuer]) {
    let keys: Vec<Value> = issuers.iter().map(|i| i.jwk()).collect();
    std::fs::write(path, json!({"keys": keys}).to_string()).unwrap();
}

fn claims() -> Value {
    json!({
        "aud": ["istio-ca"], "exp": NOW + 60, "iat": NOW, "nbf": NOW,
        "sub": "system:serviceaccount:istio-system:ztunnel",
        "kubernetes.io": {
            "namespace": "istio-system",
            "serviceaccount": {"name": "ztunnel", "uid": "s"},
            "pod": {"name": "ztunnel-n1", "uid": "p"},
            "node": {"name": "n1", "uid": "n"},
        },
    })
}

#[test]
fn a_bound_token_tells_account_pod_and_node() {
    let issuer = Issuer::new("a");
    let bench = Bench::new(&issuer);
    let header = format!("Bearer {}", issuer.sign(&claims()));
    let caller = bench
        .auth
        .authenticate_header(Some(&header), at(NOW))
        .unwrap();
    assert_eq!(
        caller.service_account,
        ServiceAccount::new("istio-system", "ztunnel")
    );
    assert_eq!(caller.pod.unwrap().name, "ztunnel-n1");
    assert_eq!(caller.node.as_deref(), Some("n1"));
}

#[test]
fn tokens_that_do_not_count_are_refused_with_their_reason() {
    type Check = fn(&AuthError) -> bool;
    let issuer = Issuer::new("a");
    let bench = Bench::new(&issuer);
    let cases: [(&str, Value, Check); 7] = [
        ("/exp", json!(NOW), |e| {
            matches!(e, AuthError::Expired { seconds: 0 })
        }),
        ("/exp", json!(NOW - 5), |e| {
            matches!(e, AuthError::Expired { seconds: 5 })
        }),
        ("/nbf", json!(NOW + 100), |e| {
            matches!(e, AuthError::NotYetValid { .. })
        }),
        ("/aud", json!("api"), |e| {
            matches!(e, AuthError::Audience { .. })
        }),
        ("/sub", json!("system:node:n1"), |e| {
            matches!(e, AuthError::Subject { .. })
        }),
        ("/sub", json!("system:serviceaccount:default:web"), |e| {
            matches!(e, AuthError::Disagreement { .. })
        }),
        ("/exp", json!("never"), |e| {
            matches!(e, AuthError::Invalid { .. })
        }),
    ];
    for (pointer, value, expected) in cases {
        let mut changed = claims();
        *changed.pointer_mut(pointer).unwrap() = value.clone();
        let error = bench
            .auth
            .authenticate(&issuer.sign(&changed), at(NOW))
            .unwrap_err();
        assert!(expected(&error), "{pointer} = {value}: {error:?}");
    }
}

#[test]
fn other_keys_and_algorithms_are_refused() {
    let issuer = Issuer::new("a");
    let bench = Bench::new(&issuer);
    let imposter = Issuer::new("a").sign(&claims());
    assert!(matches!(
        bench.auth.authenticate(&imposter, at(NOW)),
        Err(AuthError::Invalid { .. })
    ));
    let public = EncodingKey::from_secret(issuer.key.public_key_raw());
    let symmetric =
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims(), &public).unwrap();
    assert!(matches!(
        bench.auth.authenticate(&symmetric, at(NOW)),
        Err(AuthError::Algorithm { .. })
    ));
    let none = format!(
        "{}.{}.",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#),
        URL_SAFE_NO_PAD.encode("{}")
    );
    for bad in ["", "a.b", "a.b.c", &none, &"x".repeat(20_000)] {
        assert!(bench.auth.authenticate(bad, at(NOW)).is_err());
    }
    for bad in [None, Some(""), Some("Basic abc"), Some("Bearer")] {
        assert!(matches!(
            bench.auth.authenticate_header(bad, at(NOW)),
            Err(AuthError::Missing)
        ));
    }
}

#[test]
fn a_new_key_is_found_and_an_old_one_forgotten() {
    let (first, second) = (Issuer::new("a"), Issuer::new("b"));
    let bench = Bench::new(&first);
    let token = second.sign(&claims());
    assert!(matches!(
        bench.auth.authenticate(&token, at(NOW)),
        Err(AuthError::UnknownKey { .. })
    ));
    write(&bench.jwks(), &[&first, &second]);
    bench.auth.authenticate(&token, at(NOW + 2)).unwrap();
    std::fs::write(bench.jwks(), "{").unwrap();
    bench.auth.authenticate(&token, at(NOW + 4)).unwrap();
    write(&bench.jwks(), &[&first]);
    assert!(bench.auth.authenticate(&token, at(NOW + 6)).is_err());
}
