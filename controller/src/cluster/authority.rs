//! The certificate authority of a cluster: plugged in by a mount, else self-signed and kept in a Secret
//! that every replica shares.
//! In: the mount and the Secret as they are. Out: their content. The Secret is made by who comes first
//! and renewed by the leader, never over somebody else's change.
//! Source: Istio's `cacerts` and `istio-ca-secret`.

use ambit_ca::authority::{OpenError, Pem, SelfSigned, plugged};
use ambit_source::kubernetes::{Address, Client, RequestError, create, read, replace};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use thiserror::Error;
use tokio::time::Instant;

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
    /// There was an authority, and a self-signed one would be another.
    #[error("the certificate authority in {path} is gone")]
    Gone {
        /// Of the mount.
        path: PathBuf,
    },
}

/// Where an authority comes from.
pub(crate) struct Store {
    client: Client,
    /// Directory of a plugged-in authority; used when it holds a key.
    mount: PathBuf,
    namespace: String,
    /// The Secret, for errors.
    secret: PathBuf,
    plugged: bool,
    /// How often a self-signed root is asked whether it is time, and when next.
    check: Duration,
    next_check: Instant,
}

impl Store {
    pub(crate) fn new(client: Client, mount: &Path, namespace: &str, check: Duration) -> Self {
        Self {
            client,
            mount: mount.to_owned(),
            namespace: namespace.to_owned(),
            secret: PathBuf::from(format!("Secret {namespace}/{SECRET}")),
            plugged: false,
            check,
            next_check: Instant::now(),
        }
    }

    /// Names in errors what was read last.
    pub(crate) fn place(&self) -> &Path {
        match self.plugged {
            true => &self.mount,
            false => &self.secret,
        }
    }

    /// The authority as it is there now; makes a self-signed one when there is none.
    pub(crate) async fn load(
        &mut self,
        form: &SelfSigned<'_>,
        leads: bool,
        now: SystemTime,
    ) -> Result<Pem, AuthorityError> {
        if let Some(pem) = plugged(&self.mount)? {
            if !self.plugged {
                let path = self.mount.display();
                tracing::info!(%path, "certificate authority is plugged in");
            }
            self.plugged = true;
            return Ok(pem);
        }
        if self.plugged {
            let path = self.mount.clone();
            return Err(AuthorityError::Gone { path });
        }
        let (found, pem) = self.secret(form, now).await?;
        if !leads || Instant::now() < self.next_check {
            return Ok(pem);
        }
        // Replicas and clusters that started together do not ask together.
        let chance: f64 = rand::random();
        self.next_check = Instant::now() + self.check.mul_f64(0.9 + 0.2 * chance);
        self.renew(&found, pem, form, now).await
    }

    /// The Secret's content. Of replicas that start together one makes it, the others read that one.
    async fn secret(
        &self,
        form: &SelfSigned<'_>,
        now: SystemTime,
    ) -> Result<(Value, Pem), AuthorityError> {
        let address = Address::new("v1", "Secret", "secrets")
            .within(&self.namespace)
            .named(SECRET);
        if let Some(found) = read(&self.client, &address).await? {
            let pem = parse(&found)?;
            return Ok((found, pem));
        }
        let pem = Pem::self_signed(form, now)?;
        match create(&self.client, &document(&self.namespace, &pem)).await {
            Ok(made) => {
                tracing::info!(namespace = self.namespace, "self-signed root made");
                Ok((made, pem))
            }
            Err(error) if error.is_conflict() => {
                let found = read(&self.client, &address).await?.unwrap_or_default();
                let pem = parse(&found)?;
                Ok((found, pem))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Renews a root that has little life left; whoever was quicker is right.
    async fn renew(
        &self,
        found: &Value,
        pem: Pem,
        form: &SelfSigned<'_>,
        now: SystemTime,
    ) -> Result<Pem, AuthorityError> {
        // A Secret of another's making may hold an authority that is no root; that is theirs to renew.
        if !pem.is_self_signed() {
            return Ok(pem);
        }
        let Some(renewed) = pem.renewed(form, now)? else {
            return Ok(pem);
        };
        // Labels and the like stay as they are.
        let mut wanted = document(&self.namespace, &renewed);
        wanted["metadata"] = found["metadata"].clone();
        wanted["type"] = found["type"].clone();
        match replace(&self.client, &wanted).await {
            Ok(_) => {
                tracing::info!(namespace = self.namespace, "self-signed root renewed");
                Ok(renewed)
            }
            Err(error) if error.is_conflict() => Ok(pem),
            Err(error) => Err(error.into()),
        }
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
        crl: part("ca-crl.pem").unwrap_or_default(),
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
    use ambit_ca::authority::{Authority, Lifetimes, Terms};

    #[test]
    fn what_is_stored_is_the_authority() {
        let now = SystemTime::now();
        let pem = Pem::self_signed(&SelfSigned::of("cluster.local"), now).unwrap();
        let stored = document("istio-system", &pem);
        assert_eq!(parse(&stored).unwrap(), pem);
        let named = Path::new("s");
        let terms = Terms {
            trust_domain: "cluster.local",
            lifetimes: Lifetimes::default(),
            now,
        };
        let opened = Authority::from_pem(named, &pem, &terms).unwrap();
        assert_eq!(opened.roots_pem(), pem.ca_cert);
        // Istio's own leaves these two empty.
        let mut upstream = stored;
        for key in ["root-cert.pem", "cert-chain.pem"] {
            upstream["data"][key] = "".into();
        }
        let pem = parse(&upstream).unwrap();
        let opened = Authority::from_pem(named, &pem, &terms).unwrap();
        assert_eq!(opened.roots_pem(), pem.ca_cert);
        upstream["data"]["ca-key.pem"] = "&".into();
        assert!(matches!(
            parse(&upstream),
            Err(AuthorityError::Part { key: "ca-key.pem" })
        ));
    }
}
