//! What is in a pod: its sandbox and processes of its application.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::fs;
use std::net::Ipv4Addr;

use ambit_net::Netns;
use ambit_net::netlink::{Family, Netlink};
use ambit_net::socket::ListenSpec;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::ground::{PATIENCE, ip};

/// A pod's sandbox. Dropping it removes the namespace, as far as the agent lets it go.
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(super) netns: Netns,
}

/// A process of a pod that connects and then echoes lines.
pub(crate) struct App {
    pub(super) child: tokio::process::Child,
    pub(super) out: tokio::sync::Mutex<BufReader<tokio::process::ChildStdout>>,
}

impl Pod {
    pub(crate) fn add_address(&self, address: &str) {
        ip(&self.netns, &format!("addr add {address} dev eth0"));
    }

    /// Rules by mark in the pod, both families.
    pub(crate) async fn mark_rules(&self) -> usize {
        let netlink = Netlink::open(&self.netns).unwrap();
        netlink.rules(Family::V4).await.unwrap().len()
            + netlink.rules(Family::V6).await.unwrap().len()
    }

    /// A server of the pod's application.
    pub(crate) fn listen(&self, port: u16) -> TcpListener {
        let addr = (Ipv4Addr::UNSPECIFIED, port).into();
        let listener = ListenSpec::new(addr).tcp(Some(&self.netns)).unwrap();
        TcpListener::from_std(listener).unwrap()
    }

    /// Everything of capture that can be seen from inside the pod: rules by mark, routes of our tables.
    pub(crate) fn traces(&self) -> Vec<String> {
        let mut found = Vec::new();
        for family in ["-4", "-6"] {
            let rules = ip(&self.netns, &format!("{family} rule show"));
            found.extend(lines_with(&rules, &["fwmark"]));
            let routes = ip(&self.netns, &format!("{family} route show table all"));
            found.extend(lines_with(&routes, &["table 100", "table 101"]));
        }
        found
    }

    /// Listening TCP sockets in the pod.
    pub(crate) fn listeners(&self) -> usize {
        let count = |table: &str| {
            let text = fs::read_to_string(table).unwrap();
            let lines = text.lines().skip(1);
            lines
                .filter(|line| line.split_ascii_whitespace().nth(3) == Some("0A"))
                .count()
        };
        self.netns
            .enter(|| count("/proc/thread-self/net/tcp") + count("/proc/thread-self/net/tcp6"))
            .unwrap()
    }
}

impl App {
    /// Whether the connection was established; `false` means refused.
    pub(crate) async fn connected(&self) -> bool {
        let mut line = String::new();
        let mut out = self.out.lock().await;
        timeout(PATIENCE, out.read_line(&mut line))
            .await
            .expect("connect ends")
            .unwrap();
        line == "connected\n"
    }

    /// Everything it prints.
    pub(crate) async fn says(&self) -> String {
        let mut text = String::new();
        let mut out = self.out.lock().await;
        timeout(PATIENCE, out.read_to_string(&mut text))
            .await
            .expect("the app ends")
            .unwrap();
        text
    }

    /// Sends through the other end and gets it back.
    pub(crate) async fn echoes(&self, other: &mut TcpStream) {
        assert!(self.child.id().is_some());
        other.write_all(b"still here\n").await.unwrap();
        let mut back = [0; 11];
        timeout(PATIENCE, other.read_exact(&mut back))
            .await
            .expect("an echo")
            .unwrap();
        assert_eq!(&back, b"still here\n");
    }
}

fn lines_with(text: &str, parts: &[&str]) -> Vec<String> {
    let ours = |line: &&str| parts.iter().any(|part| line.contains(part));
    text.lines().filter(ours).map(str::to_owned).collect()
}
