//! The seconds of an update of λ by evidence, and of the criteria for λ, after a training; with the losses that the criteria estimate:
//! `cargo bench --bench criteria -- FOLDER_WITH_MNIST λ,λ,… [KEY=VALUE…]`.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program that times")]

use std::time::Instant;

use burn::module::Module;
use regulus::config::{Experiment, Structure};
use regulus::data;
use regulus::network::{CurvatureInput, Scope};
use regulus::session::Session;
use regulus::train::Silent;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let [folder, lambdas, sets @ ..] = arguments.as_slice() else {
        println!("without a folder with MNIST and a list of λ there is nothing to time");
        return;
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("name = \"a\"\n[data]\nsource = \"idx\"\ndir = '{folder}'\nvalidation = 0\ntrain_limit = 1000\n"))
        .unwrap();
    for lambda in lambdas.split(',') {
        let mut sets = sets.to_vec();
        sets.insert(0, format!("penalty.0={{kind=\"l2\",lambda={lambda}}}"));
        let experiment = Experiment::load(file.path(), &sets).unwrap();
        let data = data::load(&experiment).unwrap();
        let mut session = Session::new(experiment, data).unwrap();
        let begun = Instant::now();
        let summary = session.train(&mut Silent).unwrap();
        let trained = begun.elapsed().as_secs_f64();
        let (network, weights, scope) = (session.network().valid(), session.network().weights(), Scope::all(session.graph()).unwrap());
        let (subset, seed) = (&session.data().train, session.experiment().seed);
        let input =
            CurvatureInput { network: &network, weights: &weights, scope: &scope, subset, normalizer: &session.data().normalizer, seed };
        let [diagonal, kronecker, ekfac] = [Structure::Diagonal, Structure::Kronecker, Structure::Ekfac].map(|structure| {
            let begun = Instant::now();
            input.curvature(structure, &|_, _, _| true).unwrap();
            begun.elapsed().as_secs_f64()
        });
        let begun = Instant::now();
        let criteria = session.criteria().unwrap().unwrap();
        let seconds = begun.elapsed().as_secs_f64();
        let [train, test] = [summary.train, summary.test].map(|split| split.map_or(f64::NAN, |split| split.data_loss));
        print!("λ {lambda}: train {train:.4} test {test:.4}");
        if let (Some(found), Some(evidence), Some(gamma)) = (criteria.leave_one_out, criteria.log_evidence, criteria.gamma) {
            print!(" leave-one-out {:.4} ({} of {} unreliable)", found.loss, found.unreliable, found.losses.len());
            print!(" evidence {evidence:.1} γ {gamma:.1}");
        }
        println!(
            "; {trained:.2} s trained, {diagonal:.3} s diagonal, {kronecker:.3} s kronecker, {ekfac:.3} s ekfac, {seconds:.3} s criteria"
        );
    }
}
