//! Which images there are.
//! In: where Ambit's are kept, under which tag. Out: recipes. Samples have the names under which the
//! public manifests ask for them, so that those work unedited.

/// Where Ambit's images are kept unless told otherwise.
pub(crate) const HUB: &str = "docker.io/ambitmesh";

/// Parts of Ambit, and samples.
pub(super) const GROUPS: [&str; 2] = ["ambit", "samples"];

/// Where a program comes from.
pub(super) enum Source {
    /// Built from a package of this workspace
    Workspace { package: &'static str },
    /// The same without libraries, because it runs outside its image
    Static { package: &'static str },
    /// Installed on this machine
    Machine,
}

impl Source {
    /// The package it is built from.
    pub(super) fn package(&self) -> Option<&'static str> {
        match self {
            Self::Workspace { package } | Self::Static { package } => Some(package),
            Self::Machine => None,
        }
    }
}

/// A program in an image.
pub(super) struct Program {
    pub(super) source: Source,
    /// Name of the executable
    pub(super) file: &'static str,
    /// Directory in the image
    pub(super) to: &'static str,
}

/// How an image is made.
pub(super) struct Recipe {
    /// Name of the archive
    pub(super) name: String,
    /// One of [`GROUPS`]
    group: &'static str,
    pub(super) description: &'static str,
    pub(super) references: Vec<String>,
    pub(super) programs: Vec<Program>,
    /// Symbolic links: path and target
    pub(super) links: Vec<(String, String)>,
    pub(super) entrypoint: Vec<&'static str>,
    /// Arguments where a pod gives none
    pub(super) command: Vec<&'static str>,
    pub(super) environment: Vec<(&'static str, &'static str)>,
    pub(super) user: &'static str,
    pub(super) ports: Vec<u16>,
}

impl Recipe {
    /// Whether a name on the command line means it.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name == name || self.group == name
    }
}

/// Who runs what needs no privilege.
const UNPRIVILEGED: &str = "1337:1337";
/// Who runs samples.
const SAMPLE: &str = "1000:1000";
/// What busybox is called by in the image of curl.
const APPLETS: &[&str] = &[
    "awk",
    "base64",
    "basename",
    "cat",
    "chmod",
    "cp",
    "cut",
    "date",
    "dd",
    "df",
    "diff",
    "dirname",
    "du",
    "echo",
    "env",
    "expr",
    "false",
    "find",
    "free",
    "grep",
    "gunzip",
    "gzip",
    "head",
    "hostname",
    "id",
    "ip",
    "kill",
    "ls",
    "md5sum",
    "mkdir",
    "mktemp",
    "mv",
    "nc",
    "netstat",
    "nslookup",
    "ping",
    "printf",
    "ps",
    "pwd",
    "rm",
    "sed",
    "seq",
    "sh",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "tail",
    "tar",
    "tee",
    "test",
    "timeout",
    "top",
    "touch",
    "tr",
    "true",
    "uniq",
    "vi",
    "wc",
    "wget",
    "which",
    "whoami",
    "xargs",
    "yes",
];
/// Versions of bookinfo's images that public manifests have named.
const BOOKINFO_TAGS: [&str; 3] = ["1.20.1", "1.20.2", "1.20.3"];
/// Services whose public images hold curl, which guides run there.
const WITH_CURL: [&str; 2] = ["reviews", "ratings"];
/// Where they and `helloworld` are kept.
const SAMPLE_HUBS: [&str; 2] = ["docker.io/istio", "registry.istio.io/release"];

/// Every image.
pub(super) fn all(hub: &str, tag: &str) -> Vec<Recipe> {
    let mut recipes = ambit(hub, tag);
    recipes.extend(bookinfo());
    recipes.extend(helloworld());
    recipes.push(httpbin());
    recipes.push(tcp_echo());
    recipes.push(curl());
    recipes
}

fn ambit(hub: &str, tag: &str) -> Vec<Recipe> {
    let part = |name: &str, description, programs: Vec<Program>, user, ports| Recipe {
        name: name.to_owned(),
        group: "ambit",
        description,
        references: vec![format!("{hub}/{name}:{tag}")],
        entrypoint: Vec::new(),
        command: Vec::new(),
        programs,
        links: Vec::new(),
        environment: Vec::new(),
        user,
        ports,
    };
    let mut parts = vec![
        part(
            "controller",
            "Ambit's control plane: configuration, certificates, statuses",
            vec![own("ambit-controller", "ambit-controller")],
            UNPRIVILEGED,
            vec![15012, 15014, 15017],
        ),
        part(
            "agent",
            "Ambit's node agent: eBPF, CNI plugin, enrolment",
            vec![own("ambit-agent", "ambit-agent"), plugin()],
            "0:0",
            vec![15014, 8000],
        ),
        part(
            "ztunnel",
            "Ambit's node proxy",
            vec![own("ambit-ztunnel", "ztunnel")],
            "0:0",
            vec![15008, 15020, 15021],
        ),
        part(
            "waypoint",
            "Ambit's HTTP proxy",
            vec![own("ambit-waypoint", "ambit-waypoint")],
            UNPRIVILEGED,
            vec![15008, 15020, 15021],
        ),
    ];
    let entrypoints = [
        "/usr/local/bin/ambit-controller",
        "/usr/local/bin/ambit-agent",
        "/usr/local/bin/ztunnel",
        "/usr/local/bin/ambit-waypoint",
    ];
    for (part, entrypoint) in parts.iter_mut().zip(entrypoints) {
        part.entrypoint = vec![entrypoint];
    }
    parts
}

fn own(package: &'static str, file: &'static str) -> Program {
    Program {
        source: Source::Workspace { package },
        file,
        to: "usr/local/bin",
    }
}

/// The agent copies the plugin to the node, whose libraries are whatever they are.
fn plugin() -> Program {
    Program {
        source: Source::Static {
            package: "ambit-cni",
        },
        file: "ambit-cni",
        to: "usr/local/bin",
    }
}

/// Installed on this machine.
fn machine(file: &'static str, to: &'static str) -> Program {
    Program {
        source: Source::Machine,
        file,
        to,
    }
}

fn sample(
    name: String,
    references: Vec<String>,
    package: &'static str,
    file: &'static str,
) -> Recipe {
    Recipe {
        name,
        group: "samples",
        description: "A sample application with the interface of the public one of this name",
        references,
        programs: vec![own(package, file)],
        links: Vec::new(),
        entrypoint: Vec::new(),
        command: Vec::new(),
        environment: Vec::new(),
        user: SAMPLE,
        ports: Vec::new(),
    }
}

fn bookinfo() -> Vec<Recipe> {
    let services: [(&str, &str, Vec<&str>); 4] = [
        ("productpage", "productpage", vec!["v1"]),
        ("details", "details", vec!["v1", "v2"]),
        ("ratings", "ratings", vec!["v1", "v2"]),
        ("reviews", "reviews", vec!["v1", "v2", "v3"]),
    ];
    let mut recipes = Vec::new();
    for (service, role, versions) in services {
        for version in versions {
            let references = SAMPLE_HUBS
                .iter()
                .flat_map(|hub| {
                    BOOKINFO_TAGS
                        .map(|tag| format!("{hub}/examples-bookinfo-{service}-{version}:{tag}"))
                })
                .collect();
            let name = format!("bookinfo-{service}-{version}");
            let mut programs = vec![own("ambit-bookinfo", "bookinfo")];
            if WITH_CURL.contains(&service) {
                programs.push(machine("curl", "usr/bin"));
            }
            recipes.push(Recipe {
                programs,
                entrypoint: vec!["/usr/local/bin/bookinfo", role],
                environment: vec![("SERVICE_VERSION", version)],
                ports: vec![9080],
                ..sample(name, references, "ambit-bookinfo", "bookinfo")
            });
        }
    }
    recipes
}

fn helloworld() -> Vec<Recipe> {
    let versions = ["v1", "v2"].into_iter();
    let recipes = versions.map(|version| {
        let references = SAMPLE_HUBS
            .map(|hub| format!("{hub}/examples-helloworld-{version}:1.0"))
            .to_vec();
        Recipe {
            entrypoint: vec!["/usr/local/bin/helloworld"],
            environment: vec![("SERVICE_VERSION", version)],
            ports: vec![5000],
            ..sample(
                format!("helloworld-{version}"),
                references,
                "ambit-web-samples",
                "helloworld",
            )
        }
    });
    recipes.collect()
}

/// Both implementations that public manifests name: one listens on 80, the other on 8080.
fn httpbin() -> Recipe {
    let references = [
        "docker.io/kennethreitz/httpbin:latest",
        "docker.io/mccutchen/go-httpbin:latest",
        "docker.io/mccutchen/go-httpbin:v2.15.0",
    ];
    Recipe {
        entrypoint: vec!["/usr/local/bin/httpbin"],
        // Manifests for the older of the two start it by the name of its server.
        links: vec![("usr/local/bin/gunicorn".to_owned(), "httpbin".to_owned())],
        // Port 80 needs it on most nodes; told to be another user, it serves 8080 only.
        user: "0:0",
        ports: vec![80, 8080],
        ..sample(
            "httpbin".to_owned(),
            references.map(str::to_owned).to_vec(),
            "ambit-web-samples",
            "httpbin",
        )
    }
}

fn tcp_echo() -> Recipe {
    let references = SAMPLE_HUBS.map(|hub| format!("{hub}/tcp-echo-server:1.3"));
    Recipe {
        entrypoint: vec!["/usr/local/bin/tcp-echo"],
        command: vec!["9000", "hello"],
        ports: vec![9000],
        ..sample(
            "tcp-echo".to_owned(),
            references.to_vec(),
            "ambit-web-samples",
            "tcp-echo",
        )
    }
}

/// The machine's curl, with busybox around it as in the public image.
fn curl() -> Recipe {
    let references = [
        "docker.io/curlimages/curl:latest",
        "docker.io/curlimages/curl:8.16.0",
        "docker.io/curlimages/curl:8.5.0",
    ];
    Recipe {
        name: "curl".to_owned(),
        group: "samples",
        description: "curl and a shell, for trying things out in a test cluster",
        references: references.map(str::to_owned).to_vec(),
        programs: vec![machine("curl", "usr/bin"), machine("busybox", "bin")],
        links: APPLETS
            .iter()
            .map(|name| (format!("bin/{name}"), "busybox".to_owned()))
            .collect(),
        entrypoint: Vec::new(),
        command: Vec::new(),
        environment: Vec::new(),
        user: "100:101",
        ports: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::all;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_images_share_a_name() {
        let recipes = all("hub.test/a", "1");
        let names: BTreeSet<&String> = recipes
            .iter()
            .flat_map(|recipe| &recipe.references)
            .collect();
        assert_eq!(
            names.len(),
            recipes
                .iter()
                .map(|recipe| recipe.references.len())
                .sum::<usize>()
        );
    }

    #[test]
    fn the_public_manifests_find_their_images() {
        let recipes = all("hub.test/a", "1");
        let has = |name: &str| {
            recipes
                .iter()
                .any(|recipe| recipe.references.iter().any(|r| r == name))
        };
        assert!(has("docker.io/istio/examples-bookinfo-reviews-v3:1.20.3"));
        assert!(has("docker.io/istio/examples-helloworld-v2:1.0"));
        assert!(has("docker.io/curlimages/curl:latest"));
        assert!(has("hub.test/a/ztunnel:1"));
    }
}
