//! `baggage`: what a proxy says about its workload, used as metric labels by the other side.
//! In: `key=value,key=value`. Out: [`Baggage`]; and back. A peer's claims, never a reason to allow.
//! Spec: W3C Baggage, Istio's keys; values are not escaped, properties after `;` are ignored.

use ambit_model::workload::WorkloadType;
use http::HeaderValue;

/// Longest header looked at, bytes.
const LONGEST: usize = 4096;
/// Longest value kept, bytes (a Kubernetes name has at most 253).
const LONGEST_VALUE: usize = 253;

const CLUSTER: &str = "k8s.cluster.name";
const NAMESPACE: &str = "k8s.namespace.name";
const SERVICE: &str = "service.name";
const VERSION: &str = "service.version";
const REGION: &str = "cloud.region";
const ZONE: &str = "cloud.availability_zone";

/// Facts about a workload. Empty means unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baggage {
    /// Cluster id (`k8s.cluster.name`).
    pub cluster: Box<str>,
    /// Kubernetes namespace (`k8s.namespace.name`).
    pub namespace: Box<str>,
    /// Kind and name of the workload (`k8s.deployment.name` and the like).
    pub workload: Option<(WorkloadType, Box<str>)>,
    /// Canonical service (`service.name`).
    pub service: Box<str>,
    /// Canonical revision (`service.version`).
    pub version: Box<str>,
    /// Region (`cloud.region`).
    pub region: Box<str>,
    /// Zone (`cloud.availability_zone`).
    pub zone: Box<str>,
}

impl Baggage {
    /// Reads a header. Unknown keys, repeated keys and unusable values are left out.
    pub fn parse(value: &str) -> Self {
        let mut baggage = Self::default();
        if value.len() > LONGEST {
            return baggage;
        }
        for member in value.split(',') {
            let member = member.split(';').next().unwrap_or_default();
            let Some((key, value)) = member.split_once('=') else {
                continue;
            };
            let (key, value) = (key.trim(), value.trim());
            if usable(value) {
                baggage.set(key, value);
            }
        }
        baggage
    }

    /// Reads a header of a request or a reply; an absent or binary one says nothing.
    pub fn from_header(value: Option<&HeaderValue>) -> Self {
        value
            .and_then(|v| v.to_str().ok())
            .map(Self::parse)
            .unwrap_or_default()
    }

    /// Writes the header, empty keys omitted; `None` if nothing is known.
    pub fn to_header(&self) -> Option<HeaderValue> {
        let mut text = String::with_capacity(192);
        let mut put = |key: &str, value: &str| {
            if usable(value) {
                if !text.is_empty() {
                    text.push(',');
                }
                text.push_str(key);
                text.push('=');
                text.push_str(value);
            }
        };
        put(CLUSTER, &self.cluster);
        put(NAMESPACE, &self.namespace);
        if let Some((kind, name)) = &self.workload {
            put(workload_key(*kind), name);
        }
        put(SERVICE, &self.service);
        put(VERSION, &self.version);
        put(REGION, &self.region);
        put(ZONE, &self.zone);
        (!text.is_empty())
            .then(|| HeaderValue::try_from(text).ok())
            .flatten()
    }

    fn set(&mut self, key: &str, value: &str) {
        let place = match key {
            CLUSTER => &mut self.cluster,
            NAMESPACE => &mut self.namespace,
            SERVICE => &mut self.service,
            VERSION => &mut self.version,
            REGION => &mut self.region,
            ZONE => &mut self.zone,
            other => {
                if let (None, Some(kind)) = (&self.workload, workload_kind(other)) {
                    self.workload = Some((kind, value.into()));
                }
                return;
            }
        };
        if place.is_empty() {
            *place = value.into();
        }
    }
}

fn usable(value: &str) -> bool {
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b',' | b';' | b'"' | b'\\');
    (1..=LONGEST_VALUE).contains(&value.len()) && value.bytes().all(plain)
}

fn workload_key(kind: WorkloadType) -> &'static str {
    match kind {
        WorkloadType::Deployment => "k8s.deployment.name",
        WorkloadType::CronJob => "k8s.cronjob.name",
        WorkloadType::Pod => "k8s.pod.name",
        WorkloadType::Job => "k8s.job.name",
    }
}

fn workload_kind(key: &str) -> Option<WorkloadType> {
    [
        WorkloadType::Deployment,
        WorkloadType::CronJob,
        WorkloadType::Pod,
        WorkloadType::Job,
    ]
    .into_iter()
    .find(|kind| workload_key(*kind) == key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_header_of_a_proxy_parses() {
        let text = "k8s.cluster.name=Kubernetes,k8s.namespace.name=default,\
                    k8s.deployment.name=client,service.name=client,service.version=v1,\
                    cloud.region=r1,cloud.availability_zone=z1";
        let baggage = Baggage::parse(text);
        assert_eq!(&*baggage.cluster, "Kubernetes");
        assert_eq!(
            baggage.workload,
            Some((WorkloadType::Deployment, "client".into()))
        );
        assert_eq!(baggage.to_header().unwrap(), text);
    }

    #[test]
    fn strange_members_are_left_out() {
        let long = "x".repeat(254);
        let text = format!(
            " service.name = a ;p=1, service.name=b,=,,=x,k8s.job.name=j,k8s.pod.name=p,\
             service.version=,cloud.region={long},unknown=1,k8s.cluster.name=a b"
        );
        let expected = Baggage {
            service: "a".into(),
            workload: Some((WorkloadType::Job, "j".into())),
            ..Baggage::default()
        };
        assert_eq!(Baggage::parse(&text), expected);
        assert_eq!(Baggage::parse(&"a=b,".repeat(2000)), Baggage::default());
        assert_eq!(Baggage::default().to_header(), None);
        assert_eq!(Baggage::from_header(None), Baggage::default());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(text in "([a-z0-9.]{1,24}=[!-~]{0,12},?){0,8}") {
            let baggage = Baggage::parse(&text);
            let again = Baggage::from_header(baggage.to_header().as_ref());
            prop_assert_eq!(again, baggage);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,80}") {
            let _ = Baggage::parse(&text);
        }
    }
}
