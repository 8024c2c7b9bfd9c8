//! The record of an installation: a ConfigMap in the mesh's namespace, one of each revision.
//! It says what was chosen and holds the rendered objects, compressed: of the installation itself, and of
//! the one before, which is what a rollback applies. While an upgrade is under way it says that, too.

use std::io::{Read as _, Write as _};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::choice::{Choice, Chosen};
use crate::cluster::Cluster;
use crate::install::{AMBIT, PART_OF};

/// Its name; that of another revision than the default one follows.
pub(crate) const RECORD: &str = "ambit-installed";
/// More than any rendering has; a record that claims more is broken.
const LARGEST: u64 = 16 << 20;

/// One installation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Installed {
    /// Profile it started from
    pub(crate) profile: String,
    /// Version of the command that rendered it
    pub(crate) version: String,
    /// Settings over the profile, as JSON
    pub(crate) settings: String,
    /// Rendered objects, as [`pack`] writes them; empty where none were kept
    pub(crate) objects: String,
}

/// What the ConfigMap holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// Of which revision; empty: the default one
    pub(crate) revision: String,
    /// What runs
    pub(crate) current: Installed,
    /// What ran before
    pub(crate) previous: Option<Installed>,
    /// What an unfinished upgrade leads to
    pub(crate) pending: Option<Installed>,
}

impl Installed {
    /// Of what was chosen now.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub(crate) fn of(chosen: &Chosen) -> Result<Self> {
        Ok(Self {
            profile: chosen.profile.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            settings: serde_json::to_string(chosen.settings.changed())?,
            objects: pack(&chosen.objects().cloned().collect::<Vec<_>>())?,
        })
    }

    /// The choice that leads there, with the manifests of this command.
    ///
    /// # Errors
    /// If the settings cannot be read.
    pub(crate) fn choice(&self) -> Result<Choice> {
        let changed: Map<String, Value> =
            serde_json::from_str(&self.settings).context("the record of the installation")?;
        let set = |(key, value): (String, Value)| match value {
            Value::String(text) => format!("{key}={text}"),
            other => format!("{key}={other}"),
        };
        Ok(Choice {
            profile: Some(self.profile.clone()),
            sets: changed.into_iter().map(set).collect(),
            files: Vec::new(),
        })
    }

    /// The objects, as they were applied.
    ///
    /// # Errors
    /// If the record is broken.
    pub(crate) fn objects(&self) -> Result<Vec<Value>> {
        unpack(&self.objects).context("the objects in the record of the installation")
    }
}

impl Record {
    /// Objects that are there, or are about to be.
    ///
    /// # Errors
    /// If the record is broken.
    pub(crate) fn objects(&self) -> Result<Vec<Value>> {
        let mut objects = self.current.objects()?;
        if let Some(pending) = &self.pending {
            objects.extend(pending.objects()?);
        }
        Ok(objects)
    }

    /// The record after `next` was installed: what ran becomes what ran before, unless it is the same.
    #[must_use]
    pub(crate) fn followed_by(self, next: Installed) -> Self {
        let previous = if self.current.objects == next.objects {
            self.previous
        } else {
            Some(self.current)
        };
        Self {
            revision: self.revision,
            current: next,
            previous,
            pending: None,
        }
    }
}

/// Where the record of a revision is.
pub(crate) fn key(namespace: &str, revision: &str) -> Value {
    let name = match revision {
        "" => RECORD.to_owned(),
        revision => format!("{RECORD}-{revision}"),
    };
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
    })
}

/// The record of a revision in a namespace; `None` if there is none.
///
/// # Errors
/// If the server does not answer, or the record cannot be read.
pub(crate) async fn read(
    cluster: &Cluster,
    namespace: &str,
    revision: &str,
) -> Result<Option<Record>> {
    let live = cluster.live(&key(namespace, revision)).await?;
    let parsed = |live: Value| {
        let record = parse(&live["data"])?;
        let revision = revision.to_owned();
        Ok(Record { revision, ..record })
    };
    live.map(parsed).transpose()
}

/// The records of all revisions but one.
///
/// # Errors
/// If the server does not answer, or a record cannot be read.
pub(crate) async fn others(
    cluster: &Cluster,
    namespace: &str,
    revision: &str,
) -> Result<Vec<Record>> {
    let selector = format!("{PART_OF}={AMBIT}");
    let maps = cluster.list("v1", "ConfigMap", Some(namespace), &selector);
    let mut found = Vec::new();
    for map in maps.await? {
        let name = map["metadata"]["name"].as_str().unwrap_or_default();
        let Some(other) = revision_of(name).filter(|other| *other != revision) else {
            continue;
        };
        let record = parse(&map["data"]).with_context(|| format!("ConfigMap {name}"))?;
        found.push(Record {
            revision: other.to_owned(),
            ..record
        });
    }
    Ok(found)
}

/// The revision that a record of this name is of.
pub(super) fn revision_of(name: &str) -> Option<&str> {
    match name.strip_prefix(RECORD)? {
        "" => Some(""),
        rest => rest.strip_prefix('-'),
    }
}

/// Keeps it.
///
/// # Errors
/// If the server refuses.
pub(crate) async fn write(cluster: &Cluster, namespace: &str, record: &Record) -> Result<()> {
    let mut object = key(namespace, &record.revision);
    object["metadata"]["labels"] = json!({PART_OF: AMBIT});
    object["data"] = data(record)?;
    cluster.apply(&object, false).await?;
    Ok(())
}

fn data(record: &Record) -> Result<Value> {
    let mut data = serde_json::to_value(&record.current)?;
    for (name, part) in [("previous", &record.previous), ("pending", &record.pending)] {
        if let Some(part) = part {
            data[name] = serde_json::to_string(part)?.into();
        }
    }
    Ok(data)
}

fn parse(data: &Value) -> Result<Record> {
    let part = |name: &str| -> Result<Option<Installed>> {
        let Some(text) = data[name].as_str() else {
            return Ok(None);
        };
        let part = serde_json::from_str(text);
        part.with_context(|| format!("`{name}` in the record of the installation"))
            .map(Some)
    };
    Ok(Record {
        revision: String::new(),
        current: Installed::deserialize(data).context("the record of the installation")?,
        previous: part("previous")?,
        pending: part("pending")?,
    })
}

/// JSON, gzip, base64.
fn pack(objects: &[Value]) -> Result<String> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&serde_json::to_vec(objects)?)?;
    Ok(STANDARD.encode(gzip.finish()?))
}

fn unpack(text: &str) -> Result<Vec<Value>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let bytes = STANDARD.decode(text)?;
    let mut json = Vec::new();
    GzDecoder::new(&*bytes)
        .take(LARGEST)
        .read_to_end(&mut json)?;
    Ok(serde_json::from_slice(&json)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(name: &str) -> Installed {
        Installed {
            profile: "demo".into(),
            version: "0.1.0".into(),
            settings: r#"{"hub":"registry.example/a","controller.replicas":2}"#.into(),
            objects: pack(&[json!({"kind": name})]).unwrap(),
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = Record {
            revision: String::new(),
            current: installed("a"),
            previous: Some(installed("b")),
            pending: None,
        };
        let data = data(&record).unwrap();
        assert!(data.as_object().unwrap().values().all(Value::is_string));
        assert_eq!(parse(&data).unwrap(), record);
        assert_eq!(record.current.objects().unwrap(), [json!({"kind": "a"})]);
    }

    #[test]
    fn records_without_objects_can_be_read() {
        let data = json!({"profile": "demo", "version": "0.1.0", "settings": "{}"});
        let record = parse(&data).unwrap();
        assert_eq!(record.current.objects().unwrap(), Vec::<Value>::new());
        let broken = json!({"profile": "demo", "previous": "{"});
        assert!(parse(&broken).is_err());
        let broken = Installed {
            objects: "no base64".into(),
            ..Installed::default()
        };
        assert!(broken.objects().is_err());
    }

    #[test]
    fn installing_the_same_again_keeps_what_was_before() {
        let first = Record {
            current: installed("a"),
            ..Record::default()
        };
        let second = first.followed_by(installed("b"));
        assert_eq!(second.previous, Some(installed("a")));
        let again = second.followed_by(installed("b"));
        assert_eq!(again.previous, Some(installed("a")));
    }

    #[test]
    fn the_choice_is_the_one_that_was_made() {
        let choice = installed("a").choice().unwrap();
        assert_eq!(choice.profile.as_deref(), Some("demo"));
        assert_eq!(
            choice.sets,
            ["hub=registry.example/a", "controller.replicas=2"]
        );
    }
}
