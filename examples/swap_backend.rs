//! Trains the same experiment on every backend of this build: `cargo run --release --features wgpu --example swap_backend`.
#![expect(clippy::print_stdout, reason = "an example")]

use regulus::backend;
use regulus::config::{BackendKind, Experiment};
use regulus::data;
use regulus::error::Error;
use regulus::session::Session;
use regulus::train::Silent;

const CONFIG: &str = r#"
name = "swap"

[data]
source = "mnist_mini"
train_limit = 200

[model]
channels = [4]
hidden = 8

[[penalty]]
kind = "l2"
lambda = 0.01

[train]
epochs = 1
"#;

fn main() -> Result<(), Error> {
    let mut experiment = Experiment::from_toml(CONFIG)?;
    let data = data::load(&experiment)?;
    for kind in BackendKind::ALL {
        // `None` if the backend is not in this build, and no names if it finds no device.
        if backend::device_names(kind).is_none_or(|names| names.is_empty()) {
            continue;
        }
        experiment.backend.kind = kind;
        let mut session = Session::new(experiment.clone(), data.clone())?;
        let summary = session.train(&mut Silent)?;
        let device = &session.opened().name;
        println!("{} on {device}: test loss {:.4}", kind.name(), summary.test.map_or(f64::NAN, |test| test.data_loss));
    }
    Ok(())
}
