//! Container images. Pure.
//! In: a container of a pod spec. Out: program, arguments and environment. A lab has no registry: an
//! image is one of the programs built beside it.
//! Spec: `spec.containers[]` (`command`, `args`, `env`).

use std::net::IpAddr;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Container, EnvVar};
use thiserror::Error;

use crate::cluster::PodView;

/// Image names and their programs.
#[derive(Clone, Debug)]
pub struct Images {
    /// Where built programs are
    pub programs: PathBuf,
}

/// Why a container cannot be started. Display is the pod status message.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ImageError {
    /// No such image.
    #[error(
        "ErrImagePull: unknown image {0:?}; a lab has ambit/bookinfo, ambit/tools, ambit/waypoint"
    )]
    Unknown(String),
    /// The image is known, its program is not there.
    #[error("ErrImagePull: {0} is not built")]
    NotBuilt(String),
}

/// What a container runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The program
    pub program: PathBuf,
    /// Its arguments
    pub args: Vec<String>,
    /// Whether it is a proxy of the mesh, which gets the mesh's environment
    pub mesh: bool,
}

impl Images {
    /// What `container` runs.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn resolve(&self, container: &Container) -> Result<Run, ImageError> {
        let image = container.image.as_deref().unwrap_or_default();
        let path = image.strip_prefix("docker.io/").unwrap_or(image);
        let name = path.split([':', '@']).next().unwrap_or_default();
        let program = match name {
            "ambit/bookinfo" | "ambit/tools" => "bookinfo",
            "ambit/waypoint" => "ambit-waypoint",
            _ => return Err(ImageError::Unknown(image.to_owned())),
        };
        let own = self.programs.join(program);
        if !own.exists() {
            return Err(ImageError::NotBuilt(own.display().to_string()));
        }
        let mut args = container.args.clone().unwrap_or_default();
        let program = match container.command.as_deref() {
            None | Some([]) => own,
            Some([command, first @ ..]) => {
                args.splice(0..0, first.iter().cloned());
                // Either the image's program by name, or something every image has.
                if command.rsplit('/').next() == Some(program) {
                    own
                } else {
                    PathBuf::from(command)
                }
            }
        };
        Ok(Run {
            program,
            args,
            mesh: name == "ambit/waypoint",
        })
    }
}

/// The container's environment; `valueFrom` knows the fields of the downward API that exist here.
pub fn environment(
    pod: PodView<'_>,
    container: &Container,
    addresses: &[IpAddr],
) -> Vec<(String, String)> {
    let mut env = vec![("HOSTNAME".to_owned(), pod.name().to_owned())];
    for var in container.env.iter().flatten() {
        if let Some(value) = value(pod, var, addresses) {
            env.push((var.name.clone(), value));
        }
    }
    env
}

fn value(pod: PodView<'_>, var: &EnvVar, addresses: &[IpAddr]) -> Option<String> {
    let Some(from) = &var.value_from else {
        return Some(var.value.clone().unwrap_or_default());
    };
    let field = from.field_ref.as_ref()?.field_path.as_str();
    let quoted = |prefix: &str| {
        field
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix("['"))
            .and_then(|k| k.strip_suffix("']"))
    };
    match field {
        "metadata.name" => Some(pod.name().to_owned()),
        "metadata.namespace" => Some(pod.namespace().to_owned()),
        "metadata.uid" => Some(pod.uid()),
        "spec.nodeName" => pod.node().map(str::to_owned),
        "spec.serviceAccountName" => Some(pod.service_account().to_owned()),
        "status.podIP" => addresses.first().map(IpAddr::to_string),
        "status.podIPs" => {
            let all: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
            Some(all.join(","))
        }
        _ => quoted("metadata.labels")
            .and_then(|key| pod.label(key))
            .or_else(|| quoted("metadata.annotations").and_then(|key| pod.annotation(key)))
            .cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(json: serde_json::Value) -> Container {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn an_image_is_a_program_and_an_unknown_one_says_so() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("bookinfo"), "").unwrap();
        let images = Images {
            programs: dir.path().to_owned(),
        };
        let run = images.resolve(&container(serde_json::json!(
            {"name": "c", "image": "docker.io/ambit/bookinfo:1", "args": ["details"]}
        )));
        let own = dir.path().join("bookinfo");
        assert_eq!(
            run.unwrap(),
            Run {
                program: own,
                args: vec!["details".into()],
                mesh: false
            }
        );
        let sleep = images.resolve(&container(serde_json::json!(
            {"name": "c", "image": "ambit/tools", "command": ["sleep", "infinity"]}
        )));
        assert_eq!(sleep.unwrap().program, PathBuf::from("sleep"));
        let unknown = images.resolve(&container(
            serde_json::json!({"name": "c", "image": "nginx"}),
        ));
        assert_eq!(unknown, Err(ImageError::Unknown("nginx".into())));
        let missing = images.resolve(&container(
            serde_json::json!({"name": "c", "image": "ambit/waypoint"}),
        ));
        assert!(matches!(missing, Err(ImageError::NotBuilt(_))));
    }

    #[test]
    fn the_downward_api_gives_names_labels_and_the_address() {
        let pod = serde_json::json!({
            "metadata": {"name": "p", "namespace": "n", "labels": {"a/b": "c"}},
            "spec": {"containers": []},
        });
        let pod: k8s_openapi::api::core::v1::Pod = serde_json::from_value(pod).unwrap();
        let container = container(serde_json::json!({"name": "c", "env": [
            {"name": "A", "value": "1"},
            {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a/b']"}}},
            {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "status.podIPs"}}},
        ]}));
        let env = environment(
            PodView(&pod),
            &container,
            &[[10, 244, 1, 2].into(), "fd00::2".parse().unwrap()],
        );
        let pairs: Vec<_> = env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(
            pairs,
            [
                ("HOSTNAME", "p"),
                ("A", "1"),
                ("B", "c"),
                ("C", "10.244.1.2"),
                ("D", "10.244.1.2,fd00::2")
            ]
        );
    }
}
