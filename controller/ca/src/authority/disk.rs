//! Keys and certificates in the CA directory: read, made on first use, renewed near their end.
//! A key file is only ever written with mode 0600, beside its final name, and then renamed.

use super::SelfSigned;
use super::error::OpenError;
use super::material::Pem;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Lists of revoked certificates.
const CRL: &str = "ca-crl.pem";
/// Link that a kubelet turns to the next version of a mounted Secret, all files at once.
const VERSION: &str = "..data";

/// The authority in `dir`: plugged in, else self-signed, which is made on first use.
pub(super) fn load(dir: &Path, form: &SelfSigned<'_>, now: SystemTime) -> Result<Pem, OpenError> {
    match plugged(dir)? {
        Some(pem) => Ok(pem),
        None => self_signed(dir, form, now),
    }
}

/// The plugged-in authority in `dir`, under Istio's names or those of a TLS Secret; `None` when there is no
/// key in it.
pub(super) fn plugged(dir: &Path) -> Result<Option<Pem>, OpenError> {
    // One version throughout, also when it is replaced while we read.
    let dir = match fs::canonicalize(dir.join(VERSION)) {
        Ok(version) => version,
        Err(_) => dir.to_owned(),
    };
    let there = |name: &str| Some(dir.join(name)).filter(|path| path.exists());
    let optional = |name: &str| there(name).map_or(Ok(String::new()), |path| read(&path));
    if let Some(key) = there("ca-key.pem") {
        return Ok(Some(Pem {
            ca_cert: read(&dir.join("ca-cert.pem"))?,
            ca_key: read(&key)?,
            cert_chain: optional("cert-chain.pem")?,
            root_cert: read(&dir.join("root-cert.pem"))?,
            crl: optional(CRL)?,
        }));
    }
    let Some(key) = there("tls.key") else {
        return Ok(None);
    };
    let chain = read(&dir.join("tls.crt"))?;
    Ok(Some(Pem {
        ca_cert: chain.clone(),
        ca_key: read(&key)?,
        cert_chain: chain,
        root_cert: read(&dir.join("ca.crt"))?,
        crl: optional(CRL)?,
    }))
}

fn self_signed(dir: &Path, form: &SelfSigned<'_>, now: SystemTime) -> Result<Pem, OpenError> {
    fs::create_dir_all(dir).map_err(|source| OpenError::Write {
        path: dir.to_owned(),
        source,
    })?;
    let (cert, key) = parts(dir);
    let pem = match (key.exists(), cert.exists()) {
        (true, true) => Pem::of_root(read(&cert)?, read(&key)?),
        (true, false) => Pem::of_key(form, read(&key)?, now)?,
        (false, _) => Pem::self_signed(form, now)?,
    };
    if !key.exists() {
        write(&key, pem.ca_key.as_bytes(), 0o600)?;
    }
    match pem.renewed(form, now)? {
        Some(renewed) => write(&cert, renewed.ca_cert.as_bytes(), 0o644).map(|()| renewed),
        None if cert.exists() => Ok(pem),
        None => write(&cert, pem.ca_cert.as_bytes(), 0o644).map(|()| pem),
    }
}

fn parts(dir: &Path) -> (PathBuf, PathBuf) {
    (dir.join("root-cert.pem"), dir.join("root-key.pem"))
}

/// Where the roots are that proxies of a directory's mesh trust.
pub(super) fn published(dir: &Path) -> PathBuf {
    dir.join("published/root-cert.pem")
}

/// The published roots and since when they are; `None` when there are none yet.
pub(super) fn read_published(dir: &Path) -> Result<Option<(String, SystemTime)>, OpenError> {
    let path = published(dir);
    let failed = |source| OpenError::Read {
        path: path.clone(),
        source,
    };
    match fs::metadata(&path) {
        Ok(meta) => {
            let since = meta.modified().map_err(failed)?;
            Ok(Some((read(&path)?, since)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Publishes lists of revoked certificates, if they are others than are published.
pub(super) fn publish_crl(dir: &Path, pem: &str) -> Result<(), OpenError> {
    let path = dir.join("published").join(CRL);
    if fs::read_to_string(&path).unwrap_or_default() == pem {
        return Ok(());
    }
    if pem.is_empty() {
        let gone = fs::remove_file(&path);
        return gone.map_err(|source| OpenError::Write { path, source });
    }
    write(&path, pem.as_bytes(), 0o644)
}

/// Publishes roots.
pub(super) fn publish(dir: &Path, pem: &str) -> Result<(), OpenError> {
    let path = published(dir);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|source| OpenError::Write {
            path: parent.to_owned(),
            source,
        })?;
    }
    write(&path, pem.as_bytes(), 0o644)
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
