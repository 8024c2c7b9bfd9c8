use super::*;

use crate::test_ns;

#[test]
fn only_network_namespaces_are_taken() {
    let file = File::open("/proc/self/ns/mnt").unwrap();
    assert!(matches!(
        Netns::from_fd(file.into()),
        Err(OpenNetnsError::NotNetns { source: None })
    ));
    let file = File::open("/proc/self/status").unwrap();
    assert!(matches!(
        Netns::from_fd(file.into()),
        Err(OpenNetnsError::NotNetns { source: Some(_) })
    ));
}

#[test]
fn entering_changes_the_namespace_for_the_closure_only() {
    let Some(ns) = test_ns::scratch() else { return };
    let home = Netns::current().unwrap();
    let inside = ns.enter(|| Netns::current().unwrap().inode()).unwrap();
    assert_eq!(inside, ns.inode());
    assert_ne!(inside, home.inode());
    assert_eq!(Netns::current().unwrap().inode(), home.inode());
}

#[test]
fn nested_enters_come_back_one_by_one() {
    let Some(outer) = test_ns::scratch() else {
        return;
    };
    let Some(inner) = test_ns::scratch() else {
        return;
    };
    let home = Netns::current().unwrap().inode();
    outer
        .enter(|| {
            inner
                .enter(|| assert_eq!(Netns::current().unwrap().inode(), inner.inode()))
                .unwrap();
            assert_eq!(Netns::current().unwrap().inode(), outer.inode());
        })
        .unwrap();
    assert_eq!(Netns::current().unwrap().inode(), home);
}

#[test]
fn a_panic_inside_comes_back_too() {
    let Some(ns) = test_ns::scratch() else { return };
    let home = Netns::current().unwrap().inode();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        ns.enter(|| panic!("inside"))
    }));
    assert!(caught.is_err());
    assert_eq!(Netns::current().unwrap().inode(), home);
}

#[test]
fn cookies_tell_namespaces_apart() {
    let Some(a) = test_ns::scratch() else { return };
    let Some(b) = test_ns::scratch() else { return };
    assert_ne!(a.cookie().unwrap(), b.cookie().unwrap());
    assert_eq!(
        a.cookie().unwrap(),
        a.try_clone().unwrap().cookie().unwrap()
    );
}
