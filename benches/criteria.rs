//! Seconds of the criteria for λ: `cargo bench --bench criteria -- FOLDER_WITH_MNIST [SET…]`.
#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used)]
use regulus::config::Experiment;
use regulus::session::Session;
use regulus::train::Silent;
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
use std::time::Instant;
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let text = format!("name = \"a\"\n[data]\nsource = \"idx\"\ndir = '{}'\nvalidation = 0\ntrain_limit = 1000\n", arguments[0]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let lambdas = std::env::var("LAMBDAS").unwrap_or("0.01,0.1,1,3,10,30,100".into());
    for lambda in lambdas.split(',') {
        let mut sets = vec![format!("penalty.0={{kind=\"l2\",lambda={lambda}}}")];
        sets.extend(arguments[1..].iter().cloned());
        let experiment = Experiment::load(file.path(), &sets).unwrap();
        let data = regulus::data::load(&experiment).unwrap();
        let mut session = Session::new(experiment, data).unwrap();
        let begun = Instant::now();
        let summary = session.train(&mut Silent).unwrap();
        let trained = begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        let criteria = session.criteria().unwrap().unwrap();
        let seconds = begun.elapsed().as_secs_f64();
        let loo = criteria.leave_one_out.unwrap();
        println!(
            "λ {lambda}: train {:.4} test {:.4} loo {:.4} ({} unreliable of {}) evidence {:.1} γ {:.1}; trained {trained:.2} s, criteria {seconds:.3} s",
            summary.train.unwrap().data_loss,
            summary.test.unwrap().data_loss,
            loo.loss,
            loo.unreliable,
            loo.losses.len(),
            criteria.log_evidence.unwrap(),
            criteria.gamma.unwrap()
        );
    }
}
