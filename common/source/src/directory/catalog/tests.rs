//! The rules of the directory, without files.

use super::*;
use crate::Change;
use ambit_crds::Kind;

const A: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n";
const B: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: b}\n";

fn set(catalog: &mut Catalog, name: &str, text: &str) -> Option<Vec<String>> {
    catalog.set_file(name, Ok(text.to_owned()));
    told(catalog)
}

/// `+key`, `-key` and `!file: reason` of the next batch.
fn told(catalog: &mut Catalog) -> Option<Vec<String>> {
    let batch = catalog.settle()?;
    let changes = batch.changes.iter().map(|c| match c {
        Change::Upsert(o) => format!("+{}", o.key()),
        Change::Delete(k) => format!("-{k}"),
    });
    let problems = batch.problems.iter().map(|p| format!("!{p}"));
    Some(changes.chain(problems).collect())
}

fn status(plural: Kind, ns: &str, name: &str, writer: &str) -> StatusPath {
    StatusPath {
        writer: writer.to_owned(),
        key: ObjectKey::new(plural, ns, name),
    }
}

#[test]
fn the_first_batch_comes_even_when_empty() {
    let mut catalog = Catalog::default();
    assert_eq!(told(&mut catalog), Some(vec![]));
    assert_eq!(told(&mut catalog), None);
}

#[test]
fn empty_and_cut_off_files_remove_nothing() {
    let mut catalog = Catalog::default();
    let both = format!("{A}---\n{B}");
    assert_eq!(
        set(&mut catalog, "x.yaml", &both).unwrap(),
        ["+Namespace a", "+Namespace b"]
    );
    let empty = set(&mut catalog, "x.yaml", "").unwrap();
    assert!(
        empty.len() == 1 && empty[0].starts_with("!x.yaml:1: object ?: no documents"),
        "{empty:?}"
    );
    let cut = set(
        &mut catalog,
        "x.yaml",
        &format!("{A}---\napiVersion: v1\nkind: Names\n  pace"),
    )
    .unwrap();
    assert!(
        cut.len() == 1 && cut[0].starts_with("!x.yaml:4: Names pace ?: metadata.name: required"),
        "{cut:?}"
    );
    assert_eq!(set(&mut catalog, "x.yaml", A).unwrap(), ["-Namespace b"]);
    catalog.remove_file("x.yaml");
    assert_eq!(told(&mut catalog).unwrap(), ["-Namespace a"]);
}

#[test]
fn a_bad_document_keeps_its_last_good_version_only() {
    let mut catalog = Catalog::default();
    let service =
        "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 80}]}\n";
    let broken = service.replace("80", "eighty");
    set(&mut catalog, "x.yaml", &format!("{A}---\n{service}"));
    let now = set(&mut catalog, "x.yaml", &format!("{broken}---\n{B}")).unwrap();
    assert_eq!(now[..2], ["-Namespace a", "+Namespace b"]);
    assert!(
        now[2].starts_with("!x.yaml:1: Service default/s: spec.ports[0].port: invalid type"),
        "{now:?}"
    );
    assert_eq!(catalog.told.objects().len(), 2);
    assert!(
        set(&mut catalog, "x.yaml", &format!("{service}---\n{B}"))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn the_first_file_name_wins() {
    let mut catalog = Catalog::default();
    let one = A.replace("{name: a}", "{name: a, labels: {from: one}}");
    let two = A.replace("{name: a}", "{name: a, labels: {from: two}}");
    set(&mut catalog, "2.yaml", &two);
    let now = set(&mut catalog, "1.yaml", &one).unwrap();
    assert_eq!(
        now,
        [
            "+Namespace a",
            "!2.yaml:1: Namespace a: already defined in 1.yaml, which is used [AMB0003]"
        ]
    );
    let label = |c: &Catalog| c.told.objects().values().next().unwrap().labels()["from"].clone();
    assert_eq!(label(&catalog), "one");
    catalog.remove_file("1.yaml");
    assert_eq!(told(&mut catalog).unwrap(), ["+Namespace a"]);
    assert_eq!(label(&catalog), "two");
    let twice = set(&mut catalog, "2.yaml", &format!("{two}---\n{one}")).unwrap();
    assert_eq!(
        twice,
        ["!2.yaml:4: Namespace a: already defined in 2.yaml, which is used [AMB0003]"]
    );
}

#[test]
fn statuses_of_several_writers_are_merged() {
    let mut catalog = Catalog::default();
    let pod =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: ns}\nspec: {containers: []}\n";
    let node = status(Kind::Pod, "ns", "p", "node-1");
    let agent = status(Kind::Pod, "ns", "p", "agent-1");
    catalog.set_status(
        &node,
        Ok("status: {podIP: 10.0.0.1, conditions: [{type: Ready, status: 'True'}]}".into()),
    );
    assert_eq!(
        told(&mut catalog),
        Some(vec![]),
        "a patch alone is no object"
    );
    assert_eq!(set(&mut catalog, "p.yaml", pod).unwrap(), ["+Pod ns/p"]);
    catalog.set_status(
        &agent,
        Ok("metadata: {annotations: {ambient.istio.io/redirection: enabled}}".into()),
    );
    assert_eq!(told(&mut catalog).unwrap(), ["+Pod ns/p"]);
    let object = catalog.told.objects().values().next().unwrap().clone();
    assert_eq!(
        object.annotations()["ambient.istio.io/redirection"],
        "enabled"
    );
    let Object::Pod(p) = &*object else {
        panic!("a pod")
    };
    assert_eq!(
        p.status.as_ref().unwrap().pod_ip.as_deref(),
        Some("10.0.0.1")
    );
    // The same content again is no news.
    catalog.set_status(
        &agent,
        Ok("{metadata: {annotations: {ambient.istio.io/redirection: enabled}}}".into()),
    );
    assert_eq!(told(&mut catalog), None);
    catalog.remove_status(&agent);
    assert_eq!(told(&mut catalog).unwrap(), ["+Pod ns/p"]);
    assert!(
        catalog
            .told
            .objects()
            .values()
            .next()
            .unwrap()
            .annotations()
            .is_empty()
    );
}

#[test]
fn a_bad_patch_is_a_problem_and_the_object_stays() {
    let mut catalog = Catalog::default();
    let pod =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: ns}\nspec: {containers: []}\n";
    let node = status(Kind::Pod, "ns", "p", "node-1");
    set(&mut catalog, "p.yaml", pod);
    catalog.set_status(&node, Ok("status: {podIP: 7}".into()));
    let now = told(&mut catalog).unwrap();
    assert!(
        now.len() == 1
            && now[0].contains(".status/node-1/pods/ns/p.yaml")
            && now[0].contains("status.podIP"),
        "{now:?}"
    );
    catalog.set_status(&node, Ok("[".into()));
    assert!(
        told(&mut catalog)
            .unwrap()
            .iter()
            .any(|p| p.contains("not YAML"))
    );
}

#[test]
fn generated_objects_yield_to_the_users() {
    let mut catalog = Catalog::default();
    let path = status(Kind::Pod, "ns", "w", "controller");
    let generated = "apiVersion: v1\nkind: Pod\nmetadata: {name: w, namespace: ns, labels: {from: generated}}\nspec: {containers: []}\n";
    catalog.set_status(&path, Ok(generated.into()));
    assert_eq!(told(&mut catalog).unwrap(), ["+Pod ns/w"]);
    catalog.set_status(
        &status(Kind::Pod, "ns", "w", "node-2"),
        Ok("status: {podIP: 10.0.0.9}".into()),
    );
    told(&mut catalog);
    let Object::Pod(p) = &**catalog.told.objects().values().next().unwrap() else {
        panic!("a pod")
    };
    assert_eq!(
        p.status.as_ref().unwrap().pod_ip.as_deref(),
        Some("10.0.0.9")
    );
    set(
        &mut catalog,
        "w.yaml",
        &generated.replace("generated", "user"),
    );
    assert_eq!(
        catalog.told.objects().values().next().unwrap().labels()["from"],
        "user"
    );
    catalog.remove_file("w.yaml");
    told(&mut catalog);
    catalog.remove_status(&path);
    assert_eq!(told(&mut catalog).unwrap(), ["-Pod ns/w"]);
    // A document cannot pose as another object than its path says.
    catalog.set_status(&path, Ok(generated.replace("name: w", "name: other")));
    assert!(told(&mut catalog).unwrap()[0].contains("does not hold the object its path names"));
}

#[test]
fn every_cut_of_a_file_heals_when_it_is_whole_again() {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: ns}\nspec: {ports: [{port: 80}]}\n";
    let whole = format!("{A}---\n{service}---\n{B}");
    let mut catalog = Catalog::default();
    set(&mut catalog, "x.yaml", &whole);
    let good = catalog.told.objects().clone();
    for cut in 0..whole.len() {
        set(&mut catalog, "x.yaml", &whole[..cut]);
        // The first document stands before the cut or is kept: it never goes away.
        assert!(
            catalog
                .told
                .objects()
                .contains_key(&ObjectKey::new(Kind::Namespace, "", "a")),
            "{cut}"
        );
        set(&mut catalog, "x.yaml", &whole);
        assert_eq!(*catalog.told.objects(), good, "{cut}");
        assert!(catalog.told_problems.is_empty(), "{cut}");
    }
}

#[test]
fn an_unreadable_file_keeps_its_objects_and_says_why() {
    let mut catalog = Catalog::default();
    set(&mut catalog, "x.yaml", A);
    catalog.set_file("x.yaml", Err("not UTF-8".into()));
    assert_eq!(
        told(&mut catalog).unwrap(),
        ["!x.yaml:1: object ?: not UTF-8 [AMB0002]"]
    );
    assert_eq!(
        set(&mut catalog, "x.yaml", A).unwrap(),
        Vec::<String>::new()
    );
}

#[test]
fn an_object_may_move_between_files_without_going_away() {
    let mut catalog = Catalog::default();
    set(&mut catalog, "b.yaml", A);
    // Both steps are one batch, as one save of an editor is.
    catalog.set_file("a.yaml", Ok(A.into()));
    catalog.remove_file("b.yaml");
    assert_eq!(told(&mut catalog), None, "the same object is no news");
}
