//! TokenReview → [`Caller`]: what the API server says about a token, and how long that is believed.
//! In: the review's status, the time. Out: a caller, or a named reason for the log. Pure; the request
//! itself is the controller's.
//! Spec: authentication.k8s.io/v1 TokenReview; claims of bound tokens as `user.extra`.

use crate::auth::{AUDIENCE, AuthError, subject};
use crate::caller::{BoundPod, Caller};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a review is believed. A token whose pod is deleted counts this much longer.
const BELIEVED: Duration = Duration::from_secs(60);
/// Reviews remembered; each is one caller.
const MAX_REMEMBERED: usize = 10_000;
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";

/// `TokenReview.status`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ReviewStatus {
    /// Whether the token belongs to a user.
    pub authenticated: bool,
    /// Audiences of the request that the token is made for.
    pub audiences: Vec<String>,
    /// Why not.
    pub error: String,
    /// Whom it belongs to.
    pub user: ReviewedUser,
}

/// `TokenReview.status.user`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ReviewedUser {
    /// `system:serviceaccount:<namespace>:<name>`.
    pub username: String,
    /// What the token is bound to.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl ReviewStatus {
    /// The caller.
    ///
    /// # Errors
    /// The first reason the token does not count.
    pub fn into_caller(self) -> Result<Caller, AuthError> {
        if !self.authenticated {
            return Err(AuthError::Refused { reason: self.error });
        }
        // A server that knows no audiences would take a token made for anyone.
        if !self.audiences.iter().any(|audience| audience == AUDIENCE) {
            return Err(AuthError::Audience {
                audience: self.audiences,
            });
        }
        let Some(service_account) = subject(&self.user.username) else {
            return Err(AuthError::Subject {
                subject: self.user.username,
            });
        };
        let extra = |key: &str| {
            let value = self.user.extra.get(key)?.first()?;
            (!value.is_empty()).then(|| value.clone())
        };
        Ok(Caller {
            service_account,
            pod: extra(POD_NAME).map(|name| BoundPod {
                name,
                uid: extra(POD_UID).unwrap_or_default(),
            }),
            node: extra(NODE_NAME),
        })
    }
}

/// Callers by token, for a while. Tokens themselves are not kept.
#[derive(Debug, Default)]
pub struct Remembered {
    callers: HashMap<[u8; 32], (Caller, SystemTime)>,
}

impl Remembered {
    /// The caller of a token that was reviewed a short while ago.
    pub fn caller(&self, token: &str, now: SystemTime) -> Option<Caller> {
        let (caller, until) = self.callers.get(&hash(token))?;
        (now < *until).then(|| caller.clone())
    }

    /// Keeps a review of just now.
    pub fn keep(&mut self, token: &str, caller: Caller, now: SystemTime) {
        if self.callers.len() >= MAX_REMEMBERED {
            self.callers.retain(|_, (_, until)| now < *until);
        }
        if self.callers.len() < MAX_REMEMBERED {
            let until = expiry(token).unwrap_or(now).min(now + BELIEVED);
            self.callers.insert(hash(token), (caller, until));
        }
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// `exp` of a token that was verified by others; a token without one is not remembered.
fn expiry(token: &str) -> Option<SystemTime> {
    #[derive(Deserialize)]
    struct Claims {
        exp: u64,
    }
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Claims = serde_json::from_slice(&payload).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(claims.exp))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::ServiceAccount;
    use serde_json::json;

    fn status(change: impl FnOnce(&mut serde_json::Value)) -> Result<Caller, AuthError> {
        let mut value = json!({
            "authenticated": true,
            "audiences": ["istio-ca"],
            "user": {
                "username": "system:serviceaccount:istio-system:ztunnel",
                "uid": "u", "groups": ["system:serviceaccounts"],
                "extra": {POD_NAME: ["ztunnel-x"], POD_UID: ["1"], NODE_NAME: ["n1"]},
            },
        });
        change(&mut value);
        serde_json::from_value::<ReviewStatus>(value)
            .unwrap()
            .into_caller()
    }

    #[test]
    fn the_caller_is_what_the_token_is_bound_to() {
        let caller = status(|_| {}).unwrap();
        assert_eq!(
            caller,
            Caller {
                service_account: ServiceAccount::new("istio-system", "ztunnel"),
                pod: Some(BoundPod {
                    name: "ztunnel-x".into(),
                    uid: "1".into()
                }),
                node: Some("n1".into()),
            }
        );
        let bare = status(|v| v["user"]["extra"] = json!({})).unwrap();
        assert_eq!((bare.pod, bare.node), (None, None));
    }

    #[test]
    fn a_token_counts_only_for_us_and_for_service_accounts() {
        assert!(matches!(
            status(|v| v["authenticated"] = false.into()),
            Err(AuthError::Refused { .. })
        ));
        for audiences in [json!([]), json!(["https://kubernetes.default.svc"])] {
            assert!(matches!(
                status(|v| v["audiences"] = audiences),
                Err(AuthError::Audience { .. })
            ));
        }
        for user in [
            "admin",
            "system:node:n1",
            "system:serviceaccount:a",
            "system:serviceaccount:a:b:c",
        ] {
            assert!(matches!(
                status(|v| v["user"]["username"] = user.into()),
                Err(AuthError::Subject { .. })
            ));
        }
    }

    fn token(exp: u64) -> String {
        let payload = URL_SAFE_NO_PAD.encode(json!({ "exp": exp }).to_string());
        format!("h.{payload}.s")
    }

    #[test]
    fn a_review_is_believed_for_a_minute_and_never_past_the_token() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let caller = status(|_| {}).unwrap();
        let mut remembered = Remembered::default();
        for (token, last) in [(token(10_000), 1059), (token(1010), 1009)] {
            remembered.keep(&token, caller.clone(), at(1000));
            assert_eq!(remembered.caller(&token, at(last)), Some(caller.clone()));
            assert_eq!(remembered.caller(&token, at(last + 1)), None);
        }
        remembered.keep("no.claims", caller, at(1000));
        assert_eq!(remembered.caller("no.claims", at(1000)), None);
    }
}
