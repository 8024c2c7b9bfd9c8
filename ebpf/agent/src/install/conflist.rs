//! Editing network configurations so that our plugin is the last of the chain.
//! In: the bytes of one configuration and our plugin's object. Out: the bytes to put in its place, if any.
//! Pure. Must not happen here: another plugin, name or version changed; a field lost or reordered.
//! Spec: CNI SPEC.md, "Network configuration format"; libcni's reading of single configurations.

use serde_json::{Map, Value};

/// How a file is to be read; its name decides, as for the container runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `*.conflist`: plugins in order.
    List,
    /// `*.conf`, `*.json`: one plugin.
    Single,
}

/// What to do with the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// It is as it should be.
    Nothing,
    /// It gets this content.
    Replace(Vec<u8>),
    /// A list in its place; the single configuration goes.
    Convert(Vec<u8>),
    /// A single configuration under this file name in its place; the list goes.
    Restore(String, Vec<u8>),
}

/// Why a file is no configuration to work with.
#[derive(Debug, thiserror::Error)]
pub enum ConfError {
    /// Not JSON.
    #[error("not JSON")]
    Json(#[from] serde_json::Error),
    /// JSON, but not an object.
    #[error("not a JSON object")]
    NotAnObject,
    /// No list of plugins, or an empty one.
    #[error("`plugins` is not a list of plugins")]
    NoPlugins,
    /// A plugin without a type.
    #[error("plugin {0} has no `type`")]
    NoType(usize),
    /// A version whose results cannot be chained.
    #[error("cniVersion {0:?} has no chaining")]
    Version(String),
}

/// Type of our plugin, which is the name of its binary.
pub const PLUGIN: &str = "ambit-cni";

/// Puts `ours` at the end of the chain. `file` is remembered when a single configuration becomes a list.
///
/// # Errors
/// [`ConfError`]: the file is left alone then.
pub fn chain(text: &[u8], form: Form, file: &str, ours: &Value) -> Result<Edit, ConfError> {
    match form {
        Form::List => chain_list(text, ours),
        Form::Single => convert(text, file, ours),
    }
}

/// Takes our plugin out.
///
/// # Errors
/// [`ConfError`]: the file is left alone then.
pub fn unchain(text: &[u8], form: Form) -> Result<Edit, ConfError> {
    if form == Form::Single {
        return Ok(Edit::Nothing);
    }
    let mut list = object(text)?;
    let plugins = plugins(&mut list)?;
    let mut replaced = None;
    let before = plugins.len();
    plugins.retain(|plugin| {
        if is_ours(plugin) {
            replaced = plugin
                .get(REPLACES)
                .and_then(Value::as_str)
                .and_then(safe_name);
        }
        !is_ours(plugin)
    });
    if plugins.len() == before {
        return Ok(Edit::Nothing);
    }
    match (replaced, plugins.as_slice()) {
        (Some(name), [single]) => Ok(Edit::Restore(name, bytes(single))),
        _ => Ok(Edit::Replace(bytes(&Value::Object(list)))),
    }
}

fn chain_list(text: &[u8], ours: &Value) -> Result<Edit, ConfError> {
    let mut list = object(text)?;
    let version = list.get("cniVersion").and_then(Value::as_str);
    let version = version.unwrap_or_default().to_owned();
    if !CHAINED.contains(&version.as_str()) {
        return Err(ConfError::Version(version));
    }
    let plugins = plugins(&mut list)?;
    for (index, plugin) in plugins.iter().enumerate() {
        if plugin.get("type").and_then(Value::as_str).is_none() {
            return Err(ConfError::NoType(index));
        }
    }
    if plugins.iter().all(is_ours) {
        return Err(ConfError::NoPlugins);
    }
    let mut ours = ours.clone();
    let known = plugins.iter().find(|plugin| is_ours(plugin));
    if let Some(replaces) = known.and_then(|plugin| plugin.get(REPLACES)) {
        ours[REPLACES] = replaces.clone();
    }
    let count = plugins.iter().filter(|plugin| is_ours(plugin)).count();
    if count == 1 && plugins.last() == Some(&ours) {
        return Ok(Edit::Nothing);
    }
    plugins.retain(|plugin| !is_ours(plugin));
    plugins.push(ours);
    Ok(Edit::Replace(bytes(&Value::Object(list))))
}

fn convert(text: &[u8], file: &str, ours: &Value) -> Result<Edit, ConfError> {
    let single = object(text)?;
    if single.get("type").and_then(Value::as_str).is_none() {
        return Err(ConfError::NoType(0));
    }
    let mut ours = ours.clone();
    ours[REPLACES] = Value::from(file);
    let mut list = Map::new();
    let version = single.get("cniVersion").and_then(Value::as_str);
    let version = version.filter(|version| CHAINED.contains(version));
    list.insert("cniVersion".into(), version.unwrap_or(CHAINED[0]).into());
    let name = single.get("name").and_then(Value::as_str);
    list.insert("name".into(), name.unwrap_or("k8s-pod-network").into());
    // Left as it is: the runtime gives each plugin the list's name and version, and it can be put back.
    list.insert("plugins".into(), vec![Value::Object(single), ours].into());
    Ok(Edit::Convert(bytes(&Value::Object(list))))
}

fn object(text: &[u8]) -> Result<Map<String, Value>, ConfError> {
    match serde_json::from_slice(text)? {
        Value::Object(object) => Ok(object),
        _ => Err(ConfError::NotAnObject),
    }
}

fn plugins(list: &mut Map<String, Value>) -> Result<&mut Vec<Value>, ConfError> {
    match list.get_mut("plugins") {
        Some(Value::Array(plugins)) if !plugins.is_empty() => Ok(plugins),
        _ => Err(ConfError::NoPlugins),
    }
}

fn is_ours(plugin: &Value) -> bool {
    plugin.get("type").and_then(Value::as_str) == Some(PLUGIN)
}

fn bytes(value: &Value) -> Vec<u8> {
    let mut text = format!("{value:#}").into_bytes();
    text.push(b'\n');
    text
}

/// A file name that stays in its directory.
fn safe_name(name: &str) -> Option<String> {
    let fine = !name.is_empty() && !name.starts_with('.') && !name.contains('/');
    (fine && form_of(name) == Some(Form::Single)).then(|| name.to_owned())
}

/// How the runtime reads a file of this name; `None` if it does not.
pub fn form_of(name: &str) -> Option<Form> {
    match name.rsplit_once('.')?.1 {
        "conflist" => Some(Form::List),
        "conf" | "json" => Some(Form::Single),
        _ => None,
    }
}

/// Versions whose plugins are given the result of the one before, oldest first.
const CHAINED: [&str; 4] = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"];
/// In our plugin's object: the single configuration that the list replaces.
const REPLACES: &str = "replaces";

#[cfg(test)]
mod tests;
