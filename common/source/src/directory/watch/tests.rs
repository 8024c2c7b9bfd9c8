//! Against a real directory and the kernel's events.

use super::*;
use crate::status::Writer;
use crate::{Change, status::Written};
use ambit_crds::{Kind, ObjectKey};
use serde_json::json;
use std::fs;

const LIMIT: Duration = Duration::from_secs(20);

async fn next(watch: &mut Watch) -> Batch {
    timeout(LIMIT, watch.next())
        .await
        .expect("a batch in time")
        .unwrap()
}

/// Batches until `done`; a slow machine may split one step into several.
async fn until(watch: &mut Watch, done: impl Fn(&Batch) -> bool) -> Batch {
    loop {
        let batch = next(watch).await;
        if done(&batch) {
            return batch;
        }
    }
}

fn keys(batch: &Batch) -> Vec<String> {
    batch
        .changes
        .iter()
        .map(|c| match c {
            Change::Upsert(o) => format!("+{}", o.key()),
            Change::Delete(k) => format!("-{k}"),
        })
        .collect()
}

fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n")
}

#[tokio::test]
async fn files_come_change_and_go() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yaml"), namespace("a")).unwrap();
    fs::write(dir.path().join("notes.txt"), "not for us").unwrap();
    let mut watch = watch(dir.path()).unwrap();
    assert_eq!(keys(&next(&mut watch).await), ["+Namespace a"]);

    // By rename, as careful writers do.
    fs::write(dir.path().join(".b.tmp"), namespace("b")).unwrap();
    fs::rename(dir.path().join(".b.tmp"), dir.path().join("b.yaml")).unwrap();
    assert_eq!(keys(&next(&mut watch).await), ["+Namespace b"]);

    fs::remove_file(dir.path().join("a.yaml")).unwrap();
    assert_eq!(keys(&next(&mut watch).await), ["-Namespace a"]);

    fs::rename(dir.path().join("b.yaml"), dir.path().join("b.off")).unwrap();
    assert_eq!(keys(&next(&mut watch).await), ["-Namespace b"]);
}

#[tokio::test]
async fn a_torn_write_removes_nothing() {
    use std::io::Write as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.yaml");
    let text = format!("{}---\n{}", namespace("a"), namespace("b"));
    fs::write(&path, &text).unwrap();
    let mut watch = watch(dir.path()).unwrap();
    next(&mut watch).await;

    // Written in two goes, closed between them: the first half does not parse as a whole.
    fs::write(&path, &text[..text.len() - 8]).unwrap();
    let torn = next(&mut watch).await;
    assert_eq!(keys(&torn), Vec::<String>::new());
    assert_eq!(torn.problems.len(), 1, "{:?}", torn.problems);
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(&text.as_bytes()[text.len() - 8..]).unwrap();
    drop(file);
    let whole = next(&mut watch).await;
    assert_eq!((keys(&whole), whole.problems.len()), (vec![], 0));
}

#[tokio::test]
async fn symbolic_links_as_config_maps_mount_them() {
    let dir = tempfile::tempdir().unwrap();
    for (version, name) in [("..1", "a"), ("..2", "b")] {
        fs::create_dir(dir.path().join(version)).unwrap();
        fs::write(dir.path().join(version).join("x.yaml"), namespace(name)).unwrap();
    }
    std::os::unix::fs::symlink("..1", dir.path().join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/x.yaml", dir.path().join("x.yaml")).unwrap();
    let mut watch = watch(dir.path()).unwrap();
    assert_eq!(keys(&next(&mut watch).await), ["+Namespace a"]);
    std::os::unix::fs::symlink("..2", dir.path().join("..data_tmp")).unwrap();
    fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
    assert_eq!(
        keys(&next(&mut watch).await),
        ["-Namespace a", "+Namespace b"]
    );
}

#[tokio::test]
async fn statuses_arrive_and_do_not_loop() {
    let dir = tempfile::tempdir().unwrap();
    let pod =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: ns}\nspec: {containers: []}\n";
    fs::write(dir.path().join("p.yaml"), pod).unwrap();
    let mut watch = watch(dir.path()).unwrap();
    assert_eq!(keys(&next(&mut watch).await), ["+Pod ns/p"]);

    let writer = Writer::new(dir.path(), "node-1").unwrap();
    let key = ObjectKey::new(Kind::Pod, "ns", "p");
    let patch = json!({"status": {"podIP": "10.0.0.1", "phase": "Running"}});
    assert_eq!(writer.patch(&key, &patch).unwrap(), Written::Changed);
    assert_eq!(keys(&next(&mut watch).await), ["+Pod ns/p"]);
    // Nothing is written again, so nothing can wake the watch: the next event is another file's.
    assert_eq!(writer.patch(&key, &patch).unwrap(), Written::Unchanged);
    fs::write(dir.path().join("z.yaml"), namespace("z")).unwrap();
    assert_eq!(keys(&next(&mut watch).await), ["+Namespace z"]);

    let controller = Writer::new(dir.path(), "controller").unwrap();
    let generated = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "w", "namespace": "ns"}, "spec": {"containers": []}});
    controller.apply_object(&generated).unwrap();
    let batch = until(&mut watch, |b| !b.changes.is_empty()).await;
    assert_eq!(keys(&batch), ["+Pod ns/w"]);
    let generated_key = ObjectKey::new(Kind::Pod, "ns", "w");
    assert_eq!(
        controller.list().unwrap(),
        std::slice::from_ref(&generated_key)
    );
    controller.remove(&generated_key).unwrap();
    let batch = until(&mut watch, |b| !b.changes.is_empty()).await;
    assert_eq!(keys(&batch), ["-Pod ns/w"]);
}

#[tokio::test]
async fn a_status_tree_that_appears_whole_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let pod =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: ns}\nspec: {containers: []}\n";
    fs::write(dir.path().join("p.yaml"), pod).unwrap();
    let mut watch = watch(dir.path()).unwrap();
    next(&mut watch).await;
    // Made elsewhere and moved in: the files inside cause no event of their own.
    let made = tempfile::tempdir_in(dir.path()).unwrap();
    let writer = Writer::new(made.path(), "node-1").unwrap();
    let key = ObjectKey::new(Kind::Pod, "ns", "p");
    writer
        .patch(&key, &json!({"status": {"phase": "Running"}}))
        .unwrap();
    fs::rename(
        made.path().join(STATUS_DIR).join("node-1"),
        dir.path().join(STATUS_DIR).join("node-1"),
    )
    .unwrap();
    let batch = until(&mut watch, |b| !b.changes.is_empty()).await;
    assert_eq!(keys(&batch), ["+Pod ns/p"]);
}

#[tokio::test]
async fn what_is_no_regular_file_is_a_problem() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("d.yaml")).unwrap();
    fs::write(dir.path().join("b.yaml"), [0xff, 0xfe]).unwrap();
    let batch = load(dir.path()).unwrap();
    let reasons: Vec<_> = batch
        .problems
        .iter()
        .map(|p| p.error.reason.as_str())
        .collect();
    assert_eq!(reasons, ["not UTF-8", "not a regular file"]);
    assert!(load(&dir.path().join("none")).is_err());
}

#[tokio::test]
async fn a_directory_made_anew_is_watched_again() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("d");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("a.yaml"), namespace("a")).unwrap();
    let mut watch = watch(&dir).unwrap();
    next(&mut watch).await;
    // Moved away whole, as an atomic exchange of a directory does.
    fs::rename(&dir, parent.path().join("old")).unwrap();
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("b.yaml"), namespace("b")).unwrap();
    fs::remove_dir_all(parent.path().join("old")).unwrap();
    let mut seen = Vec::new();
    while seen.len() < 2 {
        match timeout(LIMIT, watch.next()).await.expect("news in time") {
            Ok(batch) => seen.extend(keys(&batch)),
            Err(_) => tokio::task::yield_now().await,
        }
    }
    assert_eq!(seen, ["-Namespace a", "+Namespace b"]);
}
