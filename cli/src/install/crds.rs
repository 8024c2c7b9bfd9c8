//! The CustomResourceDefinitions this command carries.

use serde_json::Value;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(include_str!(concat!("../../../deploy/crds/", $name, ".yaml"))),*]
    };
}

/// Every definition.
pub(crate) fn definitions() -> Vec<Value> {
    let texts = files![
        "networking.istio.io_destinationrules",
        "networking.istio.io_gateways",
        "networking.istio.io_serviceentries",
        "networking.istio.io_virtualservices",
        "networking.istio.io_workloadentries",
        "security.istio.io_authorizationpolicies",
        "security.istio.io_peerauthentications",
        "security.istio.io_requestauthentications",
        "telemetry.istio.io_telemetries",
    ];
    texts
        .into_iter()
        .map(|text| serde_saphyr::from_str(text).expect("definitions are generated and tested"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_of_the_directory_is_carried() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds");
        let files = std::fs::read_dir(dir).unwrap().filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().contains("istio.io_")
        });
        assert_eq!(files.count(), definitions().len());
    }
}
