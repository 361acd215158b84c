//! The memory that the kernels keep for the next tensors.

use std::ops::ControlFlow;
use std::process::Command;

use regulus::config::Experiment;
use regulus::data;
use regulus::error::Error;
use regulus::session::Session;
use regulus::train::{Event, Observer};
use regulus_kernels::buffers;

use crate::support::cpu_backends;

/// 10 steps of equal batches in an epoch. Images, feature maps, and weights and gradients of the first dense layer are each larger than what is left to the allocator.
const CONFIG: &str = r#"
name = "buffers"

[backend]
threads = 2

[data]
source = "mnist_mini"
train_limit = 320

[model]
kind = "layers"
layers = [
    "conv 16 3x3 padding 1 bias false", "batch_norm", "relu",
    "conv 16 3x3 padding 1 bias false", "batch_norm", "relu", "max_pool 2",
    "conv 16 3x3", "relu", "max_pool 2", "flatten", "dense 1000", "relu", "dense classes",
]

[[penalty]]
kind = "l2"
lambda = 0.5

[train]
epochs = 4
batch_size = 32
"#;

/// Set in a process of its own, in which no other test uses the buffers.
const ALONE: &str = "REGULUS_TEST_ALONE";

/// The bytes kept after each epoch.
#[derive(Default)]
struct Kept(Vec<usize>);

impl Observer for Kept {
    fn on(&mut self, event: &Event) -> Result<ControlFlow<()>, Error> {
        if let Event::Epoch(_) = event {
            self.0.push(buffers::kept_bytes());
        }
        Ok(ControlFlow::Continue(()))
    }
}

#[test]
fn memory_that_is_kept_does_not_grow_with_steps() {
    if std::env::var_os(ALONE).is_none() {
        let name = "buffers::memory_that_is_kept_does_not_grow_with_steps";
        let ran = Command::new(std::env::current_exe().unwrap()).args(["--exact", name]).env(ALONE, "1").output().unwrap();
        let text = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&ran.stderr));
        return;
    }
    for backend in cpu_backends() {
        let experiment = Experiment::from_toml(&CONFIG.replace("threads", &format!("kind = \"{backend}\"\nthreads"))).unwrap();
        let data = data::load(&experiment).unwrap();
        let mut kept = Kept::default();
        Session::new(experiment, data).unwrap().run(&mut kept).unwrap();
        // After the last one none are kept.
        let [after_10, _, after_30, 0] = kept.0[..] else { panic!("4 epochs, not {:?}", kept.0) };
        assert!(after_10 > 1 << 20, "{backend}: {after_10} bytes");
        assert_eq!(after_30, after_10, "{backend}: bytes after 10, 20 and 30 steps: {:?}", kept.0);
        assert_eq!(buffers::kept_bytes(), 0, "{backend}: they go with the session");
    }
}
