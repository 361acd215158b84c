//! A Kubernetes Job that trains a sweep, one training in each of its indexes.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::error::{Error, exit_code};

/// A persistent volume, and where it is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// The name of its claim.
    pub claim: String,
    /// The folder in the container, an absolute path.
    pub path: PathBuf,
}

/// A Job of a sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesJob {
    /// The name of the experiment.
    pub name: String,
    /// The number of trainings.
    pub trainings: usize,
    /// The container image, which has the program `regulus`.
    pub image: String,
    /// The folder of the sweep in the container, an absolute path.
    pub sweep: PathBuf,
    /// The volumes, one of which has that folder.
    pub volumes: Vec<Volume>,
    /// The largest number of trainings at once.
    pub concurrency: usize,
    /// The CPUs of each training, such as `2` or `500m`.
    pub cpus: Option<String>,
    /// The memory of each training, such as `2Gi`.
    pub memory: Option<String>,
    /// Environment variables.
    pub variables: Vec<(String, String)>,
}

/// How often an index may fail before it is given up.
const RETRIES: u32 = 3;
/// The time for saving after a signal, in seconds.
const GRACE: u32 = 90;
/// The only container.
const CONTAINER: &str = "regulus";

impl KubernetesJob {
    /// The manifest, which `kubectl` takes as JSON. A training that was interrupted and has saved its state, and a pod that the cluster has removed, are
    /// started again without being counted as failures. A mistake in the command line or the config is not tried again. Anything else is tried again a few times.
    ///
    /// # Errors
    ///
    /// When the folder of the sweep is in none of the volumes.
    pub fn manifest(&self) -> Result<Value, Error> {
        if !self.volumes.iter().any(|volume| self.sweep.starts_with(&volume.path)) {
            let listed = self.volumes.iter().map(|volume| format!("`{}`", volume.path.display())).collect::<Vec<_>>().join(", ");
            return Err(Error::Usage(format!(
                "the sweep is in `{}`, which is in no volume ({listed}); results would be lost with the container. Mount a volume there, or name the sweep's folder \
                 in the container with `--container-dir`",
                self.sweep.display()
            )));
        }
        let name = self.job_name();
        let mut limits = serde_json::Map::new();
        for (resource, amount) in [("cpu", &self.cpus), ("memory", &self.memory)] {
            limits.extend(amount.iter().map(|amount| (resource.to_owned(), json!(amount))));
        }
        let volumes = self.volumes.iter().enumerate();
        let mounts: Vec<Value> = volumes.clone().map(|(at, volume)| json!({ "name": volume_name(at), "mountPath": volume.path })).collect();
        let claims: Vec<Value> = volumes
            .map(|(at, volume)| json!({ "name": volume_name(at), "persistentVolumeClaim": { "claimName": volume.claim } }))
            .collect();
        let variables: Vec<Value> = self.variables.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        let exits = |action: &str, code: u8| json!({ "action": action, "onExitCodes": { "containerName": CONTAINER, "operator": "In", "values": [code] } });
        Ok(json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": { "name": name, "labels": { "app.kubernetes.io/name": "regulus" } },
            "spec": {
                "completionMode": "Indexed",
                "completions": self.trainings,
                "parallelism": self.concurrency.min(self.trainings),
                "backoffLimitPerIndex": RETRIES,
                "podFailurePolicy": { "rules": [
                    exits("FailIndex", exit_code::USAGE),
                    exits("Ignore", exit_code::INTERRUPTED),
                    { "action": "Ignore", "onPodConditions": [{ "type": "DisruptionTarget", "status": "True" }] },
                ] },
                "template": {
                    "metadata": { "labels": { "app.kubernetes.io/name": "regulus" } },
                    "spec": {
                        "restartPolicy": "Never",
                        "terminationGracePeriodSeconds": GRACE,
                        "containers": [{
                            "name": CONTAINER,
                            "image": self.image,
                            "command": ["regulus", "sweep", "run", self.sweep],
                            "env": variables,
                            "resources": { "limits": limits, "requests": limits },
                            "volumeMounts": mounts,
                        }],
                        "volumes": claims,
                    },
                },
            },
        }))
    }

    /// The name of the Job: letters, digits and hyphens, and short enough for the names of its pods.
    fn job_name(&self) -> String {
        let name: String = self.name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
        format!("sweep-{}", name.trim_matches('-')).trim_end_matches('-').to_owned()
    }
}

fn volume_name(at: usize) -> String {
    format!("volume-{at}")
}

impl Volume {
    /// Reads `CLAIM=PATH`.
    ///
    /// # Errors
    ///
    /// When it has another form.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=').filter(|(claim, path)| is_name(claim) && Path::new(path).has_root());
        let (claim, path) = parts.ok_or_else(|| {
            "expected CLAIM=PATH with a claim of small letters, digits, `-` and `.`, and an absolute path, such as `results=/work`"
                .to_owned()
        })?;
        Ok(Self { claim: claim.to_owned(), path: PathBuf::from(path) })
    }
}

/// Whether Kubernetes takes it as the name of an object (RFC 1123).
fn is_name(text: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_label = |label: &str| label.starts_with(is_inner) && label.ends_with(is_inner) && label.chars().all(|c| is_inner(c) || c == '-');
    text.len() <= 253 && text.split('.').all(is_label)
}

/// Reads the name of a container image.
///
/// # Errors
///
/// When it is empty or has other characters than names have.
pub fn container_image(text: &str) -> Result<String, String> {
    let is_valid = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-/:@".contains(c));
    is_valid.then(|| text.to_owned()).ok_or_else(|| "expected the name of an image, such as `registry.example/regulus:1`".to_owned())
}

/// Reads an amount of CPUs.
///
/// # Errors
///
/// When it is not a number above 0, or one of thousandths.
pub fn cpus(text: &str) -> Result<String, String> {
    let number = text.strip_suffix('m').unwrap_or(text);
    is_amount(number).then(|| text.to_owned()).ok_or_else(|| "expected a number of CPUs, such as `2`, `0.5` or `500m`".to_owned())
}

/// Reads an amount of memory.
///
/// # Errors
///
/// When it is not a number above 0 with a unit of Kubernetes.
pub fn memory(text: &str) -> Result<String, String> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let is_unit = ["", "k", "M", "G", "T", "P", "Ki", "Mi", "Gi", "Ti", "Pi"].contains(&&text[number.len()..]);
    (is_unit && is_amount(number))
        .then(|| text.to_owned())
        .ok_or_else(|| "expected an amount of memory, such as `2Gi` or `500M`".to_owned())
}

/// Whether it is a decimal number above 0, without sign or exponent.
fn is_amount(text: &str) -> bool {
    let has_form = text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    has_form && text.parse::<f64>().is_ok_and(|number| number > 0.0)
}

/// Reads `NAME=VALUE`, an environment variable.
///
/// # Errors
///
/// When it has another form, or the name characters that Kubernetes refuses.
pub fn variable(text: &str) -> Result<(String, String), String> {
    let is_name = |name: &str| {
        let is_first = |c: char| c.is_ascii_alphabetic() || c == '_';
        name.starts_with(is_first) && name.chars().all(|c| is_first(c) || c.is_ascii_digit() || c == '-' || c == '.')
    };
    let parts = text.split_once('=').filter(|(name, _)| is_name(name));
    parts.map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(|| {
        "expected NAME=VALUE with a name of letters, digits and `_` that does not begin with a digit, such as `REGULUS_DATA=/data`"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(sweep: &str) -> KubernetesJob {
        KubernetesJob {
            name: "My digits_".to_owned(),
            trainings: 6,
            image: "registry.example/regulus:0.1".to_owned(),
            sweep: PathBuf::from(sweep),
            volumes: vec![Volume::parse("results=/work").unwrap(), Volume::parse("images=/data").unwrap()],
            concurrency: 10,
            cpus: Some("2".to_owned()),
            memory: Some("2Gi".to_owned()),
            variables: vec![("REGULUS_DATA".to_owned(), "/data".to_owned())],
        }
    }

    #[test]
    fn the_manifest_of_a_sweep() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&job("/data/sweep").manifest().unwrap()).unwrap());
    }

    #[test]
    fn a_sweep_outside_of_all_volumes_is_refused() {
        let error = job("/home/sweep").manifest().unwrap_err().to_string();
        assert!(error.contains("`/home/sweep`, which is in no volume (`/work`, `/data`)"), "{error}");
        assert!(job("/workshop/sweep").manifest().is_err());
        for refused in ["Re_sults=/work", "-a=/work", "a..b=/work"] {
            assert!(Volume::parse(refused).is_err(), "{refused}");
        }
        assert!(Volume::parse("results").is_err() && Volume::parse("results=work").is_err() && Volume::parse("=/work").is_err());
    }

    #[test]
    fn what_a_cluster_would_refuse_is_refused_here() {
        assert!(
            ["", "a b", "a\"b"].iter().all(|image| container_image(image).is_err()) && container_image("r.io:5000/a/b:1@sha256:ab").is_ok()
        );
        assert!(["4x", "", "0", "-1", "1e3", "m", "1.2.3"].iter().all(|amount| cpus(amount).is_err()));
        assert!(["2", "0.5", "500m"].iter().all(|amount| cpus(amount).is_ok()));
        assert!(["4QB", "", "Gi", "2 Gi", "0Gi", "2gi"].iter().all(|amount| memory(amount).is_err()));
        assert!(["2Gi", "500M", "1.5Gi", "1000000"].iter().all(|amount| memory(amount).is_ok()));
        assert!(["1FOO=a", "=a", "FOO", "A B=c"].iter().all(|text| variable(text).is_err()));
        assert_eq!(variable("_A1=b=c").unwrap(), ("_A1".to_owned(), "b=c".to_owned()));
    }
}
