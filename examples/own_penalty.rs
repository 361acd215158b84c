//! Trains with a penalty that is not built in: `cargo run --release --example own_penalty`.
#![expect(clippy::print_stdout, reason = "an example")]

use burn::tensor::Tensor;
use regulus::config::Experiment;
use regulus::data;
use regulus::error::Error;
use regulus::objective::{OwnPenalty, Regularizer};
use regulus::session::Session;
use regulus::train::Silent;

const CONFIG: &str = r#"
name = "own_penalty"

[data]
source = "mnist_mini"
train_limit = 500

[train]
epochs = 3
"#;

/// R(W): the sum of the squares of W·Wᵀ off its diagonal. The rows of W, the weights of one output each, are to be orthogonal.
#[derive(Debug)]
struct Orthogonality;

impl Regularizer for Orthogonality {
    fn name(&self) -> &'static str {
        "orthogonality"
    }

    /// R, `[1]`. Autodiff gives the gradient.
    fn value(&self, weights: Tensor<2>) -> Tensor<1> {
        let squares = weights.clone().matmul(weights.transpose()).square();
        let others = Tensor::<2>::eye(squares.dims()[0], &squares.device()).neg().add_scalar(1.0);
        (squares * others).sum()
    }
}

fn main() -> Result<(), Error> {
    for lambda in [0.0, 1.0, 10.0] {
        let experiment = Experiment::from_toml(CONFIG)?;
        let data = data::load(&experiment)?;
        let mut session = Session::new(experiment, data)?;
        session.add_penalty(OwnPenalty::new(Orthogonality, lambda).scope("conv2.weight"))?;
        let summary = session.train(&mut Silent)?;
        let (penalty, accuracy) = (summary.penalty.unwrap_or(0.0), summary.test.map_or(f64::NAN, |test| test.metrics["accuracy"]));
        println!("λ {lambda}: penalty {penalty:.4}, accuracy on the test split {accuracy:.3}");
    }
    Ok(())
}
