//! The overlays of a gateway: first those of its class, then its own.
//! In: `spec.infrastructure.parametersRef`, ConfigMaps of the gateway's namespace; of the root namespace the oldest
//! one labelled `gateway.istio.io/defaults-for-class`. Out: documents with the overlays in them, or what is wrong
//! and where.
//! Source: Istio's gateway deployer.

use crate::age::Age;
use crate::gateways::GatewayFact;
use crate::overlay::{Overlaid, overlay};
use crate::selector::label;
use crate::world::{World, name_of};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::Value;

/// Label of a ConfigMap of the root namespace: the class whose gateways it is for.
const CLASS_DEFAULTS: &str = "gateway.istio.io/defaults-for-class";

/// Overlays, the weakest first.
pub(super) struct Overlays<'a> {
    layers: Vec<&'a ConfigMap>,
}

impl<'a> Overlays<'a> {
    /// Those of a gateway.
    pub(super) fn of(world: &World<'a>, gateway: &GatewayFact<'_>) -> Result<Self, String> {
        let own = own(world, gateway)?;
        let layers: Vec<_> = defaults(world, gateway).into_iter().chain(own).collect();
        for layer in &layers {
            let keys = layer.data.iter().flatten().map(|(key, _)| key);
            for key in keys {
                if Overlaid::ALL.iter().all(|known| known.key() != key) {
                    let known = Overlaid::ALL.map(Overlaid::key).join(", ");
                    let place = place(layer);
                    return Err(format!("{place}: unknown key {key}; known are {known}"));
                }
            }
        }
        Ok(Self { layers })
    }

    /// Whether a kind has an overlay.
    pub(super) fn has(&self, kind: Overlaid) -> bool {
        self.texts(kind).next().is_some()
    }

    /// The document with its overlays.
    pub(super) fn over(&self, kind: Overlaid, document: Value) -> Result<Value, String> {
        self.texts(kind)
            .try_fold(document, |document, (layer, text)| {
                overlay(kind, &document, text)
                    .map_err(|error| format!("{}, key {}: {error}", place(layer), kind.key()))
            })
    }

    fn texts(&self, kind: Overlaid) -> impl Iterator<Item = (&'a ConfigMap, &'a str)> {
        self.layers.iter().filter_map(move |layer| {
            let text = layer.data.as_ref()?.get(kind.key())?;
            Some((*layer, text.as_str()))
        })
    }
}

fn own<'a>(world: &World<'a>, gateway: &GatewayFact<'_>) -> Result<Option<&'a ConfigMap>, String> {
    let infrastructure = gateway.object.spec.infrastructure.as_ref();
    let Some(named) = infrastructure.and_then(|i| i.parameters_ref.as_ref()) else {
        return Ok(None);
    };
    if !named.is_config_map() {
        let kind = match named.group.as_str() {
            "" => named.kind.clone(),
            group => format!("{}.{group}", named.kind),
        };
        return Err(format!(
            "parametersRef: {kind} is not supported, a ConfigMap is"
        ));
    }
    let (namespace, name) = (gateway.name.0, named.name.as_str());
    match world.config_maps.get(&(namespace, name)) {
        Some(found) => Ok(Some(*found)),
        None => Err(format!(
            "parametersRef: there is no ConfigMap {namespace}/{name}"
        )),
    }
}

fn defaults<'a>(world: &World<'a>, gateway: &GatewayFact<'_>) -> Option<&'a ConfigMap> {
    let class = gateway.object.spec.gateway_class_name.as_str();
    let of_class = world.config_maps.iter().filter(|((namespace, _), map)| {
        *namespace == world.config.root_namespace
            && label(map.metadata.labels.as_ref(), CLASS_DEFAULTS) == Some(class)
    });
    of_class
        .map(|(_, map)| *map)
        .min_by_key(|map| Age::of(&map.metadata))
}

fn place(map: &ConfigMap) -> String {
    let (namespace, name) = name_of(&map.metadata);
    format!("ConfigMap {namespace}/{name}")
}
