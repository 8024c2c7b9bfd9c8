//! What a client asked for, of one type.
//! A first request without names is a wildcard; `*` subscribes to it by name; names may be added
//! and dropped later.

use std::collections::BTreeSet;

/// Names one client subscribed to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    wildcard: bool,
    names: BTreeSet<String>,
}

impl Subscription {
    /// The subscription of a first request.
    pub fn first(subscribe: &[String], unsubscribe: &[String]) -> Self {
        let mut subscription = Self {
            wildcard: subscribe.is_empty(),
            names: BTreeSet::new(),
        };
        subscription.change(subscribe, unsubscribe);
        subscription
    }

    /// Applies a later request; returns the names that are new.
    pub fn change(&mut self, subscribe: &[String], unsubscribe: &[String]) -> Vec<String> {
        let mut added = Vec::new();
        for name in subscribe {
            if name == "*" {
                self.wildcard = true;
            } else if self.names.insert(name.clone()) || !self.wildcard {
                // Asking again for a name asks for an answer again.
                added.push(name.clone());
            }
        }
        for name in unsubscribe {
            if name == "*" {
                self.wildcard = false;
            } else {
                self.names.remove(name);
            }
        }
        added
    }

    /// Everything is wanted.
    pub fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    /// Names wanted beside, or instead of, everything.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.names.iter()
    }

    /// Whether a resource is wanted, by its name or one of its aliases.
    pub fn wants(&self, name: &str, aliases: &[String]) -> bool {
        self.wildcard || self.names.contains(name) || aliases.iter().any(|a| self.names.contains(a))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn an_empty_first_request_is_a_wildcard() {
        assert!(Subscription::first(&[], &[]).is_wildcard());
        assert!(!Subscription::first(&names(&["a"]), &[]).is_wildcard());
    }

    #[test]
    fn on_demand_starts_by_leaving_the_wildcard() {
        let mut s = Subscription::first(&names(&["*"]), &names(&["*"]));
        assert!(!s.is_wildcard());
        assert_eq!(s.change(&names(&["a"]), &[]), ["a"]);
        assert!(s.wants("a", &[]) && s.wants("x", &names(&["a"])) && !s.wants("b", &[]));
        s.change(&[], &names(&["a"]));
        assert!(!s.wants("a", &[]));
    }
}
