//! Service account tokens, as the kubelet gets them from the API server.
//! In: an account, a pod, a node, a lifetime. Out: signed JWTs and the JWKS that verifies them.
//! Owns: the lab's signing key, in memory.
//! Spec: bound service account tokens (Kubernetes `TokenRequest`), RFC 7517, RFC 7518 (ES256).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};
use thiserror::Error;

/// `iss` of every token.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// `aud` of every token.
pub const AUDIENCE: &str = "istio-ca";

/// Why there is no token.
#[derive(Debug, Error)]
pub enum TokenError {
    /// No key.
    #[error("cannot make the signing key")]
    Key(#[source] rcgen::Error),
    /// No signature.
    #[error("cannot sign a token")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

/// Who a token is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Namespace of account and pod
    pub namespace: String,
    /// The account
    pub service_account: String,
    /// The pod's name
    pub pod: String,
    /// The pod's uid
    pub pod_uid: String,
    /// The node the pod runs on
    pub node: String,
}

/// Signs tokens.
pub struct Issuer {
    key: EncodingKey,
    jwks: Value,
}

impl Issuer {
    /// A new key.
    ///
    /// # Errors
    /// [`TokenError::Key`], [`TokenError::Sign`] if the key cannot be used.
    pub fn new() -> Result<Self, TokenError> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(TokenError::Key)?;
        // Uncompressed point: 0x04, x, y.
        let point = pair.public_key_raw();
        let jwks = json!({"keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY_ID,
            "x": URL_SAFE_NO_PAD.encode(&point[1..33]),
            "y": URL_SAFE_NO_PAD.encode(&point[33..65]),
        }]});
        let key =
            EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).map_err(TokenError::Sign)?;
        Ok(Self { key, jwks })
    }

    /// The public half.
    pub fn jwks(&self) -> &Value {
        &self.jwks
    }

    /// A token for `subject` from `now` (seconds since 1970) for `lifetime`; a zero lifetime gives one
    /// that has expired.
    ///
    /// # Errors
    /// [`TokenError::Sign`].
    pub fn token(
        &self,
        subject: &Subject,
        now: u64,
        lifetime: Duration,
    ) -> Result<String, TokenError> {
        let Subject {
            namespace,
            service_account,
            pod,
            pod_uid,
            node,
        } = subject;
        let claims = json!({
            "iss": ISSUER,
            "aud": [AUDIENCE],
            "sub": format!("system:serviceaccount:{namespace}:{service_account}"),
            "iat": now,
            "nbf": now,
            "exp": now + lifetime.as_secs(),
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": {"name": service_account},
                "pod": {"name": pod, "uid": pod_uid},
                "node": {"name": node},
            },
        });
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(KEY_ID.to_owned());
        jsonwebtoken::encode(&header, &claims, &self.key).map_err(TokenError::Sign)
    }
}

const KEY_ID: &str = "lab";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jwks_verifies_the_token_and_the_claims_name_pod_and_node() {
        let issuer = Issuer::new().unwrap();
        let subject = Subject {
            namespace: "shop".into(),
            service_account: "cart".into(),
            pod: "cart-1".into(),
            pod_uid: "u".into(),
            node: "node-1".into(),
        };
        let now = jiff::Timestamp::now().as_second().unsigned_abs();
        let token = issuer
            .token(&subject, now, Duration::from_secs(60))
            .unwrap();
        let set: jsonwebtoken::jwk::JwkSet = serde_json::from_value(issuer.jwks().clone()).unwrap();
        let key = jsonwebtoken::DecodingKey::from_jwk(&set.keys[0]).unwrap();
        let mut validation = jsonwebtoken::Validation::new(Algorithm::ES256);
        validation.set_audience(&[AUDIENCE]);
        let claims = jsonwebtoken::decode::<Value>(&token, &key, &validation)
            .unwrap()
            .claims;
        assert_eq!(claims["sub"], "system:serviceaccount:shop:cart");
        assert_eq!(claims["kubernetes.io"]["node"]["name"], "node-1");
        let old = issuer.token(&subject, now - 3600, Duration::ZERO).unwrap();
        assert!(jsonwebtoken::decode::<Value>(&old, &key, &validation).is_err());
    }
}
