//! Keys and certificates in the CA directory: read, made on first use, renewed near their end.
//! A key file is only ever written with mode 0600, beside its final name, and then renamed.

use super::{BACKDATE, serial, set_validity};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Ten years.
const ROOT_LIFETIME: Duration = Duration::from_secs(3650 * 24 * 3600);

/// Why the CA directory cannot be used.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A key or a certificate cannot be parsed or made.
    #[error("{path} is not usable: {what}")]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// What an authority is made of.
pub(super) struct Material {
    pub(super) issuer: Issuer<'static, KeyPair>,
    pub(super) intermediates: Vec<String>,
    pub(super) roots: String,
    pub(super) not_after: SystemTime,
}

pub(super) fn open(dir: &Path, trust_domain: &str, now: SystemTime) -> Result<Material, OpenError> {
    if dir.join("ca-key.pem").exists() {
        plugged(dir)
    } else {
        self_signed(dir, trust_domain, now)
    }
}

fn plugged(dir: &Path) -> Result<Material, OpenError> {
    let roots = read(&dir.join("root-cert.pem"))?;
    let path = dir.join("ca-cert.pem");
    let signing = read(&path)?;
    let signing_der = one(&path, &signing)?;
    let key = key(&dir.join("ca-key.pem"))?;
    check_pair(&path, &signing_der, &key)?;
    let chain_path = dir.join("cert-chain.pem");
    let mut chain = vec![signing_der.clone()];
    if chain_path.exists() {
        for der in all(&chain_path, &read(&chain_path)?)? {
            if !chain.contains(&der) {
                chain.push(der);
            }
        }
    }
    let root_ders = all(&dir.join("root-cert.pem"), &roots)?;
    // Chain files often end with the root, which goes into the last element of a reply instead.
    chain.retain(|der| !root_ders.contains(der));
    let mut not_after = end(&path, &signing_der)?;
    for der in &chain {
        not_after = not_after.min(end(&chain_path, der)?);
    }
    Ok(Material {
        issuer: issuer(&path, &signing_der, key)?,
        intermediates: chain.iter().map(pem).collect(),
        roots,
        not_after,
    })
}

fn self_signed(dir: &Path, trust_domain: &str, now: SystemTime) -> Result<Material, OpenError> {
    fs::create_dir_all(dir).map_err(|source| OpenError::Write {
        path: dir.to_owned(),
        source,
    })?;
    let (cert_path, key_path) = (dir.join("root-cert.pem"), dir.join("root-key.pem"));
    let key = if key_path.exists() {
        key(&key_path)?
    } else {
        let made =
            KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|e| content(&key_path, &e))?;
        write(&key_path, made.serialize_pem().as_bytes(), 0o600)?;
        made
    };
    let mut roots = match cert_path.exists() {
        true => read(&cert_path)?,
        false => make_root(&cert_path, trust_domain, &key, now)?,
    };
    let mut der = one(&cert_path, &roots)?;
    // The key stays, so leaves signed before the renewal still verify.
    if end(&cert_path, &der)? < now + ROOT_LIFETIME / 5 {
        roots = make_root(&cert_path, trust_domain, &key, now)?;
        der = one(&cert_path, &roots)?;
    }
    check_pair(&cert_path, &der, &key)?;
    Ok(Material {
        not_after: end(&cert_path, &der)?,
        issuer: issuer(&cert_path, &der, key)?,
        intermediates: Vec::new(),
        roots,
    })
}

fn make_root(
    path: &Path,
    trust_domain: &str,
    key: &KeyPair,
    now: SystemTime,
) -> Result<String, OpenError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, trust_domain);
    set_validity(&mut params, now - BACKDATE, now + ROOT_LIFETIME);
    params.serial_number = Some(serial());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let root = params
        .self_signed(key)
        .map_err(|e| content(path, &e))?
        .pem();
    write(path, root.as_bytes(), 0o644)?;
    Ok(root)
}

fn issuer(
    path: &Path,
    der: &CertificateDer<'_>,
    key: KeyPair,
) -> Result<Issuer<'static, KeyPair>, OpenError> {
    Issuer::from_ca_cert_der(der, key).map_err(|e| content(path, &e))
}

fn key(path: &Path) -> Result<KeyPair, OpenError> {
    KeyPair::from_pem(&read(path)?).map_err(|e| content(path, &e))
}

fn check_pair(path: &Path, der: &CertificateDer<'_>, key: &KeyPair) -> Result<(), OpenError> {
    let cert = parse(path, der)?;
    if cert.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
        return Err(content(path, &"the key beside it is not its own"));
    }
    if !cert.is_ca() {
        return Err(content(path, &"it is not a certificate authority's"));
    }
    Ok(())
}

fn end(path: &Path, der: &CertificateDer<'_>) -> Result<SystemTime, OpenError> {
    let seconds = parse(path, der)?.validity().not_after.timestamp();
    Ok(UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

fn parse<'a>(path: &Path, der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, OpenError> {
    match X509Certificate::from_der(der) {
        Ok((_, cert)) => Ok(cert),
        Err(e) => Err(content(path, &e)),
    }
}

fn one(path: &Path, pem: &str) -> Result<CertificateDer<'static>, OpenError> {
    all(path, pem)?
        .into_iter()
        .next()
        .ok_or_else(|| content(path, &"there is no certificate in it"))
}

fn all(path: &Path, pem: &str) -> Result<Vec<CertificateDer<'static>>, OpenError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|e| content(path, &format!("{e:?}")))
}

/// One certificate as PEM (RFC 7468).
fn pem(der: &CertificateDer<'static>) -> String {
    let encoded = STANDARD.encode(der);
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = tail;
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}

fn content(path: &Path, what: &dyn ToString) -> OpenError {
    OpenError::Content {
        path: path.to_owned(),
        what: what.to_string(),
    }
}

fn read(path: &Path) -> Result<String, OpenError> {
    fs::read_to_string(path).map_err(|source| OpenError::Read {
        path: path.to_owned(),
        source,
    })
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), OpenError> {
    let failed = |source| OpenError::Write {
        path: path.to_owned(),
        source,
    };
    let beside = path.with_extension("pem.new");
    // A leftover of a crash may have another mode.
    match fs::remove_file(&beside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&beside)
        .map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)
}
