use super::*;
use serde_json::json;

fn ours() -> Value {
    json!({"type": PLUGIN, "agentSocket": "/run/a.sock"})
}

fn list(plugins: Value) -> Value {
    json!({"cniVersion": "1.0.0", "name": "pods", "disableCheck": true, "plugins": plugins, "x": 1})
}

fn edited(edit: Edit) -> Value {
    match edit {
        Edit::Replace(bytes) | Edit::Convert(bytes) => serde_json::from_slice(&bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn chained(value: &Value) -> Result<Edit, ConfError> {
    chain(
        value.to_string().as_bytes(),
        Form::List,
        "a.conflist",
        &ours(),
    )
}

#[test]
fn ours_becomes_the_last_once() {
    let (a, b, old) = (
        json!({"type": "ptp"}),
        json!({"type": "portmap", "capabilities": {"portMappings": true}}),
        json!({"type": PLUGIN, "agentSocket": "/old"}),
    );
    for before in [
        json!([a, b]),
        json!([a, b, old]),
        json!([a, old, b]),
        json!([ours(), a, ours(), b]),
        json!([a, b, ours(), ours()]),
    ] {
        let after = edited(chained(&list(before)).unwrap());
        assert_eq!(after, list(json!([a, b, ours()])));
        assert_eq!(chained(&after).unwrap(), Edit::Nothing);
        let text = after.to_string();
        assert_eq!(
            edited(unchain(text.as_bytes(), Form::List).unwrap()),
            list(json!([a, b]))
        );
    }
}

#[test]
fn the_order_of_fields_stays() {
    let Edit::Replace(bytes) =
        chained(&list(json!([{"type": "ptp", "mtu": 1, "b": 2, "a": 3}]))).unwrap()
    else {
        panic!("nothing to do?");
    };
    let text: String = String::from_utf8(bytes)
        .unwrap()
        .split_whitespace()
        .collect();
    assert!(text.starts_with(
        r#"{"cniVersion":"1.0.0","name":"pods","disableCheck":true,"plugins":[{"type":"ptp","mtu":1,"b":2,"a":3},{"type":"ambit-cni""#
    ), "{text}");
}

#[test]
fn a_single_configuration_becomes_a_list_and_comes_back() {
    let single = json!({"cniVersion": "0.4.0", "name": "net", "type": "bridge", "ipam": {"type": "host-local"}});
    let text = single.to_string();
    let edit = chain(text.as_bytes(), Form::Single, "10-net.conf", &ours()).unwrap();
    assert!(matches!(edit, Edit::Convert(_)));
    let converted = edited(edit);
    assert_eq!(converted["cniVersion"], "0.4.0");
    assert_eq!(converted["name"], "net");
    assert_eq!(converted["plugins"][0], single);
    assert_eq!(converted["plugins"][1]["type"], PLUGIN);
    assert_eq!(chained(&converted).unwrap(), Edit::Nothing);
    let Edit::Restore(name, bytes) = unchain(converted.to_string().as_bytes(), Form::List).unwrap()
    else {
        panic!("not restored");
    };
    assert_eq!(name, "10-net.conf");
    assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), single);
}

#[test]
fn a_single_configuration_without_a_usable_version_gets_the_oldest() {
    for version in [None, Some("0.2.0"), Some("9")] {
        let mut single = json!({"type": "bridge"});
        if let Some(version) = version {
            single["cniVersion"] = version.into();
        }
        let edit = chain(
            single.to_string().as_bytes(),
            Form::Single,
            "a.conf",
            &ours(),
        );
        let list = edited(edit.unwrap());
        assert_eq!(list["cniVersion"], "0.3.1");
        assert_eq!(list["name"], "k8s-pod-network");
    }
}

#[test]
fn a_file_name_from_the_list_never_leaves_the_directory() {
    for name in ["../x.conf", "", ".conf", "/etc/x.conf", "a.conflist", "a"] {
        let plugin = json!({"type": PLUGIN, "replaces": name});
        let text = list(json!([{"type": "ptp"}, plugin])).to_string();
        let edit = unchain(text.as_bytes(), Form::List).unwrap();
        assert!(matches!(edit, Edit::Replace(_)), "{name}: {edit:?}");
    }
}

#[test]
fn what_is_no_configuration_is_refused_by_both_ways() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let cases: [&[u8]; 14] = [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        br#"{"cniVersion":"1.0.0"}"#,
        br#"{"cniVersion":"1.0.0","plugins":[]}"#,
        br#"{"cniVersion":"1.0.0","plugins":{"type":"a"}}"#,
        br#"{"cniVersion":"1.0.0","plugins":[1]}"#,
        br#"{"cniVersion":"1.0.0","plugins":[{"type":7}]}"#,
        br#"{"cniVersion":"1.0.0","plugins":[{"type":"ambit-cni"}]}"#,
        br#"{"cniVersion":"1.0.0","plugins":[{"type":"a"}],"#,
        deep.as_bytes(),
    ];
    for text in cases {
        let shown = String::from_utf8_lossy(&text[..text.len().min(60)]);
        assert!(chain(text, Form::List, "a", &ours()).is_err(), "{shown}");
        assert!(chain(text, Form::Single, "a", &ours()).is_err(), "{shown}");
        // Never more than ours taken out.
        let _ = unchain(text, Form::List);
    }
}

#[test]
fn versions_without_chaining_are_refused() {
    for version in [json!(null), json!("0.2.0"), json!("2.0.0"), json!(1)] {
        let mut conf = list(json!([{"type": "ptp"}]));
        conf["cniVersion"] = version;
        assert!(matches!(chained(&conf), Err(ConfError::Version(_))));
    }
}

#[test]
fn names_decide_how_a_file_is_read() {
    for (name, form) in [
        ("10-a.conflist", Some(Form::List)),
        ("10-a.conf", Some(Form::Single)),
        ("10-a.json", Some(Form::Single)),
        ("10-a.conflist.bak", None),
        ("conflist", None),
        (".tmp", None),
    ] {
        assert_eq!(form_of(name), form, "{name}");
    }
}
