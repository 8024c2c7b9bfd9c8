//! A signer of CertificateSigningRequests, as `kubectl` lets its people be one: a root, an intermediate below it; what is
//! approved is signed. Where it is asked to, it also approves and denies.
//! In: requests as `kubectl get --watch` tells of them. Out: certificates in their status. Owns its watch.

use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType, SerialNumber, date_time_ymd,
};
use serde_json::{Deserializer, Value, json};

use crate::site::{Site, say};

/// `signerName` of what it signs.
const NAME: &str = "ambit.test/mesh";
/// Serial number of its root, as `ambit` shows it.
pub(super) const ROOT_SERIAL: &str = "a11ce0f7e57";
const SERIAL: [u8; 6] = [0x0a, 0x11, 0xce, 0x0f, 0x7e, 0x57];
const KIND: &str = "certificatesigningrequests";

/// The signer.
pub(super) struct Signer {
    root: String,
    intermediate: String,
    issuer: Issuer<'static, KeyPair>,
    /// End of identities it denies; with `None` it judges nobody.
    denied: Mutex<Option<String>>,
    ended: AtomicBool,
    watch: Mutex<Option<Child>>,
}

/// Ends a signer when the steps end, however they do.
pub(super) struct Until<'a>(pub(super) &'a Signer);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::SeqCst);
        if let Some(watch) = &mut *held(&self.0.watch) {
            // One that has just ended by itself cannot be killed.
            let _ = watch.kill();
        }
    }
}

impl Signer {
    /// Makes a root and an intermediate.
    pub(super) fn new() -> Result<Self> {
        let (root_key, key) = (KeyPair::generate()?, KeyPair::generate()?);
        let mut params = authority("root");
        params.serial_number = Some(SerialNumber::from_slice(&SERIAL));
        let root = params.self_signed(&root_key)?;
        let above = Issuer::new(params, root_key);
        let intermediate = authority("signer").signed_by(&key, &above)?;
        Ok(Self {
            root: root.pem(),
            intermediate: intermediate.pem(),
            issuer: Issuer::new(authority("signer"), key),
            denied: Mutex::default(),
            ended: AtomicBool::new(false),
            watch: Mutex::default(),
        })
    }

    /// Its root, PEM.
    pub(super) fn root(&self) -> &str {
        &self.root
    }

    /// The Secret that tells a controller of it.
    pub(super) fn secret(&self, namespace: &str) -> String {
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "external-ca-cert", "namespace": namespace},
            "stringData": {"root-cert.pem": self.root},
        })
        .to_string()
    }

    /// From now on it approves, but for identities that end so.
    pub(super) fn judge(&self, denied: &str) {
        *held(&self.denied) = Some(denied.to_owned());
    }

    /// Runs until [`Until`] is dropped.
    pub(super) fn run(&self, site: &Site) {
        while !self.ended.load(Ordering::SeqCst) {
            if let Err(error) = self.follow(site)
                && !self.ended.load(Ordering::SeqCst)
            {
                say(&format!("the signer: {error:#}"));
                std::thread::sleep(Duration::from_millis(500));
            }
        }
    }

    /// One watch, to its end.
    fn follow(&self, site: &Site) -> Result<()> {
        let words = ["get", KIND, "--watch", "--output=json"];
        let mut command = site.kubectl_command(&words)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().context("start a watch")?;
        let told = child.stdout.take().context("its output")?;
        {
            let mut watch = held(&self.watch);
            *watch = Some(child);
            if self.ended.load(Ordering::SeqCst)
                && let Some(child) = &mut *watch
            {
                let _ = child.kill();
            }
        }
        let mut done = Ok(());
        for request in Deserializer::from_reader(told).into_iter::<Value>() {
            let Ok(request) = request else { break };
            done = self.one(site, &request);
            if done.is_err() {
                break;
            }
        }
        if let Some(mut child) = held(&self.watch).take() {
            let _ = child.kill();
            child.wait().context("wait for a watch")?;
        }
        done
    }

    fn one(&self, site: &Site, request: &Value) -> Result<()> {
        let name = request["metadata"]["name"].as_str().context("a name")?;
        if request["spec"]["signerName"] != NAME || !request["status"]["certificate"].is_null() {
            return Ok(());
        }
        let conditions = request["status"]["conditions"].as_array();
        let kinds = conditions.into_iter().flatten().map(|c| &c["type"]);
        let kinds: Vec<&Value> = kinds.collect();
        let asked = request["spec"]["request"].as_str().context("a request")?;
        let pem = String::from_utf8(STANDARD.decode(asked)?)?;
        let asked = CertificateSigningRequestParams::from_pem(&pem)?;
        if kinds.is_empty() {
            return self.judged(site, name, &asked);
        }
        if kinds.iter().any(|kind| *kind != "Approved") {
            return Ok(());
        }
        let certificate = self.signed(asked, &request["spec"])?;
        let status = json!({"status": {"certificate": STANDARD.encode(certificate)}});
        let patch = format!("--patch={status}");
        let words = [
            "patch",
            KIND,
            name,
            "--subresource=status",
            "--type=merge",
            &patch,
        ];
        gone_or(site.kubectl(&words))
    }

    fn judged(
        &self,
        site: &Site,
        name: &str,
        asked: &CertificateSigningRequestParams,
    ) -> Result<()> {
        let Some(denied) = held(&self.denied).clone() else {
            return Ok(());
        };
        let names = &asked.params.subject_alt_names;
        let is_denied =
            |name: &SanType| matches!(name, SanType::URI(uri) if uri.as_str().ends_with(&denied));
        let verb = match names.iter().any(is_denied) {
            true => "deny",
            false => "approve",
        };
        gone_or(site.kubectl(&["certificate", verb, name]))
    }

    /// Leaf and intermediate, as signers write them.
    fn signed(&self, mut asked: CertificateSigningRequestParams, spec: &Value) -> Result<String> {
        let seconds = spec["expirationSeconds"].as_u64().unwrap_or(3600);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        let begun = date_time_ymd(1970, 1, 1) + now;
        asked.params.not_before = begun - Duration::from_secs(60);
        asked.params.not_after = begun + Duration::from_secs(seconds);
        let usages = spec["usages"].as_array().context("usages")?;
        let usage = |usage: &Value| match usage.as_str() {
            Some("server auth") => Some(ExtendedKeyUsagePurpose::ServerAuth),
            Some("client auth") => Some(ExtendedKeyUsagePurpose::ClientAuth),
            _ => None,
        };
        asked.params.extended_key_usages = usages.iter().filter_map(usage).collect();
        let leaf = asked.signed_by(&self.issuer)?;
        Ok(format!("{}{}", leaf.pem(), self.intermediate))
    }
}

/// A request that is gone needs no answer.
fn gone_or(done: Result<String>) -> Result<()> {
    match done {
        Err(error) if !error.to_string().contains("NotFound") => bail!(error),
        _ => Ok(()),
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}
