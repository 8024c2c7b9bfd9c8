//! The certificate authority of a cluster: plugged in by a mount, else self-signed and kept in a Secret
//! that every replica shares.
//! Source: Istio's `cacerts` and `istio-ca-secret`.

use ambit_ca::authority::{Authority, Lifetimes, OpenError, Pem};
use ambit_source::kubernetes::{Address, Client, RequestError, create, read};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use thiserror::Error;

/// Secret of the self-signed root.
const SECRET: &str = "istio-ca-secret";
const SECRET_TYPE: &str = "istio.io/ca-root";

/// Why there is no authority.
#[derive(Debug, Error)]
pub(crate) enum AuthorityError {
    /// The parts are no authority.
    #[error("the certificate authority is not usable")]
    Open(#[from] OpenError),
    /// The Secret cannot be read or made.
    #[error("the Secret of the certificate authority is out of reach")]
    Secret(#[from] RequestError),
    /// The Secret lacks a part.
    #[error("Secret {SECRET} has no usable `{key}`")]
    Part {
        /// Key in `data`.
        key: &'static str,
    },
}

/// Where an authority comes from.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    /// Directory of a plugged-in authority; used when it holds a key.
    pub(crate) mount: &'a Path,
    /// Namespace of the Secret.
    pub(crate) namespace: &'a str,
    pub(crate) trust_domain: &'a str,
}

/// Opens the authority; makes a self-signed one when there is none.
pub(crate) async fn open(
    client: &Client,
    place: &Place<'_>,
    lifetimes: Lifetimes,
    now: SystemTime,
) -> Result<Authority, AuthorityError> {
    let (mount, trust_domain) = (place.mount, place.trust_domain);
    if mount.join("ca-key.pem").exists() {
        tracing::info!(path = %mount.display(), "certificate authority is plugged in");
        return Ok(Authority::open(mount, trust_domain, lifetimes, now)?);
    }
    let pem = secret(client, place, now).await?;
    let named = PathBuf::from(format!("Secret {}/{SECRET}", place.namespace));
    Ok(Authority::from_pem(&named, &pem, lifetimes)?)
}

/// The Secret's content. Of replicas that start together one makes it, the others read that one.
async fn secret(
    client: &Client,
    place: &Place<'_>,
    now: SystemTime,
) -> Result<Pem, AuthorityError> {
    let address = Address::new("v1", "Secret", "secrets")
        .within(place.namespace)
        .named(SECRET);
    if let Some(found) = read(client, &address).await? {
        return parse(&found);
    }
    let pem = Pem::self_signed(place.trust_domain, now)?;
    match create(client, &document(place.namespace, &pem)).await {
        Ok(_) => {
            tracing::info!(namespace = place.namespace, "self-signed root made");
            Ok(pem)
        }
        Err(error) if error.is_conflict() => {
            let found = read(client, &address).await?.unwrap_or_default();
            parse(&found)
        }
        Err(error) => Err(error.into()),
    }
}

fn parse(secret: &Value) -> Result<Pem, AuthorityError> {
    let part = |key: &'static str| {
        let text = secret.get("data")?.get(key)?.as_str()?;
        String::from_utf8(STANDARD.decode(text).ok()?).ok()
    };
    let required = |key| part(key).ok_or(AuthorityError::Part { key });
    Ok(Pem {
        ca_cert: required("ca-cert.pem")?,
        ca_key: required("ca-key.pem")?,
        cert_chain: part("cert-chain.pem").unwrap_or_default(),
        root_cert: part("root-cert.pem").unwrap_or_default(),
    })
}

fn document(namespace: &str, pem: &Pem) -> Value {
    let part = |text: &str| STANDARD.encode(text);
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET, "namespace": namespace},
        "type": SECRET_TYPE,
        "data": {
            "ca-cert.pem": part(&pem.ca_cert),
            "ca-key.pem": part(&pem.ca_key),
            "cert-chain.pem": part(&pem.cert_chain),
            "root-cert.pem": part(&pem.root_cert),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_the_authority() {
        let now = SystemTime::now();
        let pem = Pem::self_signed("cluster.local", now).unwrap();
        let stored = document("istio-system", &pem);
        assert_eq!(parse(&stored).unwrap(), pem);
        let named = Path::new("s");
        let opened = Authority::from_pem(named, &pem, Lifetimes::default()).unwrap();
        assert_eq!(opened.roots_pem(), pem.ca_cert);
        // Istio's own leaves these two empty.
        let mut upstream = stored;
        for key in ["root-cert.pem", "cert-chain.pem"] {
            upstream["data"][key] = "".into();
        }
        let pem = parse(&upstream).unwrap();
        let opened = Authority::from_pem(named, &pem, Lifetimes::default()).unwrap();
        assert_eq!(opened.roots_pem(), pem.ca_cert);
        upstream["data"]["ca-key.pem"] = "&".into();
        assert!(matches!(
            parse(&upstream),
            Err(AuthorityError::Part { key: "ca-key.pem" })
        ));
    }
}
