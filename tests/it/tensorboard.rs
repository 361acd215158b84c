//! Event files. `tests/tensorboard_reads.py` reads them with TensorBoard.

use std::fs;
use std::path::PathBuf;

use crate::support::Sandbox;

/// The event files of a folder, at any depth.
fn event_files(sandbox: &Sandbox, folder: &str) -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![sandbox.path(folder)], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.starts_with("events.out.tfevents.") {
                files.push(path);
            }
        }
    }
    files
}

#[test]
fn a_run_has_an_event_file_unless_it_is_turned_off() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["train", "small.toml", "--run-dir", "with"]);
    sandbox.ok(&["train", "small.toml", "--run-dir", "without", "--no-tensorboard"]);
    assert_eq!((event_files(&sandbox, "with").len(), event_files(&sandbox, "without").len()), (1, 0));
    assert!(sandbox.results("with") == sandbox.results("without"), "the bits of training are the same");
    // An extension writes the epochs before it, too.
    sandbox.ok(&["resume", "without", "--epochs", "4"]);
    let [file] = event_files(&sandbox, "without").try_into().unwrap();
    assert!(fs::metadata(file).unwrap().len() > 10_000);
    let name = event_files(&sandbox, "with")[0].display().to_string();
    let refused = sandbox.run(&["export", "with", "--format", "safetensors", "--output", &name]);
    assert_eq!(refused.code(), 2, "{}", refused.stderr());
}

#[test]
fn an_event_file_that_is_damaged_or_too_long_is_made_again_to_the_same_bytes() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["train", "small.toml", "--run-dir", "r"]);
    let file = event_files(&sandbox, "r").remove(0);
    let expected = fs::read(&file).unwrap();
    let damages: [Vec<u8>; 4] =
        [expected.clone(), expected[..700].to_vec(), [&expected[..], b"more"].concat(), expected.iter().map(|byte| byte ^ 1).collect()];
    for damaged in damages {
        fs::write(&file, damaged).unwrap();
        // As if it had been killed before the summary was written: all epochs are complete, and the network is measured again.
        fs::remove_file(sandbox.path("r/summary.json")).unwrap();
        sandbox.ok(&["resume", "r"]);
        assert!(fs::read(&file).unwrap() == expected);
    }
    fs::remove_file(&file).unwrap();
    sandbox.ok(&["resume", "r", "--epochs", "4"]);
    assert_eq!(event_files(&sandbox, "r").len(), 1);
}

#[test]
fn trials_of_a_sweep_have_no_event_files_and_the_run_of_the_chosen_trial_has_one() {
    let sandbox = Sandbox::new();
    let sweep = ["sweep", "small.toml", "--set", "train.epochs=1", "--grid", "penalty.0.lambda=0,1", "--sweep-dir"];
    sandbox.ok(&[&sweep[..], &["with"]].concat());
    sandbox.ok(&[&sweep[..], &["without", "--no-tensorboard"]].concat());
    let files = event_files(&sandbox, "with");
    assert!(files.len() == 1 && files[0].parent() == Some(&sandbox.path("with/refit")), "{files:?}");
    assert!(event_files(&sandbox, "without").is_empty());
}

#[test]
fn a_run_that_diverged_has_an_event_file_to_its_last_epoch() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(&["train", "small.toml", "--set", "optimizer.learning_rate=1e30", "--run-dir", "r"]);
    assert_eq!((ran.code(), event_files(&sandbox, "r").len()), (4, 1), "{}", ran.stderr());
}
