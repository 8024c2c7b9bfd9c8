//! The archive: layout, index, manifest, configuration, layer.
//! In: a tree and its configuration. Out: a file, replaced as a whole; the digest of its manifest.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tar::{Builder, EntryType};

use super::tree::header;
use super::{Configuration, Digest, Tree};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIGURATION: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Blobs by digest, so that they are written in the same order always.
#[derive(Default)]
struct Blobs(BTreeMap<String, Vec<u8>>);

impl Blobs {
    /// Keeps a blob and gives its descriptor.
    fn add(&mut self, media: &str, bytes: Vec<u8>) -> Value {
        let digest = Digest::of(&bytes);
        let descriptor =
            json!({"mediaType": media, "digest": digest.to_string(), "size": bytes.len()});
        self.0.insert(digest.hex().to_owned(), bytes);
        descriptor
    }
}

/// Writes the archive of an image.
///
/// # Errors
/// A file of the tree that cannot be read, an archive that cannot be written.
pub fn write(path: &Path, configuration: &Configuration, tree: &Tree) -> Result<Digest> {
    let mut blobs = Blobs::default();
    let layer = blobs.add(LAYER, tree.layer()?);
    let config = blobs.add(CONFIGURATION, container(configuration, &layer["digest"])?);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config,
        "layers": [layer],
    });
    let manifest = serde_json::to_vec(&manifest).context("write a manifest")?;
    let digest = Digest::of(&manifest);
    let descriptor = blobs.add(MANIFEST, manifest);
    let named = configuration.references.iter().map(|reference| {
        let mut descriptor = descriptor.clone();
        let tag = reference.rsplit(':').next().unwrap_or_default();
        // containerd takes the first, other tools the second.
        descriptor["annotations"] = json!({
            "io.containerd.image.name": reference,
            "org.opencontainers.image.ref.name": tag,
        });
        descriptor["platform"] = json!({"architecture": architecture(), "os": "linux"});
        descriptor
    });
    let named: Vec<Value> = named.collect();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": named});
    let index = serde_json::to_vec(&index).context("write an index")?;
    pack(path, &index, &blobs).with_context(|| path.display().to_string())?;
    Ok(digest)
}

/// The names of architectures are those of Go.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn container(configuration: &Configuration, layer: &Value) -> Result<Vec<u8>> {
    let mut environment = vec!["PATH=/usr/local/bin:/usr/bin:/bin:/sbin".to_owned()];
    environment.extend(configuration.environment.iter().cloned());
    let ports: BTreeMap<&str, Value> = configuration
        .ports
        .iter()
        .map(|port| (port.as_str(), json!({})))
        .collect();
    let mut config = json!({"Env": environment, "Labels": configuration.labels});
    let optional = [
        (
            "Entrypoint",
            json!(configuration.entrypoint),
            configuration.entrypoint.is_empty(),
        ),
        (
            "Cmd",
            json!(configuration.command),
            configuration.command.is_empty(),
        ),
        (
            "User",
            json!(configuration.user),
            configuration.user.is_empty(),
        ),
        (
            "WorkingDir",
            json!(configuration.working_directory),
            configuration.working_directory.is_empty(),
        ),
        ("ExposedPorts", json!(ports), ports.is_empty()),
    ];
    for (key, value, _) in optional.into_iter().filter(|(_, _, absent)| !absent) {
        config[key] = value;
    }
    let image = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [layer]},
    });
    serde_json::to_vec(&image).context("write a configuration")
}

/// Writes beside the archive first, so that nobody reads half of one.
fn pack(path: &Path, index: &[u8], blobs: &Blobs) -> Result<()> {
    let unfinished = path.with_extension("unfinished");
    crate::process::directory(path.parent().context("an archive is in a directory")?)?;
    let mut tar = Builder::new(BufWriter::new(File::create(&unfinished)?));
    let mut put = |name: &str, bytes: &[u8]| {
        let mut header = header(EntryType::Regular, 0o644, bytes.len() as u64);
        tar.append_data(&mut header, name, bytes)
    };
    put("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    put("index.json", index)?;
    for (hex, bytes) in &blobs.0 {
        put(&format!("blobs/sha256/{hex}"), bytes)?;
    }
    tar.into_inner()?.flush()?;
    std::fs::rename(&unfinished, path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Configuration, Content, Digest, Tree};
    use super::write;
    use std::collections::BTreeMap;
    use std::io::Read as _;
    use std::path::Path;

    fn image() -> (Configuration, Tree) {
        let mut tree = Tree::new();
        tree.file("usr/bin/one", Content::Bytes(b"program".to_vec()), 0o755)
            .link("bin/one", "../usr/bin/one")
            .directory("tmp", 0o1777);
        let configuration = Configuration {
            references: vec![
                "registry.test/dir/one:2".to_owned(),
                "other.test/one:latest".to_owned(),
            ],
            entrypoint: vec!["/usr/bin/one".to_owned()],
            user: "1337:1337".to_owned(),
            ..Configuration::default()
        };
        (configuration, tree)
    }

    fn files(path: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(std::fs::File::open(path).unwrap());
        let mut files = BTreeMap::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            files.insert(name, bytes);
        }
        files
    }

    #[test]
    fn the_same_tree_gives_the_same_archive() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("1.tar"), dir.path().join("2.tar"));
        let (configuration, tree) = image();
        let first = write(&one, &configuration, &tree).unwrap();
        assert_eq!(first, write(&two, &configuration, &tree).unwrap());
        assert_eq!(std::fs::read(one).unwrap(), std::fs::read(two).unwrap());
    }

    #[test]
    fn every_blob_is_what_its_name_says_and_is_reachable_from_the_index() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("one.tar");
        let (configuration, tree) = image();
        let digest = write(&path, &configuration, &tree).unwrap();
        let files = files(&path);
        let blob = |descriptor: &serde_json::Value| {
            let name = descriptor["digest"]
                .as_str()
                .unwrap()
                .replace("sha256:", "blobs/sha256/");
            let bytes = &files[&name];
            assert_eq!(Digest::of(bytes).to_string(), descriptor["digest"]);
            assert_eq!(descriptor["size"], bytes.len());
            bytes.clone()
        };
        let index: serde_json::Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let descriptor = &index["manifests"][0];
        assert_eq!(descriptor["digest"], digest.to_string());
        assert_eq!(
            descriptor["annotations"]["io.containerd.image.name"],
            "registry.test/dir/one:2"
        );
        assert_eq!(
            index["manifests"][1]["annotations"]["io.containerd.image.name"],
            "other.test/one:latest"
        );
        assert_eq!(index["manifests"][1]["digest"], descriptor["digest"]);
        let manifest: serde_json::Value = serde_json::from_slice(&blob(descriptor)).unwrap();
        let config: serde_json::Value = serde_json::from_slice(&blob(&manifest["config"])).unwrap();
        assert_eq!(config["config"]["User"], "1337:1337");
        assert_eq!(config["config"].get("Cmd"), None);
        assert_eq!(
            config["rootfs"]["diff_ids"][0],
            manifest["layers"][0]["digest"]
        );
        let layer = dir.path().join("layer.tar");
        std::fs::write(&layer, blob(&manifest["layers"][0])).unwrap();
        let mut names = Vec::new();
        for entry in tar::Archive::new(std::fs::File::open(layer).unwrap())
            .entries()
            .unwrap()
        {
            let entry = entry.unwrap();
            assert_eq!(
                (
                    entry.header().mtime().unwrap(),
                    entry.header().uid().unwrap()
                ),
                (0, 0)
            );
            names.push(entry.path().unwrap().display().to_string());
        }
        assert_eq!(
            names,
            ["bin/", "bin/one", "tmp/", "usr/", "usr/bin/", "usr/bin/one"]
        );
    }
}
