//! Mints service account tokens as a cluster does.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) struct Issuer(KeyPair);

impl Issuer {
    pub(crate) fn new() -> Self {
        Self(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap())
    }

    pub(crate) fn jwks(&self) -> Value {
        let raw = self.0.public_key_raw();
        let part = |range| URL_SAFE_NO_PAD.encode(&raw[range]);
        json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "k", "alg": "ES256",
                         "x": part(1..33), "y": part(33..65)}]})
    }

    /// A token of `namespace/account` bound to a pod on a node, valid for `seconds`.
    pub(crate) fn token(&self, account: &str, node: &str, seconds: i64) -> String {
        let (namespace, name) = account.split_once('/').unwrap();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let claims = json!({
            "aud": ["istio-ca"], "exp": now.saturating_add_signed(seconds),
            "sub": format!("system:serviceaccount:{namespace}:{name}"),
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name},
                              "pod": {"name": format!("{name}-{node}"), "uid": "u"}, "node": {"name": node}},
        });
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("k".to_owned());
        let key = EncodingKey::from_ec_der(&self.0.serialize_der());
        jsonwebtoken::encode(&header, &claims, &key).unwrap()
    }
}
