//! The output of each command.

use std::fs;

use serde_json::Value;

use crate::support::{Sandbox, png};

fn trained() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.ok(&["train", "small.toml", "--run-dir", "run"]);
    sandbox
}

#[test]
fn a_run_folder_has_all_documented_files() {
    let sandbox = Sandbox::new();
    let ran = sandbox.ok(&["train", "small.toml", "--run-dir", "run", "--json"]);
    let lines = ran.json();
    assert_eq!(lines[0]["event"], "begin");
    assert_eq!(ran.stderr(), "", "with --json nothing is printed to standard error");

    let manifest: Value = serde_json::from_slice(&fs::read(sandbox.path("run/manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["dataset"]["train"], 193);
    assert_eq!(manifest["dataset"]["validation"], 47);
    assert_eq!(manifest["dataset"]["test"], 1000);
    assert_eq!(manifest["classes"][7], "7");
    for key in ["version", "backend", "device", "threads", "normalizer", "started", "graph", "parameters"] {
        assert!(!manifest[key].is_null(), "{key}");
    }

    let metrics = fs::read_to_string(sandbox.path("run/metrics.jsonl")).unwrap();
    let rows: Vec<Value> = metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 6, "three epochs, two splits");
    for row in &rows {
        let number = |key: &str| row[key].as_f64().unwrap_or_else(|| panic!("{key} in {row}"));
        assert!((number("objective") - number("data_loss") - number("penalty")).abs() < 1e-12);
        for key in ["epoch", "step", "accuracy", "learning_rate", "seconds", "images_per_second"] {
            number(key);
        }
        assert!((number("lambda") - 0.5).abs() < 1e-12);
        if row["split"] == "validation" {
            let expected = 0.5 / (2.0 * 193.0) * number("weight_norm_squared");
            assert!((number("penalty") - expected).abs() < 1e-12, "the penalty is lambda/(2m) times the squared norm");
        }
    }

    let mut summary: Value = serde_json::from_slice(&fs::read(sandbox.path("run/summary.json")).unwrap()).unwrap();
    assert!(summary.as_object_mut().unwrap().remove("sha256").is_some());
    assert_eq!(summary, lines.last().unwrap()["summary"]);
    assert_eq!(summary["status"], "completed");
    for split in ["train", "validation", "test"] {
        for key in ["count", "data_loss", "accuracy"] {
            assert!(summary[split][key].is_number(), "{split}.{key}");
        }
    }
}

#[test]
fn runs_get_folders_of_their_own() {
    let sandbox = Sandbox::new();
    let quick = ["train", "small.toml", "--set", "train.epochs=1"];
    sandbox.ok(&quick);
    sandbox.ok(&quick);
    assert_eq!(fs::read_dir(sandbox.path("artifacts/small")).unwrap().count(), 2);
}

#[test]
fn evaluate_agrees_with_the_summary() {
    let sandbox = trained();
    let summary: Value = serde_json::from_slice(&fs::read(sandbox.path("run/summary.json")).unwrap()).unwrap();
    for split in ["train", "validation", "test"] {
        let measures = &sandbox.ok(&["evaluate", "run", "--split", split, "--json"]).json()[0];
        for key in ["count", "data_loss", "accuracy"] {
            assert_eq!(measures[key], summary[split][key], "{split} {key}");
        }
        let confusion: u64 =
            measures["confusion"].as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap()).filter_map(Value::as_u64).sum();
        assert_eq!(Some(confusion), measures["count"].as_u64());
    }
    let stdout = sandbox.ok(&["evaluate", "run"]).stdout();
    assert!(stdout.starts_with("checkpoint best: the weights after epoch "), "{stdout}");
    for word in ["precision", "recall", "actual \\ predicted", "calibration error"] {
        assert!(stdout.contains(word), "{stdout}");
    }
}

#[test]
fn predict_gives_probabilities_for_images_of_any_size() {
    let sandbox = trained();
    png(&sandbox.path("a.png"), 28, 28, 0);
    png(&sandbox.path("b.png"), 301, 57, 255);
    let predictions = sandbox.ok(&["predict", "run", "a.png", "b.png", "--top", "10", "--json"]).json();
    assert_eq!(predictions.len(), 2);
    for prediction in &predictions {
        let probabilities: Vec<f64> =
            prediction["classes"].as_array().unwrap().iter().map(|class| class["probability"].as_f64().unwrap()).collect();
        assert_eq!(probabilities.len(), 10);
        assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(probabilities.windows(2).all(|pair| pair[0] >= pair[1]));
    }
    let inverted = sandbox.ok(&["predict", "run", "b.png", "--invert", "--top", "10", "--json"]).json();
    assert_eq!(inverted[0]["classes"], predictions[0]["classes"], "white inverted is black");
    let stdout = sandbox.ok(&["predict", "run", "a.png"]).stdout();
    assert!(stdout.starts_with("a.png: ") && stdout.matches(" %").count() == 3, "{stdout}");
}

#[test]
fn predictions_of_png_files_agree_with_evaluate() {
    let sandbox = trained();
    // The test images, written as PNG files, must be predicted with the accuracy of the test split.
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/data/mnist_mini");
    let unpack = |name: &str| {
        let mut bytes = Vec::new();
        let file = fs::File::open(folder.join(name)).unwrap();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(file), &mut bytes).unwrap();
        bytes
    };
    let (images, labels) = (unpack("t10k-images-idx3-ubyte.gz"), unpack("t10k-labels-idx1-ubyte.gz"));
    let mut right = 0_u32;
    let mut names = Vec::new();
    for index in 0..1000 {
        let pixels = images[16 + index * 784..16 + (index + 1) * 784].to_vec();
        let name = format!("{index}.png");
        image::GrayImage::from_raw(28, 28, pixels).unwrap().save(sandbox.path(&name)).unwrap();
        names.push(name);
    }
    let arguments: Vec<&str> = ["predict", "run", "--top", "1", "--json"].into_iter().chain(names.iter().map(String::as_str)).collect();
    for (index, prediction) in sandbox.ok(&arguments).json().iter().enumerate() {
        right += u32::from(prediction["classes"][0]["label"].as_u64() == Some(u64::from(labels[8 + index])));
    }
    let measured = &sandbox.ok(&["evaluate", "run", "--json"]).json()[0];
    assert!((f64::from(right) / 1000.0 - measured["accuracy"].as_f64().unwrap()).abs() < 1e-9);
}

#[test]
fn a_safetensors_export_is_complete_and_can_initialize_a_run() {
    let sandbox = trained();
    sandbox.ok(&["export", "run", "--output", "new/out.safetensors"]);
    fs::rename(sandbox.path("new/out.safetensors"), sandbox.path("out.safetensors")).unwrap();
    let bytes = fs::read(sandbox.path("out.safetensors")).unwrap();
    sandbox.ok(&["export", "run", "--output", "again.safetensors"]);
    assert!(bytes == fs::read(sandbox.path("again.safetensors")).unwrap(), "the same content is the same bytes");
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = metadata.metadata().clone().unwrap();
    assert_eq!(metadata["format"], "pt");
    let json = |key: &str| serde_json::from_str::<Value>(&metadata[key]).unwrap();
    assert_eq!(json("graph")["nodes"][0]["outputs"], 4);
    assert_eq!(json("classes").as_array().unwrap().len(), 10);
    assert_eq!(json("preprocessing")["deviation"], serde_json::json!([1.0]));
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("dense1.weight").unwrap().shape(), [16, 150]);
    assert_eq!(file.tensor("conv2.weight").unwrap().shape(), [6, 4, 3, 3]);

    // Initialized from the export or from the run and not trained, the network has the same loss.
    let train = |run: &str, init: &str| {
        let sets = ["--set", init, "--set", "optimizer.learning_rate=1e-30", "--set", "train.max_steps=1"];
        sandbox.ok(&[["train", "small.toml", "--run-dir", run].as_slice(), &sets].concat()).stderr()
    };
    let loss = |run: &str| sandbox.ok(&["evaluate", run, "--json"]).json()[0]["data_loss"].as_f64().unwrap();
    train("from_file", "model.init=out.safetensors");
    assert!((loss("run") - loss("from_file")).abs() < 1e-12);
    assert!(!train("from_run", "model.init=run").contains("warning: `run/"));
    assert!((loss("run") - loss("from_run")).abs() < 1e-12);
    // The checkpoint that `evaluate` takes: the best one, or the one before it with a warning.
    let last = |run: &str| sandbox.ok(&["evaluate", run, "--checkpoint", "last", "--json"]).json()[0]["data_loss"].as_f64().unwrap();
    fs::remove_dir_all(sandbox.path("run/checkpoints/best")).unwrap();
    let stderr = train("from_older", "model.init=run");
    assert!(stderr.contains("checkpoints/best` is missing; using the checkpoint before it"), "{stderr}");
    fs::remove_dir_all(sandbox.path("run/checkpoints/best.previous")).unwrap();
    train("from_last", "model.init=run");
    assert!((last("run") - loss("from_last")).abs() < 1e-12);
}

#[test]
fn a_burnpack_export_loads_in_burn() {
    use burn::module::Module;
    use regulus::config::Experiment;
    use regulus::model::Weights;
    use regulus::network::Network;

    let sandbox = trained();
    let stdout = sandbox.ok(&["export", "run", "--format", "burnpack"]).stdout();
    assert!(stdout.contains("run/model.bpk"), "{stdout}");
    let experiment = Experiment::load(&sandbox.path("small.toml"), &[]).unwrap();
    let shape = regulus::data::Shape { channels: 1, height: 28, width: 28 };
    let graph = experiment.model.graph(shape, 10).unwrap();
    let device = regulus::backend::open(&experiment.backend).unwrap().device;
    let network = Network::blank(&graph, &device).try_load_file(sandbox.path("run/model.bpk")).unwrap();
    let saved = Weights::from_file(&sandbox.path("run/checkpoints/best/model.safetensors")).unwrap();
    assert!(network.weights() == saved);
}

#[test]
fn check_prints_comments_and_the_schema() {
    let sandbox = Sandbox::new();
    let commented = sandbox.ok(&["check", "small.toml", "--comments"]).stdout();
    assert!(commented.contains("# The kind of term. (required)\n"), "{commented}");
    sandbox.write("commented.toml", &commented);
    let resolved = |file: &str| sandbox.ok(&["check", file]).stdout();
    assert_eq!(resolved("commented.toml"), resolved("small.toml"));
    let schema: serde_json::Value = serde_json::from_str(&sandbox.ok(&["check", "--schema"]).stdout()).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["properties"]["train"]["properties"]["epochs"]["default"], 10);
    for arguments in [vec!["check"], vec!["check", "--schema", "small.toml"], vec!["check", "small.toml", "--comments", "--json"]] {
        assert_eq!(sandbox.run(&arguments).code(), 2, "{arguments:?}");
    }
}

#[test]
fn check_prints_the_resolved_config() {
    let sandbox = Sandbox::new();
    let resolved = sandbox.ok(&["check", "small.toml", "--set", "seed=9"]).stdout();
    sandbox.write("resolved.toml", &resolved);
    assert_eq!(sandbox.ok(&["check", "resolved.toml"]).stdout(), resolved);
    insta::assert_snapshot!(resolved);
    let json = sandbox.ok(&["check", "small.toml", "--json"]).json();
    assert_eq!(json[0]["optimizer"]["epsilon"], 1e-7);
    let memory = &json[1]["memory"];
    // With the best weights on the validation split.
    assert_eq!([&memory["parameters"], &memory["optimizer_state"], &memory["checkpoint"]], [8 * 2848, 8 * 2848, 20 * 2848]);
    let begin = &sandbox.ok(&["train", "small.toml", "--json", "--run-dir", "r"]).json()[0];
    assert_eq!(begin["memory"], *memory);
    let missing = ["check", "small.toml", "--set", "data.source=mnist"];
    assert_eq!(sandbox.run(&missing).code(), 3);
    sandbox.ok(&[missing.as_slice(), &["--config-only"]].concat());
}

#[test]
fn check_says_what_computes_each_layer() {
    let sandbox = Sandbox::new();
    let model = r#"model={kind="layers", layers=["conv 4 3x3", "average_pool 2", "relu", "max_pool 3 stride 2", "gelu", "global_max_pool", "dense classes"]}"#;
    let implementations = |kernels: &str| -> Vec<String> {
        let printed = sandbox.ok(&["check", "small.toml", "--set", model, "--set", kernels]).stdout();
        let rows = printed.lines().skip_while(|line| !line.starts_with("# conv1 ")).take_while(|line| !line.starts_with("# all "));
        rows.filter_map(|row| row.split_whitespace().last()).map(str::to_owned).collect()
    };
    assert_eq!(implementations("backend.kernels=fused"), ["fused", "kernel", "stock", "kernel", "kernel", "kernel", "fused"]);
    assert_eq!(implementations("backend.kernels=stock"), ["stock"; 7]);
}

#[test]
fn backends_data_list_completions_and_man_print_their_output() {
    let sandbox = Sandbox::new();
    let backends = sandbox.ok(&["backends", "--json"]).json();
    assert_eq!(backends.len(), 6);
    let built = |name: &str| backends.iter().find(|line| line["backend"] == name).unwrap()["built"].as_bool().unwrap();
    assert_eq!(built("flex"), cfg!(feature = "flex"));
    assert_eq!(built("cuda"), cfg!(feature = "cuda"));
    assert!(sandbox.ok(&["backends"]).stdout().contains("flex     device 0: CPU"));
    assert!(sandbox.ok(&["data", "list"]).stdout().contains("fashion_mnist      not fetched"));
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(sandbox.ok(&["completions", shell]).stdout().contains("resume"));
    }
    assert!(sandbox.ok(&["man"]).stdout().contains(".TH regulus 1"));
    sandbox.ok(&["man", "--dir", "man"]);
    for page in ["regulus.1", "regulus-train.1", "regulus-data-fetch.1"] {
        assert!(sandbox.path("man").join(page).is_file(), "{page}");
    }
}
