//! Evaluation, prediction and export of a trained network.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{Sandbox, png};

/// A run in `run`, and its network exported to `model.safetensors`.
fn trained() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.ok(&["train", "small.toml", "--run-dir", "run"]);
    sandbox.ok(&["export", "run", "--output", "model.safetensors"]);
    sandbox
}

/// The test images of the built-in set as PNG files: `DIR/CLASS/INDEX.png`.
fn test_images(sandbox: &Sandbox, dir: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/data/mnist_mini");
    let unpack = |name: &str| {
        let mut bytes = Vec::new();
        let file = fs::File::open(folder.join(name)).unwrap();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(file), &mut bytes).unwrap();
        bytes
    };
    let (images, labels) = (unpack("t10k-images-idx3-ubyte.gz"), unpack("t10k-labels-idx1-ubyte.gz"));
    for index in 0..1000 {
        let path = sandbox.path(&format!("{dir}/{}/{index}.png", labels[8 + index]));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let pixels = images[16 + index * 784..16 + (index + 1) * 784].to_vec();
        image::GrayImage::from_raw(28, 28, pixels).unwrap().save(path).unwrap();
    }
}

fn near(value: &Value, expected: f64) -> bool {
    value.as_f64().is_some_and(|value| (value - expected).abs() < 1e-6)
}

#[test]
fn new_labelled_images_measure_as_the_same_images_do_in_the_test_set() {
    let sandbox = trained();
    test_images(&sandbox, "new");
    let expected = &sandbox.ok(&["evaluate", "run", "--json"]).json()[0];
    for model in ["run", "model.safetensors"] {
        let ran = sandbox.ok(&["evaluate", model, "--data", "new", "--predictions", "out/p.csv", "--json"]);
        assert_eq!(ran.stderr(), "");
        let measures = &ran.json()[0];
        for key in ["count", "confusion", "top_confusions", "class_names"] {
            assert_eq!(measures[key], expected[key], "{model} {key}");
        }
        for key in ["accuracy", "data_loss", "balanced_accuracy", "macro_f1", "calibration_error"] {
            assert!(near(&measures[key], expected[key].as_f64().unwrap()), "{model} {key}: {measures}");
        }
        assert_eq!((&measures["data"], &measures["split"]), (&"new".into(), &Value::Null));
    }
    let mut reader = csv::Reader::from_path(sandbox.path("out/p.csv")).unwrap();
    assert_eq!(reader.headers().unwrap(), ["file", "label", "prediction", "probability", "loss"].as_slice());
    let (mut loss, mut right, mut lines) = (0.0, 0.0, 0);
    for line in reader.records().map(Result::unwrap) {
        assert!(sandbox.path(&line[0]).is_file() && line[0].starts_with(&format!("new/{}/", &line[1])), "{line:?}");
        lines += 1;
        right += f64::from(u8::from(line[1] == line[2]));
        loss += line[4].parse::<f64>().unwrap();
        assert!((0.1..=1.0).contains(&line[3].parse::<f64>().unwrap()), "{line:?}");
    }
    assert_eq!(lines, 1000);
    assert!(near(&expected["accuracy"], right / 1000.0) && near(&expected["data_loss"], loss / 1000.0));

    let stdout = sandbox.ok(&["evaluate", "model.safetensors", "--data", "new"]).stdout();
    assert!(
        stdout.starts_with("new: 1,000 samples, ") && stdout.contains("balanced accuracy ") && stdout.contains("macro-F1 "),
        "{stdout}"
    );
}

#[test]
fn predictions_of_a_run_s_own_split_are_numbered() {
    let sandbox = trained();
    let measures = &sandbox.ok(&["evaluate", "run", "--split", "validation", "--predictions", "p.jsonl", "--json"]).json()[0];
    let text = fs::read_to_string(sandbox.path("p.jsonl")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(Some(lines.len() as u64), measures["count"].as_u64());
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(line["file"], format!("#{index}"));
    }
    let mean = lines.iter().map(|line| line["loss"].as_f64().unwrap()).sum::<f64>() / lines.len() as f64;
    assert!(near(&measures["data_loss"], mean));
    let ran = sandbox.run(&["evaluate", "run", "--predictions", "p.xlsx"]);
    assert_eq!(ran.code(), 2);
    assert!(ran.stderr().contains("`p.xlsx` must end in `.csv` or, for JSON lines, in `.jsonl`"), "{}", ran.stderr());
}

#[test]
fn a_file_of_the_run_is_not_written_over() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["train", "small.toml", "--set", "train.epochs=1", "--run-dir", "run"]);
    for file in ["run/metrics.jsonl", "run/checkpoints/best/p.csv"] {
        let ran = sandbox.run(&["evaluate", "run", "--predictions", file]);
        assert_eq!(ran.code(), 2, "{file}");
        assert!(ran.stderr().contains("belongs to the run; write to another file"), "{}", ran.stderr());
    }
    sandbox.ok(&["evaluate", "run", "--predictions", "run/predictions.csv"]);
}

#[test]
fn a_folder_without_images_does_not_keep_the_others_from_being_predicted() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["train", "small.toml", "--set", "train.epochs=1", "--run-dir", "run"]);
    png(&sandbox.path("a.png"), 28, 28, 0);
    fs::create_dir(sandbox.path("empty")).unwrap();
    let ran = sandbox.run(&["predict", "run", "empty", "a.png"]);
    assert_eq!(ran.code(), 3);
    assert!(ran.stdout().starts_with("a.png: ") && ran.stderr().contains("error: 1 folder could"), "{}{}", ran.stdout(), ran.stderr());
}

#[test]
fn names_with_commas_quotes_and_line_ends_stay_one_field() {
    let sandbox = Sandbox::new();
    let odd = "a \"b\", c";
    for (class, grey) in [(odd, 0), ("d", 200)] {
        for image in 0..4 {
            png(&sandbox.path(&format!("set/{class}/{image}, x.png")), 8, 8, grey + image);
        }
    }
    sandbox.write("c.toml", "name = \"x\"\n[data]\nsource = \"folder\"\ndir = \"set\"\nimage_size = [8, 8]\n[model]\nkind = \"linear\"\n");
    sandbox.ok(&["train", "c.toml", "--set", "train.epochs=1", "--run-dir", "run"]);
    sandbox.ok(&["evaluate", "run", "--data", "set", "--predictions", "p.csv"]);
    let lines: Vec<csv::StringRecord> = csv::Reader::from_path(sandbox.path("p.csv")).unwrap().records().map(Result::unwrap).collect();
    assert_eq!(lines.len(), 8);
    assert_eq!((&lines[0][0], &lines[0][1]), (format!("set/{odd}/0, x.png").as_str(), odd));
    // The run's own images are files too.
    sandbox.ok(&["evaluate", "run", "--split", "train", "--predictions", "own.jsonl"]);
    let own = fs::read_to_string(sandbox.path("own.jsonl")).unwrap();
    assert!(own.lines().all(|line| line.contains("/set/") && !line.contains("\"#")), "{own}");
}

#[test]
fn evaluate_reports_what_it_cannot_measure() {
    let sandbox = trained();
    let expect_error = |arguments: &[&str], code: i32, message: &str| {
        let ran = sandbox.run(arguments);
        assert_eq!(ran.code(), code, "{arguments:?}: {}", ran.stderr());
        assert!(ran.stderr().contains(message), "{arguments:?}: {}", ran.stderr());
    };
    png(&sandbox.path("new/7/a.png"), 28, 28, 3);
    expect_error(&["evaluate", "model.safetensors"], 2, "give a folder of images with `--data DIR`");
    expect_error(&["evaluate", "run", "--data", "new", "--split", "test"], 2, "cannot be used with '--split");
    expect_error(&["evaluate", "run", "--data", "absent"], 3, "absent`");
    expect_error(&["evaluate", "model.safetensors", "--data", "new", "--checkpoint", "best"], 2, "`--checkpoint` is for run folders");
    let ran = sandbox.ok(&["evaluate", "model.safetensors", "--data", "new"]);
    assert!(ran.stderr().contains("`new` has no images of `0`, `1`, `2`, `3`, `4`, `5`, `6`, `8`, `9`"), "{}", ran.stderr());
    sandbox.write("new/7/broken.png", "no image");
    let ran = sandbox.ok(&["evaluate", "run", "--data", "new", "--json"]);
    assert_eq!(ran.json()[0]["count"], 1);
    assert!(ran.stderr().contains("new/7/broken.png` is left out"), "{}", ran.stderr());
    png(&sandbox.path("new/cat/a.png"), 28, 28, 3);
    expect_error(&["evaluate", "run", "--data", "new"], 3, "new/cat`");

    let plain =
        safetensors::serialize([("a", safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], &[0; 4]).unwrap())], None);
    sandbox.write("plain.safetensors", plain.unwrap());
    expect_error(&["predict", "plain.safetensors", "new"], 3, "its metadata has no `graph`; expected a file written by `regulus export");
    expect_error(&["predict", "small.toml", "new"], 3, "`small.toml` is not a safetensors file");
    expect_error(&["predict", "absent", "new"], 3, "cannot find `absent`; expected a run folder, or a .safetensors file");
}

#[test]
fn one_bad_image_does_not_keep_the_others_from_being_predicted() {
    let sandbox = trained();
    for name in ["1.png", "3.png", "more/b/2.png", "more/a.png"] {
        png(&sandbox.path(name), 28, 28, 9);
    }
    sandbox.write("2.png", "no image");
    sandbox.write("more/notes.txt", "text");
    let ran = sandbox.run(&["predict", "run", "1.png", "2.png", "3.png", "absent.png"]);
    assert_eq!(ran.code(), 3);
    let named: Vec<String> = ran.stdout().lines().map(|line| line.split(':').next().unwrap().to_owned()).collect();
    assert_eq!(named, ["1.png", "3.png"]);
    assert!(ran.stderr().contains("2.png`") && ran.stderr().contains("absent.png`"), "{}", ran.stderr());
    assert!(ran.stderr().ends_with("error: 2 of 4 images could not be predicted\n"), "{}", ran.stderr());

    let ran = sandbox.run(&["predict", "run", "1.png", "2.png", "more", "--json"]);
    assert_eq!(ran.code(), 3);
    let lines = ran.json();
    let images: Vec<&str> = lines.iter().map(|line| line["image"].as_str().unwrap()).collect();
    assert_eq!(images, ["1.png", "2.png", "more/a.png", "more/b/2.png"], "in the order given, a folder's sorted");
    assert!(lines[1]["error"].as_str().unwrap().contains("2.png") && lines[1]["classes"].is_null());
    assert_eq!(lines[0]["classes"].as_array().unwrap().len(), 3);
    assert!(ran.stderr().contains("warning:") && ran.stderr().contains(".txt"), "other files are counted: {}", ran.stderr());
    fs::create_dir(sandbox.path("empty")).unwrap();
    assert_eq!(sandbox.run(&["predict", "run", "empty"]).code(), 3);
}

#[test]
fn an_exported_file_predicts_as_its_run_does() {
    let sandbox = Sandbox::new();
    for (class, grey) in [("dark", 20), ("light", 220)] {
        for image in 0..6 {
            png(&sandbox.path(&format!("set/{class}/{image}.png")), 20 + u32::from(image), 9, grey + image * 3);
        }
    }
    let config = "name = \"x\"\n[data]\nsource = \"folder\"\ndir = \"set\"\nimage_size = [8, 8]\nresize = \"pad\"\nimage_channels = 3\n";
    sandbox.write("c.toml", format!("{config}normalization = \"standard\"\n[model]\nkind = \"mlp\"\nhidden = 8\n"));
    sandbox.ok(&["train", "c.toml", "--set", "train.epochs=2", "--run-dir", "run"]);
    sandbox.ok(&["export", "run", "--output", "m.safetensors"]);
    let predict = |model: &str| sandbox.ok(&["predict", model, "set", "--json", "--invert"]).stdout();
    let expected = predict("run");
    assert_eq!(expected.lines().count(), 12);
    fs::rename(sandbox.path("run"), sandbox.path("gone")).unwrap();
    assert_eq!(predict("m.safetensors"), expected, "it needs nothing of the run");

    let bytes = fs::read(sandbox.path("m.safetensors")).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let preprocessing: Value = serde_json::from_str(&header.metadata().clone().unwrap()["preprocessing"]).unwrap();
    assert_eq!((&preprocessing["resize"], &preprocessing["filter"]), (&"pad".into(), &"bilinear".into()));
    assert_eq!(preprocessing["grey"], serde_json::json!([0.2126, 0.7152, 0.0722]));
    assert_eq!((&preprocessing["background"], &preprocessing["orientation"]), (&"white".into(), &true.into()));
}

/// Files of version 0.1.0 do not state how images are resized and decoded.
#[test]
fn an_export_of_version_0_1_0_still_predicts() {
    let sandbox = trained();
    png(&sandbox.path("a.png"), 31, 28, 77);
    let expected = sandbox.ok(&["predict", "model.safetensors", "a.png"]).stdout();
    let bytes = fs::read(sandbox.path("model.safetensors")).unwrap();
    let size = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + size]).unwrap();
    header["__metadata__"]["preprocessing"] = r#"{"mean":[0.0],"deviation":[1.0]}"#.into();
    header["__metadata__"]["regulus_version"] = "0.1.0".into();
    let header = header.to_string();
    let old = [(header.len() as u64).to_le_bytes().as_slice(), header.as_bytes(), &bytes[8 + size..]].concat();
    sandbox.write("old.safetensors", old);
    assert_eq!(sandbox.ok(&["predict", "old.safetensors", "a.png"]).stdout(), expected);
}

#[test]
fn the_extension_of_an_export_agrees_with_its_format() {
    let sandbox = trained();
    let refused = |arguments: &[&str], message: &str| {
        let ran = sandbox.run(&[["export", "run"].as_slice(), arguments].concat());
        assert_eq!(ran.code(), 2, "{arguments:?}");
        assert!(ran.stderr().contains(message), "{arguments:?}: {}", ran.stderr());
    };
    refused(&["--output", "x.onnx"], "`x.onnx` ends in `.onnx`; expected `.safetensors` (safetensors) or `.bpk` (burnpack)");
    refused(&["--output", "x.bpk", "--format", "safetensors"], "expected `.safetensors`, or `--format burnpack`");
    assert!(!sandbox.path("x.onnx").exists() && !sandbox.path("x.bpk").exists());
    // Without `--format` the extension decides.
    sandbox.ok(&["export", "run", "--output", "x.bpk"]);
    let record = burn_pack::Reader::from_file(sandbox.path("x.bpk")).unwrap();
    assert_eq!(serde_json::from_str::<Vec<String>>(&record.metadata()["classes"]).unwrap().len(), 10);
    assert!(record.metadata()["preprocessing"].contains("\"bilinear\""));
    // An exported file can also be exported.
    sandbox.ok(&["export", "model.safetensors", "--format", "burnpack"]);
    assert!(sandbox.path("model.bpk").is_file());
    refused_file(&sandbox);
}

fn refused_file(sandbox: &Sandbox) {
    let ran = sandbox.run(&["export", "model.safetensors"]);
    assert_eq!(ran.code(), 2);
    assert!(ran.stderr().contains("`model.safetensors` is the file to export"), "{}", ran.stderr());
}

#[cfg(unix)]
#[test]
fn an_export_goes_through_links_and_pipes() {
    use std::os::unix::fs::{FileTypeExt, symlink};

    let sandbox = trained();
    let expected = fs::read(sandbox.path("model.safetensors")).unwrap();
    fs::create_dir(sandbox.path("store")).unwrap();
    symlink("store/real.safetensors", sandbox.path("link.safetensors")).unwrap();
    sandbox.ok(&["export", "run", "--output", "link.safetensors"]);
    assert!(sandbox.path("link.safetensors").is_symlink());
    assert!(fs::read(sandbox.path("store/real.safetensors")).unwrap() == expected);

    let pipe = sandbox.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::read(pipe).unwrap()
    });
    let ran = sandbox.ok(&["export", "run", "--output", "pipe"]);
    assert!(reader.join().unwrap() == expected);
    assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
    assert_eq!(ran.stdout(), "", "the pipe may be standard output");
    assert!(ran.stderr().starts_with("wrote pipe"), "{}", ran.stderr());

    // A link to a file of the run is refused.
    symlink("run/checkpoints/new.safetensors", sandbox.path("sly.safetensors")).unwrap();
    assert_eq!(sandbox.run(&["export", "run", "--output", "sly.safetensors"]).code(), 2);

    // Predictions can also be written to a pipe.
    let csv = sandbox.path("pipe.csv");
    assert!(std::process::Command::new("mkfifo").arg(&csv).status().unwrap().success());
    let reader = std::thread::spawn(move || fs::read_to_string(csv).unwrap());
    sandbox.ok(&["evaluate", "run", "--predictions", "pipe.csv"]);
    assert_eq!(reader.join().unwrap().lines().count(), 1001);
}

#[test]
fn predict_ends_when_standard_output_is_closed() {
    use std::io::{BufRead, BufReader};

    let sandbox = trained();
    png(&sandbox.path("a.png"), 28, 28, 5);
    let arguments: Vec<&str> = ["predict", "run"].into_iter().chain(std::iter::repeat_n("a.png", 20_000)).collect();
    let mut command = sandbox.command(&arguments);
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    stdout.read_line(&mut first).unwrap();
    assert!(first.starts_with("a.png: "), "{first}");
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(0), ""));
}
