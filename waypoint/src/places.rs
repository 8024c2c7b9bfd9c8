//! How many handshakes, tunnels and plaintext connections one worker may have: in all, and from one
//! address, so that whoever asks for too many keeps nobody else out.
//! In: connections as they are accepted. Out: a place each, for as long as it is needed, or none.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

/// Places of one kind.
pub(crate) struct Places {
    limits: Limits,
    in_all: Cell<usize>,
    by_address: RefCell<HashMap<IpAddr, usize>>,
    /// That there are too many has been said.
    told: Cell<bool>,
}

/// How many there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// On one worker.
    pub(crate) in_all: usize,
    /// Of those, for one address.
    pub(crate) for_one: usize,
}

/// One of them.
pub(crate) struct Place {
    places: Rc<Places>,
    address: IpAddr,
}

impl Places {
    pub(crate) fn new(limits: Limits) -> Rc<Self> {
        Rc::new(Self {
            limits,
            in_all: Cell::new(0),
            by_address: RefCell::default(),
            told: Cell::new(false),
        })
    }

    /// One more place; `None`: all are taken.
    pub(crate) fn take(self: &Rc<Self>, address: IpAddr) -> Option<Place> {
        let mut by_address = self.by_address.borrow_mut();
        let for_one = by_address.get(&address).copied().unwrap_or(0);
        if self.in_all.get() >= self.limits.in_all || for_one >= self.limits.for_one {
            return None;
        }
        by_address.insert(address, for_one + 1);
        self.in_all.set(self.in_all.get() + 1);
        Some(Place {
            places: self.clone(),
            address,
        })
    }

    /// Whether it is worth saying that all are taken: once, until an address has left.
    pub(crate) fn is_news(&self) -> bool {
        !self.told.replace(true)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let places = &self.places;
        places.in_all.set(places.in_all.get() - 1);
        let mut by_address = places.by_address.borrow_mut();
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
                places.told.set(false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: usize) -> IpAddr {
        let n = u32::try_from(n).unwrap();
        std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into()
    }

    #[test]
    fn one_address_keeps_no_other_out_and_places_come_back() {
        let limits = Limits {
            in_all: 100,
            for_one: 10,
        };
        let places = Places::new(limits);
        let mut held: Vec<_> = (0..10).map(|_| places.take(ip(1)).unwrap()).collect();
        assert!(places.take(ip(1)).is_none());
        assert!(places.is_news() && !places.is_news());
        assert!(places.take(ip(2)).is_some());
        held.pop();
        held.push(places.take(ip(1)).unwrap());
        for n in 0..90 {
            held.push(places.take(ip(10 + n)).unwrap());
        }
        assert!(places.take(ip(5000)).is_none());
        drop(held);
        assert!(places.by_address.borrow().is_empty());
        assert!(places.take(ip(1)).is_some() && places.is_news());
    }
}
