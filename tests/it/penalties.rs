//! The penalties and models of the command line.

use serde_json::Value;

use crate::support::{Sandbox, cpu_backends, present_backends};

const KINDS: [&[&str]; 20] = [
    &["penalty.0.kind=l1", "penalty.0.lambda=2"],
    &["penalty.0.kind=l1", "penalty.0.lambda=2", "penalty.0.proximal=true"],
    &["penalty.0.kind=elastic_net", "penalty.0.lambda=3", "penalty.0.l1_ratio=0.2"],
    &["penalty.0.kind=elastic_net", "penalty.0.lambda=3", "penalty.0.proximal=true", "optimizer.kind=sgd", "optimizer.learning_rate=0.1"],
    &["penalty.0.kind=group_lasso", "penalty.0.lambda=1"],
    &["penalty.0.kind=group_lasso", "penalty.0.lambda=1", "penalty.0.proximal=true", "optimizer.kind=adamw"],
    &["penalty.0.kind=decoupled", "penalty.0.lambda=20", "penalty.1.kind=l1", "penalty.1.lambda=1", "penalty.1.scope=conv*.weight"],
    &["penalty.0.schedule.kind=cosine", "penalty.0.schedule.warmup_steps=3", "train.label_smoothing=0.1"],
    &["penalty.0.kind=l1", "penalty.0.lambda=2", "penalty.0.proximal=true", "optimizer.kind=sgd", "optimizer.momentum=0.9"],
    &["penalty.0.schedule={kind=\"evidence\", burn_in_epochs=1, every_epochs=1}"],
    &["penalty.0.schedule={kind=\"evidence\", burn_in_epochs=1, structure=\"diagonal\"}", "penalty.0.scope=all"],
    &["penalty.0={kind=\"l2\", schedule={kind=\"adaptive\", ratio=0.1}}"],
    &["penalty.0={kind=\"decoupled\", schedule={kind=\"cpr\", warm_start_steps=4, bound_factor=0.8}}"],
    &["optimizer.sam_rho=0.05", "train.micro_batch=7"],
    &["augment={shift=2, rotation=15.0}"],
    &["augment={flip=\"alternating\", shift=2, border=\"reflect\"}"],
    &["augment.mixup=0.4", "train.label_smoothing=0.1"],
    &["averaging={kind=\"ema\", decay=0.9}"],
    &["averaging={kind=\"swa\", from_epoch=1}"],
    &["penalty.0.samples=batch", "penalty.0.scope=all", "penalty.1.kind=group_lasso", "penalty.1.lambda=0.1", "penalty.1.samples=100"],
];

/// The metrics of a short run.
fn rows(sandbox: &Sandbox, run: &str, sets: &[&str]) -> Vec<Value> {
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    let base = ["train", "small.toml", "--json", "--run-dir", run, "--set", "data.train_limit=96", "--set", "train.epochs=2"];
    let lines = sandbox.ok(&base.into_iter().chain(sets).collect::<Vec<_>>()).json();
    lines.into_iter().filter(|line| line["event"] == "epoch").collect()
}

fn number(row: &Value, key: &str) -> f64 {
    row[key].as_f64().unwrap_or_else(|| panic!("{key} of {row}"))
}

#[test]
fn every_penalty_reaches_the_same_losses_on_every_backend_with_every_implementation() {
    let sandbox = Sandbox::new();
    let backends =
        || cpu_backends().into_iter().map(|backend| (backend, "fused")).chain(present_backends().into_iter().map(|one| (one, "stock")));
    for (case, sets) in KINDS.iter().enumerate() {
        let mut expected: Option<Vec<Value>> = None;
        for (backend, kernels) in backends() {
            let own = [format!("backend.kind={backend}"), format!("backend.kernels={kernels}")];
            let all: Vec<&str> = sets.iter().copied().chain(own.iter().map(String::as_str)).collect();
            let found = rows(&sandbox, &format!("{backend}-{kernels}-{case}"), &all);
            let expected = expected.get_or_insert_with(|| found.clone());
            assert_eq!((found.len(), expected.len()), (4, 4));
            for (found, expected) in found.iter().zip(expected.iter()) {
                for key in ["data_loss", "penalty", "weight_norm_squared"] {
                    let (found, expected) = (number(found, key), number(expected, key));
                    assert!(
                        (found - expected).abs() <= 1e-4 * expected,
                        "{sets:?}, {backend} {kernels}, {key}: {found} against {expected}"
                    );
                }
                for key in ["gamma", "log_evidence"] {
                    let near = |found: f64, expected: f64| (found - expected).abs() <= 1e-3 * expected.abs();
                    match (found[key].as_f64(), expected[key].as_f64()) {
                        (Some(found), Some(expected)) => {
                            assert!(near(found, expected), "{sets:?}, {backend} {kernels}, {key}: {found} against {expected}");
                        }
                        (found, expected) => assert_eq!(found, expected),
                    }
                }
                let (found, expected) = (number(found, "zero_weights"), number(expected, "zero_weights"));
                assert!((found - expected).abs() < 1e-3, "{sets:?}, {backend} {kernels}: {found} against {expected} of the weights 0");
            }
        }
    }
}

#[test]
fn proximal_steps_give_zeros_and_gradients_do_not() {
    let sandbox = Sandbox::new();
    for kind in ["l1", "group_lasso"] {
        let sets = [format!("penalty.0.kind={kind}"), "penalty.0.lambda=2".to_owned()];
        let [kind_set, lambda] = [&sets[0], &sets[1]];
        let by_gradient = rows(&sandbox, &format!("{kind}-gradient"), &[kind_set, lambda]);
        let by_step = rows(&sandbox, &format!("{kind}-step"), &[kind_set, lambda, "penalty.0.proximal=true"]);
        let zeros = |rows: &[Value], key: &str| number(rows.last().unwrap(), key);
        assert!(zeros(&by_gradient, "zero_weights") < 0.01 && zeros(&by_step, "zero_weights") > 0.05, "{kind}: {by_step:?}");
        assert!(number(&by_step[0], "penalty") > 0.0, "a proximal penalty is reported");
        if kind == "group_lasso" {
            assert!(zeros(&by_step, "zero_channels") > 0.05);
        }
    }
}

#[test]
fn a_schedule_changes_lambda() {
    let sandbox = Sandbox::new();
    // 77 training samples in batches of 16: 10 steps, the factor of the last is 0, that of the fifth 1 − 4/9.
    let rows = rows(&sandbox, "r", &["penalty.0.lambda=9", "penalty.0.schedule.kind=linear"]);
    let lambdas: Vec<f64> = rows.iter().filter(|row| row["split"] == "train").map(|row| number(row, "lambda")).collect();
    assert!((lambdas[0] - 5.0).abs() < 1e-9 && lambdas[1].abs() < 1e-9, "{lambdas:?}");
}

#[test]
fn check_lists_the_penalties_of_each_parameter() {
    let sandbox = Sandbox::new();
    let sets =
        ["penalty.0.scope=conv*", "penalty.1.kind=l1", "penalty.1.lambda=2", "penalty.1.scope=conv1.weight", "penalty.1.proximal=true"];
    let arguments: Vec<&str> = ["check", "small.toml"].into_iter().chain(sets.iter().flat_map(|set| ["--set", set])).collect();
    let stdout = sandbox.ok(&arguments).stdout();
    let lines: Vec<&str> = stdout.lines().filter(|line| line.starts_with("# ") && line.contains(": ")).collect();
    assert_eq!(lines.len(), 9, "one for each of 8 parameters, and the memory: {stdout}");
    assert!(
        lines.iter().any(|line| line.starts_with("# conv1.weight: l2 with λ = ") && line.ends_with("; l1 with λ = 2, proximal")),
        "{stdout}"
    );
    assert!(lines.contains(&"# dense2.bias: no penalty"), "{stdout}");
    assert!(toml::from_str::<toml::Table>(&stdout).is_ok(), "the parameters are comments");
}

#[test]
fn invalid_penalties_are_refused() {
    let sandbox = Sandbox::new();
    let refusals: [(&[&str], &str); 26] = [
        (
            &["penalty.0.scope=kernel"],
            "`penalty.0.scope` is \"kernel\", which matches no parameter; expected `kernels`, `biases`, `all`, or one of `conv1.weight`",
        ),
        (&["penalty.0.l1_ratio=0.5"], "`penalty.0.l1_ratio` does not apply to kind `l2`"),
        (
            &["penalty.0.kind=l1", "penalty.0.proximal=true", "optimizer.kind=rmsprop"],
            "`penalty.0.proximal` is true, but there is no proximal step for",
        ),
        (
            &["penalty.0.kind=l1", "penalty.0.proximal=true", "optimizer.kind=sgd", "optimizer.momentum=0.9", "optimizer.nesterov=true"],
            "`penalty.0.proximal` is true, but there is no proximal step for `optimizer.nesterov` = true",
        ),
        (&["penalty.0.schedule.kind=plateau"], "`penalty.0.schedule.kind` is \"plateau\"; expected one of `constant`, `step`"),
        (
            &["penalty.0.schedule.kind=adaptive"],
            "`penalty.0.lambda` does not apply to schedule `adaptive`, which determines λ; leave it out",
        ),
        (&["penalty.0={kind=\"l2\"}"], "`penalty.0.lambda` is missing; it has no default"),
        (
            &["penalty.0={kind=\"l2\", schedule={kind=\"cpr\"}}"],
            "`penalty.0.schedule.kind` is \"cpr\", which is for kind `decoupled`, not `l2`",
        ),
        (&["penalty.0.schedule.kind=evidence", "penalty.0.samples=batch"], "`penalty.0.samples` does not apply to schedule `evidence`"),
        (
            &["penalty.0.schedule.kind=evidence", "penalty.0.lambda=0"],
            "`penalty.0.lambda` is 0; schedule `evidence` starts from a number > 0",
        ),
        (
            &["penalty.0.schedule.kind=evidence"],
            "`penalty.0.schedule.burn_in_epochs` is 5, but `train.epochs` is 3; λ would never be updated before the last epoch",
        ),
        (&["averaging.kind=swa", "averaging.from_epoch=9"], "`averaging.from_epoch` is 9, but `train.epochs` is 3"),
        (&["averaging.kind=swa"], "`averaging.from_epoch` is missing"),
        (
            &["model={kind=\"mlp\", hidden=17000}", "penalty.0.schedule={kind=\"evidence\", structure=\"kronecker\", burn_in_epochs=1}"],
            "`penalty.0.schedule.structure` is \"kronecker\", for which a layer of 17000 inputs or outputs is too wide",
        ),
        (&["augment.rotation=200"], "`augment.rotation` is 200; expected a number in [0, 180]"),
        (&["augment.shift=28"], "`augment.shift` is 28, but images are 28×28; expected less than either side"),
        (&["augment.test_shift=28"], "`augment.test_shift` is 28, but images are 28×28; expected less than either side"),
        (
            &["augment.border=mean"],
            "`augment.border` is \"mean\", which needs the mean of the training images; set `data.normalization` = \"standard\"",
        ),
        (&["augment.cutout=29"], "`augment.cutout` is 29, but images are 28×28; expected at most the shorter side"),
        (&["augment.saturation=0.4"], "`augment.saturation` is 0.4, which is for colour images, but these are grey; leave it out"),
        (&["augment.hue=0.6"], "`augment.hue` is 0.6; expected a number in [0, 0.5]"),
        (&["augment.crop_scale=0"], "`augment.crop_scale` is 0; expected a number in (0, 1]"),
        (&["augment.crop_ratio=0.75"], "`augment.crop_ratio` is 0.75; expected a finite number >= 1"),
        (&["augment.flip=vertical"], "`augment.flip` is \"vertical\""),
        (&["model.kind=linear"], "`model.channels` does not apply to kind `linear`"),
        (
            &["penalty.0.kind=l1", "penalty.0.proximal=true", "penalty.1.kind=l1", "penalty.1.lambda=1", "penalty.1.proximal=true"],
            "`penalty.1.proximal` is true, but `conv1.weight` has a penalty with `proximal` already",
        ),
    ];
    for (sets, expected) in refusals {
        for command in ["check", "train"] {
            let arguments: Vec<&str> = [command, "small.toml"].into_iter().chain(sets.iter().flat_map(|set| ["--set", set])).collect();
            let ran = sandbox.run(&arguments);
            assert_eq!(ran.code(), 2, "{sets:?}: {}", ran.stderr());
            assert!(ran.stderr().contains(expected), "{sets:?}: {}", ran.stderr());
        }
    }
}

#[test]
fn networks_without_convolutions_train_resume_and_export() {
    let sandbox = Sandbox::new();
    let config = |kind: &str| {
        format!("name = \"a\"\n[data]\nsource = \"mnist_mini\"\ntrain_limit = 200\n[model]\nkind = \"{kind}\"\n[train]\nepochs = 3\n")
    };
    for (kind, parameters) in [("linear", 7850), ("mlp", 101_770)] {
        sandbox.write(&format!("{kind}.toml"), config(kind));
        let mut losses = Vec::new();
        for backend in present_backends() {
            let (run, set) = (format!("{kind}-{backend}"), format!("backend.kind={backend}"));
            let lines = sandbox.ok(&["train", &format!("{kind}.toml"), "--json", "--run-dir", &run, "--set", &set]).json();
            let summary = &lines.last().unwrap()["summary"];
            assert_eq!(summary["parameters"], parameters);
            assert!(summary["test"]["accuracy"].as_f64().unwrap() > 0.3, "{kind}: {summary}");
            losses.push(summary["test"]["data_loss"].as_f64().unwrap());
            sandbox.ok(&["export", &run, "--output", &format!("{run}.safetensors")]);
            let bytes = std::fs::read(sandbox.path(&format!("{run}.safetensors"))).unwrap();
            let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            assert_eq!(file.tensor("dense1.weight").unwrap().shape(), [if kind == "linear" { 10 } else { 128 }, 784]);
        }
        assert!(losses.iter().all(|loss| (loss / losses[0] - 1.0).abs() < 1e-3), "{kind}: {losses:?}");
    }
}
