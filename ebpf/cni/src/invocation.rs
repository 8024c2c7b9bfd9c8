//! What the runtime asks: the `CNI_*` variables.
//! Spec: CNI SPEC.md, "Parameters"; `CNI_ARGS` as Kubernetes runtimes fill it.

use crate::error::{CniError, Code};

/// The command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    Add,
    Del,
    Check,
    Version,
    Status,
    Gc,
}

impl Command {
    pub(crate) fn read(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, CniError> {
        let command = required(lookup, "CNI_COMMAND")?;
        match command.as_str() {
            "ADD" => Ok(Self::Add),
            "DEL" => Ok(Self::Del),
            "CHECK" => Ok(Self::Check),
            "VERSION" => Ok(Self::Version),
            "STATUS" => Ok(Self::Status),
            "GC" => Ok(Self::Gc),
            other => Err(CniError::new(
                Code::Environment,
                "unknown CNI_COMMAND",
                format!("{other:?}"),
            )),
        }
    }
}

/// The sandbox a command is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sandbox {
    pub(crate) container_id: String,
    pub(crate) netns: Option<String>,
    pub(crate) pod: Option<Pod>,
}

/// The Kubernetes pod, from `CNI_ARGS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: Option<String>,
}

impl Sandbox {
    pub(crate) fn read(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, CniError> {
        let args = lookup("CNI_ARGS").unwrap_or_default();
        Ok(Self {
            container_id: required(lookup, "CNI_CONTAINERID")?,
            netns: lookup("CNI_NETNS").filter(|path| !path.is_empty()),
            pod: pod(&args),
        })
    }

    pub(crate) fn netns(&self) -> Result<&str, CniError> {
        self.netns
            .as_deref()
            .ok_or_else(|| CniError::new(Code::Environment, "missing variable", "CNI_NETNS"))
    }
}

fn required(lookup: &dyn Fn(&str) -> Option<String>, name: &str) -> Result<String, CniError> {
    lookup(name)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| CniError::new(Code::Environment, "missing variable", name))
}

fn pod(args: &str) -> Option<Pod> {
    let value = |wanted: &str| {
        args.split(';')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, value)| *key == wanted && !value.is_empty())
            .map(|(_, value)| value.to_owned())
    };
    Some(Pod {
        namespace: value("K8S_POD_NAMESPACE")?,
        name: value("K8S_POD_NAME")?,
        uid: value("K8S_POD_UID"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_read_from_the_arguments() {
        let found =
            pod("IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1;K8S_POD_UID=u-1")
                .unwrap();
        assert_eq!(
            (
                found.namespace.as_str(),
                found.name.as_str(),
                found.uid.as_deref()
            ),
            ("shop", "web-1", Some("u-1"))
        );
        assert_eq!(pod("K8S_POD_NAMESPACE=a;K8S_POD_NAME=b").unwrap().uid, None);
        for without in [
            "",
            ";;=;",
            "K8S_POD_NAMESPACE=;K8S_POD_NAME=b",
            "K8S_POD_NAME=b",
        ] {
            assert_eq!(pod(without), None, "{without}");
        }
    }
}
