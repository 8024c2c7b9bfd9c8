use super::*;
use crate::catalog::Change;
use crate::status::Writer;
use ambit_crds::{Kind, ObjectKey};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(20);

fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n")
}

async fn next(watch: &mut Watch) -> Batch {
    tokio::time::timeout(PATIENCE, watch.next())
        .await
        .expect("a batch")
        .expect("the watcher lives")
}

fn keys(batch: &Batch) -> Vec<String> {
    let text = |c: &Change| match c {
        Change::Upsert(o) => format!("+{}", o.key()),
        Change::Delete(k) => format!("-{k}"),
    };
    batch.changes.iter().map(text).collect()
}

#[tokio::test]
async fn files_that_are_written_renamed_and_removed_arrive_as_changes() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.yaml"), namespace("a")).unwrap();
    let mut watch = watch(dir.path()).unwrap();
    assert_eq!(keys(&next(&mut watch).await), ["+Namespace a"]);
    std::fs::write(dir.path().join("b.yaml"), namespace("b")).unwrap();
    assert_eq!(keys(&next(&mut watch).await), ["+Namespace b"]);
    std::fs::write(dir.path().join("c.tmp"), namespace("c")).unwrap();
    std::fs::rename(dir.path().join("c.tmp"), dir.path().join("b.yaml")).unwrap();
    assert_eq!(keys(&next(&mut watch).await), ["-Namespace b", "+Namespace c"]);
    std::fs::remove_file(dir.path().join("a.yaml")).unwrap();
    assert_eq!(keys(&next(&mut watch).await), ["-Namespace a"]);
}

#[tokio::test]
async fn what_a_writer_says_is_merged_and_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: a}\nspec: {containers: []}\n";
    std::fs::write(dir.path().join("p.yaml"), pod).unwrap();
    let mut watch = watch(dir.path()).unwrap();
    next(&mut watch).await;
    let writer = Writer::new(dir.path(), "node-1").unwrap();
    let key = ObjectKey::new(Kind::Pod, "a", "p");
    writer.patch(&key, &json!({"status": {"phase": "Running"}})).unwrap();
    let batch = next(&mut watch).await;
    let Change::Upsert(object) = &batch.changes[0] else { panic!("{batch:?}") };
    assert_eq!(object.key(), key);
    writer.remove(&key).unwrap();
    assert_eq!(keys(&next(&mut watch).await), ["+Pod a/p"]);
}

#[tokio::test]
async fn a_generated_object_appears_and_disappears() {
    let dir = tempfile::tempdir().unwrap();
    let mut watch = watch(dir.path()).unwrap();
    assert_eq!(next(&mut watch).await, Batch::default());
    let writer = Writer::new(dir.path(), "controller").unwrap();
    let object = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "w", "namespace": "a"}});
    let key = writer.apply_object(&object).unwrap();
    assert_eq!(keys(&next(&mut watch).await), ["+ServiceAccount a/w"]);
    assert_eq!(writer.list().unwrap(), std::slice::from_ref(&key));
    writer.remove(&key).unwrap();
    assert_eq!(keys(&next(&mut watch).await), ["-ServiceAccount a/w"]);
}
