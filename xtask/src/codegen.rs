//! What is generated and checked in: Rust from protobuf sources, CustomResourceDefinitions.
//! In: `common/api/proto`, the tables of `crds`. Out: messages in `common/api/src/gen`, gRPC stubs in
//! the crates that own them, `deploy/crds`. Needs no protoc: protox compiles the sources. `--check` proves nothing drifted.

use crate::crds;
use anyhow::{Context, Result, bail};
use prost::Message;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Options of `cargo xtask codegen`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fail if the checked-in code is not what the sources give
    #[arg(long)]
    check: bool,
}

const PROTO: &str = "common/api/proto";
const MESSAGES: &str = "common/api/src/gen";
/// (source file, where its gRPC stubs live)
const SERVICES: [(&str, &str); 2] = [
    ("discovery.proto", "common/xds/src/gen"),
    ("ca.proto", "common/identity/src/gen"),
];

/// Generates all code, or compares it with `--check`.
pub(crate) fn run(args: &Args) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask has a parent directory")?;
    let mut drifted = Vec::new();
    let mut all = generate(&root.join(PROTO))?;
    all.extend(crds::generate()?);
    for (path, text) in all {
        let file = root.join(&path);
        if args.check {
            if std::fs::read_to_string(&file).ok().as_deref() != Some(text.as_str()) {
                drifted.push(path);
            }
            continue;
        }
        std::fs::create_dir_all(file.parent().context("generated files have a directory")?)?;
        std::fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
    }
    if !drifted.is_empty() {
        bail!("generated code differs from its source: {drifted:?}; run `cargo xtask codegen`");
    }
    Ok(())
}

/// Everything that is generated: path below the root → text.
fn generate(proto: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let mut sources: Vec<String> = std::fs::read_dir(proto)?
        .map(|e| Ok(e?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    sources.retain(|name| name.ends_with(".proto"));
    sources.sort();
    let descriptors = protox::compile(&sources, [proto])?;
    // protox and the generator may use different releases of the descriptor types: pass bytes.
    let descriptors = Message::decode(descriptors.encode_to_vec().as_slice())?;

    let scratch = tempdir()?;
    let mut out = BTreeMap::new();
    let messages = scratch.join("messages");
    std::fs::create_dir_all(&messages)?;
    tonic_prost_build::configure()
        .build_client(false)
        .build_server(false)
        .btree_map(".")
        .emit_rerun_if_changed(false)
        .out_dir(&messages)
        .compile_fds(descriptors)?;
    collect(&messages, Path::new(MESSAGES), &mut out)?;

    for (source, target) in SERVICES {
        let dir = scratch.join(source);
        std::fs::create_dir_all(&dir)?;
        let one = protox::compile([source], [proto])?;
        let one: prost_types::FileDescriptorSet = Message::decode(one.encode_to_vec().as_slice())?;
        tonic_prost_build::configure()
            .extern_path(".envoy.service.discovery.v3", "::ambit_api::discovery")
            .extern_path(".istio.v1.auth", "::ambit_api::ca")
            .emit_rerun_if_changed(false)
            .out_dir(&dir)
            .compile_fds(one)?;
        collect(&dir, Path::new(target), &mut out)?;
    }
    std::fs::remove_dir_all(&scratch)?;
    Ok(out)
}

fn tempdir() -> Result<PathBuf> {
    let dir = std::env::temp_dir().join(format!("ambit-codegen-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}

fn collect(from: &Path, to: &Path, out: &mut BTreeMap<PathBuf, String>) -> Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let text = std::fs::read_to_string(entry.path())?;
        if !text.trim().is_empty() && !entry.file_name().to_string_lossy().starts_with("google.") {
            out.insert(to.join(entry.file_name()), text);
        }
    }
    Ok(())
}
