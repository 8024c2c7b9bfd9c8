//! Certificates of a cluster and the kubeconfigs that carry them.
//! In: nodes. Out: files in `pki/`, `admin.conf`. Made once; a cluster that is up again keeps them.
//! Valid for any time: the cluster ends before that matters.
//! Spec: Kubernetes "PKI certificates and requirements".

use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use serde_json::json;

use crate::names::{API_SERVICE, CONTROL_PLANE, NodeNumber};
use crate::process;
use crate::state::Directory;

/// The name under which the API server calls kubelets; bound to a role by the base manifests.
const KUBELET_CLIENT: &str = "kube-apiserver-kubelet-client";

/// A certificate to make.
#[derive(Default)]
struct Wanted<'a> {
    file: &'a str,
    common_name: &'a str,
    organization: Option<&'a str>,
    names: Vec<String>,
    addresses: Vec<IpAddr>,
}

/// Makes everything, unless it is there.
pub(crate) fn make(directory: &Directory, nodes: &[NodeNumber]) -> Result<()> {
    let dir = directory.pki();
    if dir.join("complete").exists() {
        return Ok(());
    }
    let ca = authority(&dir, "ca", "kubernetes-ca")?;
    let front = authority(&dir, "front", "front-proxy-ca")?;
    let accounts = KeyPair::generate().context("make the key of service accounts")?;
    process::write(&dir.join("sa.key"), accounts.serialize_pem())?;
    process::write(&dir.join("sa.pub"), accounts.public_key_pem())?;
    issue(&dir, &ca, &api_server())?;
    issue(&dir, &ca, &client("apiserver-kubelet", KUBELET_CLIENT))?;
    issue(&dir, &front, &client("front-client", "front-proxy-client"))?;
    let admin = Wanted {
        organization: Some("system:masters"),
        ..client("admin", "kubernetes-admin")
    };
    let mut users = vec![
        admin,
        client("controllers", "system:kube-controller-manager"),
        client("scheduler", "system:kube-scheduler"),
        client("kube-proxy", "system:kube-proxy"),
    ];
    let of_nodes: Vec<_> = nodes
        .iter()
        .map(|n| (*n, format!("kubelet-{n}"), format!("system:node:{n}")))
        .collect();
    users.extend(of_nodes.iter().map(|(node, file, user)| Wanted {
        organization: Some("system:nodes"),
        names: vec![node.to_string()],
        addresses: vec![node.address().into(), node.address_v6().into()],
        ..client(file, user)
    }));
    for user in &users {
        issue(&dir, &ca, user)?;
        kubeconfig(&dir, user.file)?;
    }
    let admin = dir.join("admin.conf");
    std::fs::copy(&admin, directory.admin()).with_context(|| admin.display().to_string())?;
    process::write(&dir.join("complete"), "")
}

fn client<'a>(file: &'a str, common_name: &'a str) -> Wanted<'a> {
    Wanted {
        file,
        common_name,
        ..Wanted::default()
    }
}

fn api_server() -> Wanted<'static> {
    let names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
    ];
    Wanted {
        names: names.map(str::to_owned).to_vec(),
        addresses: vec![
            API_SERVICE.into(),
            CONTROL_PLANE.into(),
            IpAddr::from([127, 0, 0, 1]),
        ],
        ..client("apiserver", "kube-apiserver")
    }
}

fn authority(dir: &Path, file: &str, name: &str) -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    let key = KeyPair::generate().with_context(|| format!("make the key of {name}"))?;
    process::write(&dir.join(format!("{file}.key")), key.serialize_pem())?;
    let issuer =
        CertifiedIssuer::self_signed(params, key).with_context(|| format!("sign {name}"))?;
    process::write(&dir.join(format!("{file}.crt")), issuer.pem())?;
    Ok(issuer)
}

fn issue(
    dir: &Path,
    issuer: &CertifiedIssuer<'static, KeyPair>,
    wanted: &Wanted<'_>,
) -> Result<()> {
    let context = || format!("make the certificate of {}", wanted.common_name);
    let mut params = CertificateParams::new(wanted.names.clone()).with_context(context)?;
    params.subject_alt_names.extend(
        wanted
            .addresses
            .iter()
            .map(|address| SanType::IpAddress(*address)),
    );
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, wanted.common_name);
    if let Some(organization) = wanted.organization {
        params
            .distinguished_name
            .push(DnType::OrganizationName, organization);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::ServerAuth,
    ];
    let key = KeyPair::generate().with_context(context)?;
    let certificate = params.signed_by(&key, issuer).with_context(context)?;
    process::write(
        &dir.join(format!("{}.key", wanted.file)),
        key.serialize_pem(),
    )?;
    process::write(&dir.join(format!("{}.crt", wanted.file)), certificate.pem())
}

/// Writes `<user>.conf` with everything in it, so that it works from anywhere.
fn kubeconfig(dir: &Path, user: &str) -> Result<()> {
    let file = |name: String| process::read(&dir.join(name)).map(|text| STANDARD.encode(text));
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": {
            "server": format!("https://{CONTROL_PLANE}:6443"),
            "certificate-authority-data": file("ca.crt".to_owned())?,
        }}],
        "users": [{"name": user, "user": {
            "client-certificate-data": file(format!("{user}.crt"))?,
            "client-key-data": file(format!("{user}.key"))?,
        }}],
        "contexts": [{"name": "cluster", "context": {"cluster": "cluster", "user": user}}],
        "current-context": "cluster",
    });
    process::write(
        &dir.join(format!("{user}.conf")),
        serde_json::to_vec_pretty(&config)?,
    )
}
