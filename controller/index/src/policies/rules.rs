//! Rules of one AuthorizationPolicy at L4. One rule each; clauses in the order `to`, `from`, each
//! `when`; one match per entry.

use crate::encode::{account, block, string};
use ambit_api::security as pb;
use ambit_crds::istio::{Action, AuthorizationPolicySpec, Condition, Operation, Rule, Source};

/// What became of the rules.
#[derive(Debug, Default)]
pub(super) struct Converted {
    pub(super) rules: Vec<pb::Rule>,
    /// What is not enforced as written, in the user's words.
    pub(super) remarks: Vec<String>,
}

/// Converts the rules of one policy.
pub(super) fn convert(spec: &AuthorizationPolicySpec, namespace: &str) -> Converted {
    let mut converted = Converted::default();
    for (i, rule) in spec.rules.iter().enumerate() {
        let path = format!("spec.rules[{i}]");
        let draft = Draft::of(rule, &path, namespace);
        if let Some(wrong) = draft.wrong.first() {
            converted
                .remarks
                .push(format!("{wrong}: cannot be read; {path} has no effect"));
            continue;
        }
        if draft.l7.is_empty() {
            converted.rules.push(draft.rule());
            continue;
        }
        let fields = draft.l7.join(", ");
        if spec.action == Action::Allow {
            converted.remarks.push(format!(
                "{path} allows nothing: {fields} cannot be matched by a node proxy"
            ));
            continue;
        }
        // A clause of empty matches never holds, and with it the rule.
        let dead = draft
            .clauses
            .iter()
            .any(|c| c.matches.iter().all(|m| *m == pb::Match::default()));
        converted.remarks.push(if dead {
            format!("{path} denies nothing: {fields} cannot be matched by a node proxy")
        } else {
            format!("{path} denies more than written: {fields} cannot be matched by a node proxy")
        });
        converted.rules.push(draft.rule());
    }
    converted
}

#[derive(Default)]
struct Draft {
    clauses: Vec<pb::Clause>,
    /// Paths of fields that only a waypoint can match.
    l7: Vec<String>,
    /// Paths of values that cannot be read.
    wrong: Vec<String>,
}

impl Draft {
    fn of(rule: &Rule, path: &str, namespace: &str) -> Self {
        let mut draft = Self::default();
        let to = rule.to.iter().enumerate().map(|(i, to)| {
            let path = format!("{path}.to[{i}].operation");
            draft.operation(&to.operation.clone().unwrap_or_default(), &path)
        });
        let to: Vec<pb::Match> = to.collect();
        let from = rule.from.iter().enumerate().map(|(i, from)| {
            let path = format!("{path}.from[{i}].source");
            draft.source(&from.source.clone().unwrap_or_default(), &path, namespace)
        });
        let from: Vec<pb::Match> = from.collect();
        let mut clauses = Vec::new();
        for matches in [to, from] {
            if !matches.is_empty() {
                clauses.push(pb::Clause { matches });
            }
        }
        for (i, when) in rule.when.iter().enumerate() {
            let path = format!("{path}.when[{i}]");
            let matches = vec![draft.when(when, &path, namespace)];
            clauses.push(pb::Clause { matches });
        }
        draft.clauses = clauses;
        draft
    }

    fn rule(self) -> pb::Rule {
        pb::Rule {
            clauses: self.clauses,
        }
    }

    fn operation(&mut self, op: &Operation, path: &str) -> pb::Match {
        self.note_l7(
            path,
            &[
                ("hosts", &op.hosts),
                ("notHosts", &op.not_hosts),
                ("methods", &op.methods),
                ("notMethods", &op.not_methods),
                ("paths", &op.paths),
                ("notPaths", &op.not_paths),
            ],
        );
        pb::Match {
            destination_ports: self.ports(&op.ports, &format!("{path}.ports")),
            not_destination_ports: self.ports(&op.not_ports, &format!("{path}.notPorts")),
            ..Default::default()
        }
    }

    fn source(&mut self, source: &Source, path: &str, namespace: &str) -> pb::Match {
        self.note_l7(
            path,
            &[
                ("requestPrincipals", &source.request_principals),
                ("notRequestPrincipals", &source.not_request_principals),
                ("remoteIpBlocks", &source.remote_ip_blocks),
                ("notRemoteIpBlocks", &source.not_remote_ip_blocks),
            ],
        );
        pb::Match {
            namespaces: strings(&source.namespaces),
            not_namespaces: strings(&source.not_namespaces),
            principals: strings(&source.principals),
            not_principals: strings(&source.not_principals),
            source_ips: self.blocks(&source.ip_blocks, &format!("{path}.ipBlocks")),
            not_source_ips: self.blocks(&source.not_ip_blocks, &format!("{path}.notIpBlocks")),
            service_accounts: accounts(&source.service_accounts, namespace),
            not_service_accounts: accounts(&source.not_service_accounts, namespace),
            ..Default::default()
        }
    }

    fn when(&mut self, when: &Condition, path: &str, namespace: &str) -> pb::Match {
        let (yes, no) = (&when.values, &when.not_values);
        let (yes_path, no_path) = (format!("{path}.values"), format!("{path}.notValues"));
        let mut m = pb::Match::default();
        match when.key.as_str() {
            "source.namespace" => {
                (m.namespaces, m.not_namespaces) = (strings(yes), strings(no));
            }
            "source.principal" => {
                (m.principals, m.not_principals) = (strings(yes), strings(no));
            }
            "source.serviceAccount" => {
                m.service_accounts = accounts(yes, namespace);
                m.not_service_accounts = accounts(no, namespace);
            }
            "source.ip" => {
                m.source_ips = self.blocks(yes, &yes_path);
                m.not_source_ips = self.blocks(no, &no_path);
            }
            "destination.ip" => {
                m.destination_ips = self.blocks(yes, &yes_path);
                m.not_destination_ips = self.blocks(no, &no_path);
            }
            "destination.port" => {
                m.destination_ports = self.ports(yes, &yes_path);
                m.not_destination_ports = self.ports(no, &no_path);
            }
            other => self.l7.push(format!("{path} ({other})")),
        }
        m
    }

    fn note_l7(&mut self, path: &str, fields: &[(&str, &Vec<String>)]) {
        let used = fields.iter().filter(|(_, values)| !values.is_empty());
        self.l7
            .extend(used.map(|(name, _)| format!("{path}.{name}")));
    }

    fn ports(&mut self, values: &[String], path: &str) -> Vec<u32> {
        self.each(values, path, |text| text.parse::<u16>().ok().map(u32::from))
    }

    fn blocks(&mut self, values: &[String], path: &str) -> Vec<pb::Address> {
        self.each(values, path, block)
    }

    fn each<T>(
        &mut self,
        values: &[String],
        path: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let mut read_values = Vec::with_capacity(values.len());
        for (i, text) in values.iter().enumerate() {
            match read(text) {
                Some(value) => read_values.push(value),
                None => self.wrong.push(format!("{path}[{i}]")),
            }
        }
        read_values
    }
}

fn strings(values: &[String]) -> Vec<pb::StringMatch> {
    values.iter().map(|v| string(v)).collect()
}

fn accounts(values: &[String], namespace: &str) -> Vec<pb::ServiceAccountMatch> {
    values.iter().map(|v| account(v, namespace)).collect()
}
