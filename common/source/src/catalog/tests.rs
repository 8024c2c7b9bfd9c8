use super::*;

const VS: &str = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v, namespace: a}\nspec:\n  hosts: [h]\n  http:\n  - route: [{destination: {host: h}}]\n";

fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n")
}

fn summary(batch: &Batch) -> Vec<String> {
    let text = |c: &Change| match c {
        Change::Upsert(o) => format!("+{}", o.key()),
        Change::Delete(k) => format!("-{k}"),
    };
    batch.changes.iter().map(text).collect()
}

fn set(c: &mut Catalog, file: &str, text: &str) -> Batch {
    c.set_file(Path::new(file), Some(text.as_bytes()));
    c.batch()
}

#[test]
fn the_first_batch_is_everything_and_equal_content_is_no_change() {
    let mut c = Catalog::default();
    let text = format!("{}---\n{VS}", namespace("a"));
    assert_eq!(
        summary(&set(&mut c, "x.yaml", &text)),
        ["+Namespace a", "+VirtualService a/v"]
    );
    assert_eq!(set(&mut c, "x.yaml", &text), Batch::default());
    c.set_file(Path::new("x.yaml"), None);
    assert_eq!(summary(&c.batch()), ["-Namespace a", "-VirtualService a/v"]);
}

#[test]
fn a_document_that_goes_bad_keeps_its_last_good_version_and_others_apply() {
    let mut c = Catalog::default();
    set(&mut c, "x.yaml", VS);
    let bad = VS.replace("hosts: [h]", "hosts: [h]\n  nonsense: 1");
    let batch = set(&mut c, "x.yaml", &format!("{bad}---\n{}", namespace("b")));
    assert_eq!(summary(&batch), ["+Namespace b"]);
    assert_eq!(batch.problems.len(), 1);
    let p = &batch.problems[0];
    assert_eq!((p.error.path.as_str(), p.document), ("spec.nonsense", 1));
    // Removed from the file, it is gone for good.
    assert_eq!(summary(&set(&mut c, "x.yaml", &namespace("b"))), ["-VirtualService a/v"]);
}

#[test]
fn an_empty_or_cut_off_file_removes_nothing_until_it_parses() {
    let mut c = Catalog::default();
    let text = format!("{}---\n{}", namespace("a"), namespace("b"));
    set(&mut c, "x.yaml", &text);
    for torn in ["", "apiVersion: v1\nkind: Namesp", "apiVersion: [\n"] {
        let batch = set(&mut c, "x.yaml", torn);
        assert_eq!(summary(&batch), Vec::<String>::new(), "{torn:?}");
    }
    let batch = set(&mut c, "x.yaml", &format!("{}---\nb: [", namespace("c")));
    assert_eq!(summary(&batch), ["+Namespace c"]);
    let batch = set(&mut c, "x.yaml", &namespace("c"));
    assert_eq!(summary(&batch), ["-Namespace a", "-Namespace b"]);
}

#[test]
fn of_two_documents_of_one_object_the_first_file_wins() {
    let mut c = Catalog::default();
    set(&mut c, "b.yaml", VS);
    let other = VS.replace("hosts: [h]", "hosts: [other]");
    let batch = set(&mut c, "a.yaml", &other);
    assert_eq!(summary(&batch), ["+VirtualService a/v"]);
    assert_eq!(batch.problems[0].file, Path::new("b.yaml"));
    assert_eq!(batch.problems[0].error.code, Code::Duplicate);
}

#[test]
fn statuses_are_merged_and_generated_objects_stand_where_the_user_has_none() {
    let mut c = Catalog::default();
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: a}\nspec: {containers: []}\n";
    set(&mut c, "x.yaml", pod);
    let key = ObjectKey::new(Kind::Pod, "a", "p");
    c.set_status("node-1", &key, Some(b"status: {podIP: 10.0.0.1}\n"));
    let batch = c.batch();
    let Change::Upsert(object) = &batch.changes[0] else { panic!("{batch:?}") };
    let Object::Pod(p) = &**object else { panic!("{object:?}") };
    assert_eq!(p.status.as_ref().unwrap().pod_ip.as_deref(), Some("10.0.0.1"));

    let generated = ObjectKey::new(Kind::Pod, "a", "w");
    let text = pod.replace("name: p,", "name: w, annotations: {ambit.io/generated-by: controller},");
    c.set_status("controller", &generated, Some(text.as_bytes()));
    assert_eq!(summary(&c.batch()), ["+Pod a/w"]);
    c.set_status("controller", &generated, None);
    assert_eq!(summary(&c.batch()), ["-Pod a/w"]);
    // A patch without its object is nothing.
    c.set_status("node-1", &generated, Some(b"status: {}\n"));
    assert_eq!(summary(&c.batch()), Vec::<String>::new());
}
