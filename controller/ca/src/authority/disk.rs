//! Keys and certificates in the CA directory: read, made on first use, renewed near their end.
//! A key file is only ever written with mode 0600, beside its final name, and then renamed.

use super::error::OpenError;
use super::material::{Material, Pem, ROOT_LIFETIME, content, end, key, one, root};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

pub(super) fn open(dir: &Path, trust_domain: &str, now: SystemTime) -> Result<Material, OpenError> {
    if dir.join("ca-key.pem").exists() {
        plugged(dir)
    } else {
        self_signed(dir, trust_domain, now)
    }
}

fn plugged(dir: &Path) -> Result<Material, OpenError> {
    let optional = |name: &str| {
        let path = dir.join(name);
        if path.exists() {
            read(&path)
        } else {
            Ok(String::new())
        }
    };
    let pem = Pem {
        ca_cert: read(&dir.join("ca-cert.pem"))?,
        ca_key: read(&dir.join("ca-key.pem"))?,
        cert_chain: optional("cert-chain.pem")?,
        root_cert: read(&dir.join("root-cert.pem"))?,
    };
    Material::new(dir, &pem)
}

fn self_signed(dir: &Path, trust_domain: &str, now: SystemTime) -> Result<Material, OpenError> {
    fs::create_dir_all(dir).map_err(|source| OpenError::Write {
        path: dir.to_owned(),
        source,
    })?;
    let (cert_path, key_path) = (dir.join("root-cert.pem"), dir.join("root-key.pem"));
    let key = if key_path.exists() {
        key(&key_path, &read(&key_path)?)?
    } else {
        let made =
            KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|e| content(&key_path, &e))?;
        write(&key_path, made.serialize_pem().as_bytes(), 0o600)?;
        made
    };
    let make = || {
        let made = root(&cert_path, trust_domain, &key, now)?;
        write(&cert_path, made.as_bytes(), 0o644)?;
        Ok::<_, OpenError>(made)
    };
    let mut roots = match cert_path.exists() {
        true => read(&cert_path)?,
        false => make()?,
    };
    // The key stays, so leaves signed before the renewal still verify.
    if end(&cert_path, &one(&cert_path, &roots)?)? < now + ROOT_LIFETIME / 5 {
        roots = make()?;
    }
    Material::of_root(&cert_path, &roots, key)
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
