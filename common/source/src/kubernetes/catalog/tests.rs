use super::*;
use crate::Change;
use crate::directory::judge;
use serde_json::{Value, json};

fn service(name: &str, ports: Value) -> News {
    let value = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "n"}, "spec": {"ports": ports}});
    News::Object(key(name), judge(value))
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(Kind::Service, "n", name)
}

fn listed(kind: Kind, names: &[&str]) -> News {
    News::Listed(kind, names.iter().map(|name| key(name)).collect())
}

fn text(batch: &Batch) -> Vec<String> {
    let change = |change: &Change| match change {
        Change::Upsert(object) => format!("+{}", object.key()),
        Change::Delete(key) => format!("-{key}"),
    };
    batch.changes.iter().map(change).collect()
}

#[test]
fn nothing_is_told_before_every_kind_was_listed() {
    let mut catalog = Catalog::new([Kind::Service, Kind::Namespace].into_iter());
    catalog.note(service("a", json!([])));
    catalog.note(listed(Kind::Service, &["a"]));
    assert_eq!(catalog.settle(), None);
    catalog.note(listed(Kind::Namespace, &[]));
    assert_eq!(text(&catalog.settle().unwrap()), ["+Service n/a"]);
    assert_eq!(catalog.settle(), None);
}

#[test]
fn an_empty_cluster_is_a_batch() {
    let mut catalog = Catalog::new([Kind::Service].into_iter());
    catalog.note(listed(Kind::Service, &[]));
    assert_eq!(catalog.settle(), Some(Batch::default()));
}

#[test]
fn a_list_removes_what_it_does_not_hold_and_only_of_its_kind() {
    let mut catalog = Catalog::new([Kind::Service].into_iter());
    let pod = ObjectKey::new(Kind::Pod, "n", "p");
    let value =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"}});
    catalog.note(News::Object(pod, judge(value)));
    catalog.note(service("a", json!([])));
    catalog.note(service("b", json!([])));
    catalog.note(listed(Kind::Service, &["a", "b"]));
    assert_eq!(catalog.settle().unwrap().changes.len(), 3);
    catalog.note(service("b", json!([])));
    catalog.note(listed(Kind::Service, &["b"]));
    assert_eq!(text(&catalog.settle().unwrap()), ["-Service n/a"]);
}

#[test]
fn a_bad_version_keeps_the_good_one_until_the_object_goes() {
    let mut catalog = Catalog::new(std::iter::empty());
    catalog.note(service("a", json!([{"port": 80}])));
    catalog.settle().unwrap();
    catalog.note(service("a", json!("x")));
    let batch = catalog.settle().unwrap();
    assert_eq!(batch.changes, []);
    assert_eq!(batch.problems.len(), 1);
    assert!(
        batch.problems[0]
            .to_string()
            .starts_with("services/n/a: Service n/a: spec.ports")
    );
    catalog.note(News::Gone(key("a")));
    let batch = catalog.settle().unwrap();
    assert_eq!(text(&batch), ["-Service n/a"]);
    assert_eq!(batch.problems, []);
}

#[test]
fn an_object_made_anew_between_batches_is_an_update() {
    let mut catalog = Catalog::new(std::iter::empty());
    catalog.note(service("a", json!([])));
    catalog.settle().unwrap();
    catalog.note(News::Gone(key("a")));
    catalog.note(service("a", json!([{"port": 80}])));
    assert_eq!(text(&catalog.settle().unwrap()), ["+Service n/a"]);
}
