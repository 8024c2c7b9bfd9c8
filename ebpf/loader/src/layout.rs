//! Do the pinned maps fit this build?
//!
//! In: the embedded object's definitions, the kernel's facts. Out: the first difference. aya adopts
//! a pinned map by name without a look at it.

use crate::error::OpenError;
use crate::object::OBJECT;
use crate::pins::Pins;
use ambit_ebpf_common::names;
use aya::maps::MapInfo;
use std::collections::HashMap;

/// Type, key size, value size and number of entries.
#[derive(Debug, PartialEq, Eq)]
struct Shape {
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

/// Compares every pinned map with the object.
pub(crate) fn check(pins: &Pins) -> Result<(), OpenError> {
    let expected = expected()?;
    for map in names::map::ALL {
        let Some(expected) = expected.get(map) else {
            return Err(differs(map, "the object does not define it".to_owned()));
        };
        let info =
            MapInfo::from_pin(pins.map(map)).map_err(|error| differs(map, error.to_string()))?;
        let found = Shape {
            key_size: info.key_size(),
            value_size: info.value_size(),
            max_entries: info.max_entries(),
        };
        if found != *expected {
            return Err(differs(map, format!("{found:?}, not {expected:?}")));
        }
    }
    Ok(())
}

fn expected() -> Result<HashMap<String, Shape>, OpenError> {
    let object = aya_obj::Object::parse(OBJECT)
        .map_err(|error| OpenError::Object(Box::new(aya::EbpfError::ParseError(error))))?;
    Ok(object
        .maps
        .into_iter()
        .map(|(name, map)| {
            let shape = Shape {
                key_size: map.key_size(),
                value_size: map.value_size(),
                max_entries: map.max_entries(),
            };
            (name, shape)
        })
        .collect())
}

fn differs(map: &'static str, what: String) -> OpenError {
    OpenError::Layout { map, what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ambit_ebpf_common as common;

    #[test]
    fn the_object_defines_the_maps_that_user_space_knows() {
        let object = expected().unwrap();
        let mut names: Vec<_> = object
            .keys()
            .filter(|name| !name.starts_with('.'))
            .collect();
        names.sort();
        let mut known: Vec<_> = names::map::ALL.iter().collect();
        known.sort();
        assert_eq!(names, known);
    }

    #[test]
    fn the_object_has_the_layouts_of_this_build() {
        let object = expected().unwrap();
        for (map, key, value) in [
            (names::map::ENROLLED, 8, size_of::<common::Enrolled>()),
            (names::map::EXEMPT, 4, size_of::<common::CgroupEntry>()),
            (names::map::PROBES, size_of::<common::ProbeKey>(), 4),
            (names::map::POD_IPS, size_of::<common::Address>(), 4),
            (
                names::map::EXCLUDED,
                4 + size_of::<common::ExcludedKey>(),
                size_of::<common::ExcludedPorts>(),
            ),
        ] {
            let shape = &object[map];
            let sizes = (shape.key_size as usize, shape.value_size as usize);
            assert_eq!(sizes, (key, value), "{map}");
        }
        assert_eq!(
            object[names::map::COUNTERS].max_entries,
            common::Counter::COUNT
        );
    }
}
