//! A temporary folder for each test, and the program that runs in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// A small, quick experiment with all uses of randomness: dropout, shuffling, a validation split.
pub(crate) const SMALL: &str = r#"
name = "small"
seed = 3

[data]
source = "mnist_mini"
train_limit = 240
validation = 0.2

[model]
channels = [4, 6]
hidden = 16
dropout = 0.3

[[penalty]]
kind = "l2"
lambda = 0.5

[train]
epochs = 3
batch_size = 16
"#;

/// A folder that is removed when the test ends.
pub(crate) struct Sandbox(TempDir);

impl Sandbox {
    pub(crate) fn new() -> Self {
        let sandbox = Self(tempfile::tempdir().unwrap());
        sandbox.write("small.toml", SMALL);
        sandbox
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// The program, to be run in the folder without the user's cache.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regulus"));
        command.args(arguments).current_dir(self.0.path()).env("REGULUS_DATA", self.path("cache")).env("NO_COLOR", "1");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran(self.command(arguments).output().unwrap())
    }

    pub(crate) fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Ran {
        Ran(self.command(arguments).envs(variables.iter().copied()).output().unwrap())
    }

    /// Runs a command that must succeed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(ran.code(), 0, "{arguments:?}\n{}", ran.stderr());
        ran
    }

    /// The content of a JSON file.
    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(name)).unwrap()).unwrap()
    }

    /// The results of a run: everything that must not depend on interruptions.
    pub(crate) fn results(&self, run: &str) -> Vec<(String, String)> {
        let run = self.path(run);
        let mut results = Vec::new();
        for checkpoint in ["last", "best"] {
            for file in ["model.safetensors", "optimizer.bpk"] {
                if let Ok(bytes) = fs::read(run.join("checkpoints").join(checkpoint).join(file)) {
                    results.push((format!("{checkpoint}/{file}"), format!("{bytes:?}")));
                }
            }
        }
        for line in fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines() {
            results.push(("metrics".to_owned(), untimed(line)));
        }
        results.push(("summary".to_owned(), untimed(&fs::read_to_string(run.join("summary.json")).unwrap())));
        results
    }
}

/// JSON without times, speeds and the checksum.
fn untimed(json: &str) -> String {
    let mut value: Value = serde_json::from_str(json).unwrap();
    for key in ["seconds", "images_per_second", "sha256"] {
        value.as_object_mut().unwrap().remove(key);
    }
    value.to_string()
}

/// The output of a program.
pub(crate) struct Ran(Output);

impl Ran {
    pub(crate) fn code(&self) -> i32 {
        self.0.status.code().expect("the program ended by itself")
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }

    /// Each line of standard output as JSON.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.stdout().lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }
}

/// The CPU backends of this build.
pub(crate) fn cpu_backends() -> Vec<&'static str> {
    [("flex", cfg!(feature = "flex")), ("ndarray", cfg!(feature = "ndarray"))]
        .into_iter()
        .filter_map(|(name, built)| built.then_some(name))
        .collect()
}

/// The backends of this build that have a device. Prints those that have none.
pub(crate) fn present_backends() -> Vec<&'static str> {
    let mut present = cpu_backends();
    if cfg!(feature = "wgpu") {
        let sandbox = Sandbox::new();
        let lines = sandbox.ok(&["backends", "--json"]).json();
        let wgpu = lines.iter().find(|line| line["backend"] == "wgpu").unwrap();
        if wgpu["devices"].as_array().unwrap().is_empty() {
            assert!(std::env::var_os("REGULUS_REQUIRE_GPU").is_none(), "REGULUS_REQUIRE_GPU is set, but there is no adapter");
            say!("skipped on wgpu: no adapter on this machine; it needs {}", wgpu["needs"]);
        } else {
            present.push("wgpu");
        }
    }
    present
}

/// Every backend with stock operations, and the CPU backends with fused operations.
pub(crate) fn backends_and_kernels() -> Vec<(&'static str, &'static str)> {
    let fused = cpu_backends().into_iter().map(|backend| (backend, "fused"));
    fused.chain(present_backends().into_iter().map(|backend| (backend, "stock"))).collect()
}

/// Writes a PNG of one grey value.
pub(crate) fn png(path: &Path, width: u32, height: u32, grey: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::GrayImage::from_pixel(width, height, image::Luma([grey])).save(path).unwrap();
}
