//! `regulus sweep plan`, `run`, `collect`, `slurm` and `kubernetes`: a sweep of several processes.

use std::fs;

use serde_json::Value;

use crate::support::Sandbox;
use crate::sweeps::{study, trials};

const GRID: [&str; 4] = ["--grid", "penalty.0.lambda=0,3,1000", "--folds", "2"];

fn planned(sandbox: &Sandbox, sweep: &str, more: &[&str]) {
    sandbox.ok(&[&["sweep", "plan", "small.toml", "--sweep-dir", sweep], GRID.as_slice(), more].concat());
}

fn weights(sandbox: &Sandbox, sweep: &str) -> Vec<u8> {
    fs::read(sandbox.path(sweep).join("refit/checkpoints/last/model.safetensors")).unwrap()
}

#[test]
fn a_sweep_in_several_processes_equals_the_local_one() {
    let sandbox = Sandbox::new();
    sandbox.ok(&[&["sweep", "small.toml", "--sweep-dir", "local"], GRID.as_slice()].concat());
    planned(&sandbox, "planned", &[]);
    let list = sandbox.json("planned/trainings.json")["trainings"].clone();
    assert_eq!(list.as_array().unwrap().len(), 6);
    let (trial, fold) = (list[4]["trial"].as_u64().unwrap(), list[4]["fold"].as_u64().unwrap());
    assert_eq!((trial, fold), (1, 2));

    let missing = sandbox.run(&["sweep", "collect", "planned"]);
    assert!(missing.code() == 1 && missing.stderr().contains("6 of 6 trainings have not ended: 0-5;"), "{}", missing.stderr());
    // Two at once, in another order than in the list; the index also comes from Slurm and Kubernetes.
    let two = [5, 1].map(|index| sandbox.command(&["sweep", "run", "planned", "--index", &index.to_string()]).spawn().unwrap());
    two.into_iter().for_each(|mut process| assert!(process.wait().unwrap().success()));
    for (variable, index) in [("SLURM_ARRAY_TASK_ID", "3"), ("JOB_COMPLETION_INDEX", "2")] {
        let ran = sandbox.run_with(&[(variable, index)], &["sweep", "run", "planned", "--json"]);
        assert_eq!((ran.code(), ran.json()[0]["index"].to_string().as_str()), (0, index), "{}", ran.stderr());
    }
    let missing = sandbox.run(&["sweep", "collect", "planned"]);
    assert!(missing.code() == 1 && missing.stderr().contains("2 of 6 trainings have not ended: 0,4;"), "{}", missing.stderr());
    assert_eq!(trials(&sandbox, "planned").len(), 4, "those that have ended are listed");
    assert!(!sandbox.path("planned/study.json").exists() && !sandbox.path("planned/refit").exists());
    for index in ["0", "4"] {
        sandbox.ok(&["sweep", "run", "planned", "--index", index]);
    }
    // Once more: it is not trained again.
    let again = sandbox.ok(&["sweep", "run", "planned", "--index", "4", "--json"]).json();
    assert_eq!((again[0]["ended_before"].as_bool(), again[0]["result"]["trial"].as_u64()), (Some(true), Some(trial)));
    for _ in 0..2 {
        sandbox.ok(&["sweep", "collect", "planned"]);
        assert_eq!(trials(&sandbox, "planned"), trials(&sandbox, "local"));
        assert_eq!(study(&sandbox, "planned"), study(&sandbox, "local"));
        assert!(weights(&sandbox, "planned") == weights(&sandbox, "local"));
    }
    let journal = fs::read_to_string(sandbox.path("planned/journal.log")).unwrap();
    assert_eq!(journal.lines().count(), 4, "the study and each trial once: {journal}");
    assert!(!sandbox.path("planned/locks").exists());

    // The config of a training trains the same network by itself.
    sandbox.ok(&["train", "planned/configs/00004.toml", "--run-dir", "alone"]);
    let rows = fs::read_to_string(sandbox.path("alone/metrics.jsonl")).unwrap();
    let last: Value = serde_json::from_str(rows.lines().last().unwrap()).unwrap();
    assert_eq!(last["data_loss"], again[0]["result"]["validation_loss"]);
}

#[test]
fn a_planned_sweep_goes_on_locally() {
    let sandbox = Sandbox::new();
    sandbox.ok(&[&["sweep", "small.toml", "--sweep-dir", "local"], GRID.as_slice()].concat());
    planned(&sandbox, "planned", &[]);
    sandbox.ok(&["sweep", "run", "planned", "--index", "3"]);
    let resumed = sandbox.ok(&["resume", "planned", "--jobs", "2"]);
    assert!(!resumed.stderr().contains("1/6:") && resumed.stderr().contains("2/6:"), "{}", resumed.stderr());
    assert_eq!(study(&sandbox, "planned"), study(&sandbox, "local"));
}

#[cfg(unix)]
#[test]
fn an_interrupted_training_goes_on_and_two_processes_do_not_train_the_same_one() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    let sandbox = Sandbox::new();
    let epochs = ["--set", "train.epochs=300"];
    planned(&sandbox, "whole", &epochs);
    planned(&sandbox, "cut", &epochs);
    let run = |sweep| ["sweep", "run", sweep, "--index", "4"];
    sandbox.ok(&run("whole"));
    let begun = || {
        let mut child = sandbox.command(&run("cut")).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.starts_with("training 4 of 6")));
        std::thread::sleep(std::time::Duration::from_millis(50));
        (child, lines)
    };
    let send = |signal: &str, process: u32| {
        assert!(std::process::Command::new("kill").args([signal, &process.to_string()]).status().unwrap().success());
    };
    // Interrupted twice, by the signals of Slurm.
    for signal in ["-USR1", "-USR2"] {
        let (mut child, lines) = begun();
        send(signal, child.id());
        let message = lines.last().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(75), "{message}");
        assert_eq!(message, "note: interrupted after saving; go on with `regulus sweep run cut --index 4`");
    }
    assert!(sandbox.path("cut/fits/trial0001-seed3-fold2.checkpoint").is_dir() && !sandbox.path("cut/locks").exists());
    // A process that does not go on keeps its lock, as long as it is there. One that was killed does not.
    let (mut child, _lines) = begun();
    send("-STOP", child.id());
    let mut second = sandbox.command(&run("cut")).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(second.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with(&format!("process {} on ", child.id()))));
    send("-CONT", child.id());
    let rest: Vec<String> = lines.collect();
    let code = second.wait().unwrap().code();
    // The first one has ended in the meantime, or it has been seen at work.
    let in_use = rest.last().is_some_and(|line| line.contains("training 4 of `cut` is being trained by process"));
    assert!(code == Some(0) || (code == Some(75) && in_use), "{code:?} {rest:?}");
    assert!(child.wait().unwrap().success());
    let result = |sweep: &str| {
        let mut result = sandbox.json(&format!("{sweep}/fits/trial0001-seed3-fold2.json"));
        ["seconds", "sha256"].into_iter().for_each(|key| drop(result.as_object_mut().unwrap().remove(key)));
        result
    };
    assert_eq!(result("cut"), result("whole"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_killed_training_is_taken_over_at_once() {
    use std::time::{Duration, Instant};

    let sandbox = Sandbox::new();
    planned(&sandbox, "s", &["--set", "train.epochs=5000"]);
    let mut child = sandbox.command(&["sweep", "run", "s", "--index", "0"]).spawn().unwrap();
    let begun = Instant::now();
    while !sandbox.path("s/locks").exists() {
        assert!(begun.elapsed() < Duration::from_mins(1));
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(100));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(sandbox.path("s/locks").exists());
    let mut second = sandbox.command(&["sweep", "run", "s", "--index", "0"]).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert!(second.try_wait().unwrap().is_none(), "it trains");
    let lock = fs::read_to_string(sandbox.path("s/locks/trial0000-seed3-fold1.lock")).unwrap();
    assert!(lock.contains(&format!("\"process\":{},", second.id())), "{lock}");
    second.kill().unwrap();
    second.wait().unwrap();
}

#[test]
fn mistakes_are_named() {
    let sandbox = Sandbox::new();
    planned(&sandbox, "s", &[]);
    planned(&sandbox, "changed", &[]);
    let config = fs::read_to_string(sandbox.path("changed/configs/00001.toml")).unwrap();
    sandbox.write("changed/configs/00001.toml", config.replace("lambda = 3.0", "lambda = 4.0"));
    fs::remove_file(sandbox.path("changed/configs/00002.toml")).unwrap();
    planned(&sandbox, "damaged", &[]);
    let list = fs::read_to_string(sandbox.path("damaged/trainings.json")).unwrap();
    sandbox.write("damaged/trainings.json", list.replace("\"trial\": 1", "\"trial\": 2"));
    let other = ["sweep", "plan", "small.toml", "--sweep-dir", "other", "--grid", "penalty.0.lambda=0,3"];
    sandbox.ok(&other);
    fs::copy(sandbox.path("s/trainings.json"), sandbox.path("other/trainings.json")).unwrap();
    let refused = |arguments: &[&str]| {
        let ran = sandbox.run(arguments);
        format!(
            "{}\n    {} {}",
            arguments.join(" "),
            ran.code(),
            ran.stderr().lines().find(|line| line.starts_with("error:")).unwrap_or_default()
        )
    };
    let in_task = sandbox.run_with(&[("SLURM_ARRAY_TASK_ID", "two")], &["sweep", "run", "s"]);
    let messages = [
        refused(&["sweep", "run", "s"]),
        format!("SLURM_ARRAY_TASK_ID=two\n    {} {}", in_task.code(), in_task.stderr().trim_end()),
        refused(&["sweep", "run", "s", "--index", "6"]),
        refused(&["sweep", "run", "none", "--index", "0"]),
        refused(&["sweep", "collect", "."]),
        refused(&["sweep", "run", "changed", "--index", "1"]),
        refused(&["sweep", "run", "changed", "--index", "2"]),
        refused(&["sweep", "run", "damaged", "--index", "0"]),
        refused(&["sweep", "run", "other", "--index", "0"]),
        refused(&["sweep", "plan", "small.toml", "--jobs", "2", "--sweep-dir", "new"]),
        refused(&["sweep", "plan", "small.toml", "--sweep-dir", "s", "--grid", "penalty.0.lambda=0,3"]),
        refused(&["sweep", "plan", "small.toml", "--tpe", "4", "--grid", "penalty.0.lambda=log:0.1:3"]),
        refused(&["sweep", "plan", "small.toml", "--pruner", "halving", "--grid", "penalty.0.lambda=0,3"]),
        refused(&["sweep", "plan", "small.toml", "--path", "--grid", "penalty.0.lambda=0,3"]),
        refused(&["sweep", "collect", "none"]),
        refused(&["sweep", "slurm", "none"]),
        refused(&["sweep", "kubernetes", "none", "--image", "i", "--volume-claim", "results=/none"]),
        refused(&["sweep", "slurm", "s", "--time", "1 hour"]),
        refused(&["sweep", "slurm", "s", "--time", "banana"]),
        refused(&["sweep", "slurm", "s", "--time", "0:01:30"]),
        refused(&["sweep", "kubernetes", "s", "--image", "a b", "--volume-claim", "results=/none"]),
        refused(&["sweep", "kubernetes", "s", "--image", "i", "--volume-claim", "Re_sults=/none"]),
        refused(&["sweep", "kubernetes", "s", "--image", "i", "--volume-claim", "results=/none", "--cpus", "4x"]),
        refused(&["sweep", "kubernetes", "s", "--image", "i", "--volume-claim", "results=/none", "--memory", "4QB"]),
        refused(&["sweep", "kubernetes", "s", "--image", "i", "--volume-claim", "results=/none", "--env", "1FOO=a"]),
        refused(&["sweep", "slurm", "s", "--sbatch-option", "gres=gpu:1"]),
        refused(&["sweep", "kubernetes", "s", "--image", "i", "--volume-claim", "results=/none", "--container-dir", "/data/s"]),
    ];
    insta::assert_snapshot!(messages.join("\n"));
    // A training that can't be resumed from the list is not run from the plan instead.
    assert!(fs::read_dir(sandbox.path("changed/fits")).unwrap().next().is_none());
}

#[test]
fn scripts_and_manifests_are_for_what_is_missing() {
    let sandbox = Sandbox::new();
    planned(&sandbox, "my sweep", &[]);
    sandbox.ok(&["sweep", "run", "my sweep", "--index", "1"]);
    let options =
        ["--concurrency", "2", "--partition", "cpu", "--time", "10", "--cpus-per-task", "3", "--sbatch-option=--gres=gpu:1", "--json"];
    let written = &sandbox.ok(&[&["sweep", "slurm", "my sweep"], options.as_slice()].concat()).json()[0];
    assert_eq!((written["indexes"].as_str(), written["trainings"].as_u64()), (Some("0,2-5"), Some(5)));
    let script = fs::read_to_string(written["train"].as_str().unwrap()).unwrap();
    let all = [
        "--array=0,2-5%2",
        "--requeue",
        "--open-mode=append",
        "--signal=B:USR1@90",
        "--partition=cpu",
        "--time=10",
        "--cpus-per-task=3",
        "--gres=gpu:1",
    ];
    all.iter().for_each(|option| assert!(script.contains(&format!("\n#SBATCH {option}\n")), "{option}: {script}"));
    let without = sandbox.run_with(&[("PATH", "")], &["sweep", "slurm", "my sweep", "--submit"]);
    assert!(without.code() == 1 && without.stderr().contains("`sbatch` has failed"), "{}", without.stderr());

    let root = sandbox.path("").canonicalize().unwrap();
    let volume = format!("results={}", root.display());
    sandbox.ok(&["sweep", "kubernetes", "my sweep", "--image", "regulus:1", "--volume-claim", &volume, "--env", "REGULUS_DATA=/data"]);
    let manifest = sandbox.json("my sweep/kubernetes.json");
    assert_eq!((&manifest["spec"]["completionMode"], &manifest["spec"]["completions"]), (&"Indexed".into(), &6.into()));
    let command = &manifest["spec"]["template"]["spec"]["containers"][0]["command"];
    assert_eq!(command[3].as_str().unwrap(), root.join("my sweep").to_str().unwrap());
    for index in ["0", "2", "3", "4", "5"] {
        sandbox.ok(&["sweep", "run", "my sweep", "--index", index]);
    }
    let ended = sandbox.ok(&["sweep", "slurm", "my sweep"]).stdout();
    assert!(ended.starts_with("all trainings have ended"), "{ended}");
    fs::remove_file(sandbox.path("my sweep/kubernetes.json")).unwrap();
    let ended = sandbox.ok(&["sweep", "kubernetes", "my sweep", "--image", "regulus:1", "--volume-claim", &volume]).stdout();
    assert!(ended.starts_with("all trainings have ended") && !sandbox.path("my sweep/kubernetes.json").exists(), "{ended}");
}

#[test]
fn a_copy_without_its_empty_folder_is_trained_and_the_help_of_plan_lists_what_it_takes() {
    let sandbox = Sandbox::new();
    planned(&sandbox, "s", &[]);
    // As programs do that leave out empty folders.
    fs::remove_dir(sandbox.path("s/fits")).unwrap();
    sandbox.ok(&["sweep", "run", "s", "--index", "2"]);
    assert!(sandbox.path("s/fits/trial0002-seed3-fold1.json").is_file());
    let help = sandbox.ok(&["sweep", "plan", "--help"]).stdout();
    let hidden = ["--tpe", "--path", "--pruner", "--jobs", "--format", "--open", "--no-report", "--no-tensorboard"];
    // A word of another option's text is no option.
    let has = |option: &str| help.lines().any(|line| line.trim_start().split([' ', '=']).any(|word| word == option));
    assert!(
        hidden.iter().all(|option| !has(option)) && ["--grid", "--folds", "--criterion", "--sweep-dir"].iter().all(|option| has(option)),
        "{help}"
    );
    let of_sweep = sandbox.ok(&["sweep", "--help"]).stdout();
    assert!(hidden.iter().all(|option| of_sweep.contains(option)), "{of_sweep}");
    let words = of_sweep.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("`halving` ended the trial that would have won in 29, `top-k` in 43"), "{words}");
}

#[cfg(unix)]
#[test]
fn a_lock_on_the_journal_is_named_and_can_be_interrupted() {
    use std::io::{BufRead, BufReader};

    let sandbox = Sandbox::new();
    sandbox.ok(&["sweep", "small.toml", "--grid", "penalty.0.lambda=0,3", "--set", "train.epochs=1", "--sweep-dir", "s"]);
    sandbox.write("s/journal.log.lock", "");
    let mut child = sandbox.command(&["resume", "s"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("another program has locked the journal with `s/journal.log.lock`; waiting up to 30 seconds")));
    let begun = std::time::Instant::now();
    assert!(std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let last = lines.last().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(75), "{last}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(10) && last.starts_with("note: interrupted after saving"), "{last}");
}
