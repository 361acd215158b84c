//! The task `denoise`: from folders of pictures of several sizes to measures, exports and denoised files.

use std::ops::ControlFlow;
use std::path::Path;

use regulus::config::Experiment;
use regulus::data::{self, Data, Images, Picture, Shape, Splits};
use regulus::error::Error;
use regulus::predict::predict_picture;
use regulus::session::Session;
use regulus::train::{Ending, Event, Observer, Silent, Snapshot};
use regulus::trained::Trained;
use serde_json::{Value, json};

use crate::support::{Sandbox, cpu_backends, png};

const CONFIG: &str = "name = \"pictures\"\n[task]\nkind = \"denoise\"\npatch_size = 12\nstride = 6\n[data]\nsource = \"folder\"\ndir = \"pictures\"\n\
                      [model]\nkind = \"dncnn\"\ndepth = 3\nwidth = 4\n[[penalty]]\nkind = \"l2\"\nlambda = 0.01\n[train]\nepochs = 2\nbatch_size = 16\n";

/// The value of a pixel of a smooth picture.
fn smooth(row: u32, column: u32, number: u32) -> u8 {
    let waves = f64::from(row * (number + 1)) / 9.0 + f64::from(column) / 5.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 27 to 227")]
    let value = (127.0 + 100.0 * waves.sin()) as u8;
    value
}

fn picture(path: &Path, height: u32, width: u32, number: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::GrayImage::from_fn(width, height, |column, row| image::Luma([smooth(row, column, number)])).save(path).unwrap();
}

/// Pictures of several sizes, some in folders as if they had classes.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    for (number, (name, height, width)) in (0..).zip([
        ("train/a.png", 40, 31),
        ("train/animals/b.png", 24, 50),
        ("train/c.png", 30, 30),
        ("val/d.png", 20, 33),
        ("test/e.png", 37, 23),
        ("test/plants/f.png", 23, 37),
    ]) {
        picture(&sandbox.path(&format!("pictures/{name}")), height, width, number);
    }
    sandbox.write("pictures.toml", CONFIG);
    sandbox
}

#[test]
fn pictures_of_any_size_train_measure_export_and_predict() {
    let sandbox = sandbox();
    sandbox.write("pictures/notes.txt", "not an image");
    let ran = sandbox.ok(&[
        "train",
        "pictures.toml",
        "--json",
        "--run-dir",
        "r",
        "--set",
        "train.epochs=60",
        "--set",
        "optimizer.learning_rate=0.01",
    ]);
    let summary = ran.json().last().unwrap()["summary"].clone();
    // (40−12)/6 + 1 = 5 rows by 4 columns, 3 by 7, 4 by 4.
    assert_eq!(summary["train"]["count"], 5 * 4 + 3 * 7 + 4 * 4);
    assert_eq!((&summary["validation"]["count"], &summary["test"]["count"]), (&json!(1), &json!(2)));
    let (report, evaluation) = (std::fs::read_to_string(sandbox.path("r/report.html")).unwrap(), sandbox.json("r/evaluation.json"));
    assert_eq!(report.matches("<span>output</span>").count(), 2, "input, output and target of both pictures of the test split");
    let psnr = evaluation["pictures"].as_array().unwrap().iter().map(|picture| picture["psnr"].as_f64().unwrap()).sum::<f64>() / 2.0;
    assert!((psnr - summary["test"]["psnr"].as_f64().unwrap()).abs() < 1e-9 && report.contains("PSNR (dB)"), "{psnr}");
    let rows: Vec<Value> =
        std::fs::read_to_string(sandbox.path("r/metrics.jsonl")).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(rows[0].get("accuracy").is_none() && rows[0].get("psnr").is_none() && rows[1]["psnr"].is_f64() && rows[1]["ssim"].is_f64());

    let measured = sandbox.ok(&["evaluate", "r", "--json", "--predictions", "each.csv"]).json()[0].clone();
    for key in ["psnr", "ssim", "data_loss"] {
        assert_eq!(measured[key], summary["test"][key], "{key}");
    }
    // Noise of deviation 25 has a PSNR of 20·log10(255/25) = 20.17 dB, and clipping takes some of it away.
    let noisy = measured["noisy_psnr"].as_f64().unwrap();
    assert!((19.9..20.8).contains(&noisy), "{noisy}");
    assert!(measured["psnr"].as_f64().unwrap() > noisy, "{measured}");
    let lines = std::fs::read_to_string(sandbox.path("each.csv")).unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, "file,loss,psnr,ssim,noisy_psnr,noisy_ssim"));
    let printed = sandbox.ok(&["evaluate", "r"]).stdout();
    assert!(printed.contains("test: 2 samples, data loss ") && printed.contains("\nwith the noise: PSNR "), "{printed}");

    // The exported file has the sigma, so it measures the same.
    sandbox.ok(&["export", "r", "--output", "model.safetensors"]);
    let of_file = sandbox.ok(&["evaluate", "model.safetensors", "--data", "pictures/test", "--json"]).json()[0].clone();
    assert_eq!((&of_file["psnr"], &of_file["noisy_psnr"]), (&measured["psnr"], &measured["noisy_psnr"]));

    let predicted = sandbox.ok(&["predict", "model.safetensors", "pictures/test", "--output", "out", "--json"]).json();
    assert_eq!(predicted[1]["output"], Path::new("out/plants/f.png").display().to_string());
    let denoised = image::open(sandbox.path("out/plants/f.png")).unwrap();
    assert_eq!((denoised.width(), denoised.height(), denoised.color()), (37, 23, image::ColorType::L8));
    let again = sandbox.run(&["predict", "r", "pictures/test/e.png", "--output", "out"]);
    assert_eq!(again.code(), 3);
    assert!(again.stderr().contains("e.png` exists already; remove it, or choose another folder"), "{}", again.stderr());
    let nowhere = sandbox.run(&["predict", "r", "pictures/test/e.png"]);
    assert_eq!(nowhere.code(), 2);
    assert!(nowhere.stderr().contains("name a folder to write them to with `--output DIR`"), "{}", nowhere.stderr());
    let twice = sandbox.ok(&["predict", "r", "pictures/test/e.png", "pictures/test", "--output", "twice", "--json"]).json();
    assert_eq!(twice.len(), 2, "a file that is named twice is denoised once");
    std::fs::copy(sandbox.path("pictures/test/e.png"), sandbox.path("e.jpg")).unwrap();
    let same_name = sandbox.ok(&["predict", "r", "pictures/test/e.png", "e.jpg", "--output", "names", "--json"]).json();
    assert_eq!(same_name[1]["output"], Path::new("names/e.jpg.png").display().to_string());
    let inside = sandbox.run(&["predict", "r", "pictures", "--output", "pictures/out"]);
    assert!(inside.code() == 2 && inside.stderr().contains("lies in `pictures`, whose pictures are read"), "{}", inside.stderr());
    let file = sandbox.run(&["predict", "r", "e.jpg", "--output", "model.safetensors"]);
    assert!(file.code() == 2 && file.stderr().contains("is not a folder"), "{}", file.stderr());

    let inspected = sandbox.ok(&["data", "inspect", "pictures.toml"]).stdout();
    assert!(inspected.starts_with("folder: training samples are patches 12×12×1"), "{inspected}");
    assert_eq!(sandbox.ok(&["data", "inspect", "pictures.toml", "--json"]).json()[0]["parts"]["test"]["count"], 2);
}

#[test]
fn denoising_has_the_same_bits_on_any_threads_and_after_an_extension() {
    for backend in cpu_backends() {
        let sandbox = sandbox();
        let kind = format!("backend.kind={backend}");
        let train = |run: &str, set: &str| {
            sandbox.ok(&["train", "pictures.toml", "--run-dir", run, "--set", &kind, "--set", set]);
            sandbox.results(run)
        };
        let expected = train("one", "backend.threads=1");
        assert!(train("three", "backend.threads=3") == expected, "{backend}");
        train("short", "train.epochs=1");
        sandbox.ok(&["resume", "short", "--epochs", "2"]);
        assert!(sandbox.results("short") == expected, "{backend}: extended from 1 epoch to 2");
    }
}

/// Stops at the first checkpoint, which it stores.
#[derive(Default)]
struct FirstCheckpoint(Option<Snapshot>);

impl Observer for FirstCheckpoint {
    fn on(&mut self, event: &Event) -> Result<ControlFlow<()>, Error> {
        let Event::Checkpoint { snapshot, .. } = event else { return Ok(ControlFlow::Continue(())) };
        self.0.get_or_insert_with(|| (*snapshot).clone());
        Ok(ControlFlow::Break(()))
    }
}

#[test]
fn a_training_that_is_stopped_inside_an_epoch_goes_on_to_the_same_bits() {
    let sandbox = sandbox();
    for more in ["", "[optimizer]\nsam_rho = 0.05\n[averaging]\nkind = \"ema\"\n", "[optimizer]\nkind = \"sgd\"\n"] {
        let config = format!("{CONFIG}{more}[checkpoint]\nevery_steps = 3\n").replace("\"pictures\"\n[model]", "'DIR'\n[model]");
        let config = config.replace("DIR", &sandbox.path("pictures").display().to_string());
        let experiment = Experiment::from_toml(&config).unwrap();
        let data = data::load(&experiment).unwrap();
        let mut whole = Session::new(experiment.clone(), data.clone()).unwrap();
        whole.run(&mut Silent).unwrap();
        let mut first = FirstCheckpoint::default();
        assert_eq!(Session::new(experiment.clone(), data.clone()).unwrap().run(&mut first).unwrap(), Ending::Interrupted);
        let snapshot = first.0.unwrap();
        assert_eq!((snapshot.state.step, snapshot.state.epoch), (3, 0));
        let mut resumed = Session::resumed(experiment, data, &snapshot, None).unwrap();
        resumed.run(&mut Silent).unwrap();
        assert!(resumed.weights() == whole.weights(), "{more}");
    }
}

#[test]
fn penalties_that_adapt_train_a_denoising_network() {
    let sandbox = sandbox();
    let adaptive = "penalty={}".to_owned().replace("{}", "[{kind=\"l2\", schedule={kind=\"adaptive\"}}]");
    for sets in [
        vec!["optimizer.sam_rho=0.05"],
        vec![&adaptive],
        vec!["penalty.0.kind=l1", "penalty.0.proximal=true"],
        vec!["backend.kernels=stock", "train.epochs=1"],
    ] {
        let run = format!("run{}", sets.join("").len());
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        sandbox.ok(&[&["train", "pictures.toml", "--run-dir", &run], sets.as_slice()].concat());
        assert!(sandbox.json(&format!("{run}/summary.json"))["penalty"].as_f64().unwrap() > 0.0, "{run}");
    }
}

#[test]
fn a_fraction_holds_out_whole_pictures() {
    let sandbox = Sandbox::new();
    for number in 0..5 {
        picture(&sandbox.path(&format!("pictures/{number}.png")), 18, 18, number);
    }
    png(&sandbox.path("pictures/small.png"), 30, 11, 100);
    sandbox.write("pictures.toml", CONFIG);
    let ran = sandbox.ok(&["train", "pictures.toml", "--json", "--run-dir", "r", "--set", "data.validation=0.34", "--set", "seed=4"]);
    let summary = ran.json().last().unwrap()["summary"].clone();
    assert_eq!(summary["validation"]["count"], 2);
    // 4 patches of each of the other pictures but the one that is too small.
    assert_eq!(summary["train"]["count"], 12);
    let warnings = ran.json()[0]["warnings"].to_string();
    assert!(warnings.contains("fewer rows or columns than the 12 of `task.patch_size`: `") && warnings.contains("small.png"), "{warnings}");
}

#[test]
fn what_can_not_be_denoised_is_refused() {
    let sandbox = sandbox();
    let refused = |sets: &[&str]| {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        let ran = sandbox.run(&[&["train", "pictures.toml", "--run-dir", "r"], sets.as_slice()].concat());
        (ran.code(), ran.stderr().lines().last().unwrap_or_default().to_owned())
    };
    let messages = [
        vec!["task.patch_size=41"],
        vec!["model={kind=\"cnn\"}"],
        vec!["model={kind=\"layers\", layers=[\"conv 4 3x3 padding 1\", \"max_pool 2x2\"]}"],
        vec!["task.kind=classify"],
        vec!["data.dir=nowhere"],
        vec!["penalty.0.schedule.kind=evidence"],
        vec!["data.dir=pictures.toml"],
        vec!["task.sigma=1e9"],
    ];
    let messages: Vec<String> = messages
        .iter()
        .map(|sets| {
            let (code, message) = refused(sets);
            format!("{}\n    {code} {}", sets.join(" "), message.replace(&sandbox.path("").display().to_string(), "SANDBOX/"))
        })
        .collect();
    insta::assert_snapshot!(messages.join("\n"));
    std::fs::write(sandbox.path("pictures/train/z.png"), "damaged").unwrap();
    let (code, message) = refused(&[]);
    assert!(code == 3 && message.contains("z.png`") && message.contains("data.damaged"), "{message}");
    let skipped = sandbox.ok(&["train", "pictures.toml", "--run-dir", "r", "--set", "data.damaged=skip"]).stderr();
    assert!(skipped.contains("z.png` is left out") && skipped.contains("1 damaged image"), "{skipped}");
}

#[test]
fn pictures_in_memory_are_denoised_in_a_session() {
    let config = CONFIG.replace("source = \"folder\"\ndir = \"pictures\"", "source = \"memory\"");
    let experiment = Experiment::from_toml(&config).unwrap();
    let pictures = |sizes: &[(usize, usize)]| {
        let shapes: Vec<Shape> = sizes.iter().map(|(height, width)| Shape { channels: 1, height: *height, width: *width }).collect();
        let pixels = sizes.iter().flat_map(|(height, width)| {
            (0..*height * *width)
                .map(|at| smooth(u32::try_from(at / width).unwrap(), u32::try_from(at % width).unwrap(), 1))
                .collect::<Vec<u8>>()
        });
        Images::pictures(&shapes, pixels.collect())
    };
    let splits =
        Splits { train: pictures(&[(30, 25), (24, 24)]), validation: None, test: Some(pictures(&[(15, 40)])), classes: Vec::new() };
    let data = Data::from_images(&experiment, splits).unwrap();
    let other = Experiment::from_toml(&config.replace("stride = 6", "stride = 3")).unwrap();
    assert!(data.for_experiment(&other).unwrap().train.count() > data.train.count());
    let mut session = Session::new(experiment, data).unwrap();
    let summary = session.train(&mut Silent).unwrap();
    assert!(summary.test.unwrap().metrics["psnr"] > 5.0);
    let shape = Shape { channels: 1, height: 9, width: 50 };
    let noisy = Picture { shape, pixels: vec![128; shape.size()] };
    let trained = Trained::of(&session);
    assert_eq!(predict_picture(&trained, &noisy).unwrap().shape, shape);
    let colour = Picture { shape: Shape { channels: 3, ..shape }, pixels: vec![0; 3 * shape.size()] };
    let refused = predict_picture(&trained, &colour).unwrap_err().to_string();
    assert!(refused.starts_with("a picture of 9×50×3") && refused.contains("it takes grey images"), "{refused}");
    assert!(predict_picture(&trained, &Picture { shape: Shape { height: 0, ..shape }, pixels: Vec::new() }).is_err());
    let classes = regulus::predict::predict_images(&trained, &[&noisy.pixels]).unwrap_err().to_string();
    assert!(classes.contains("use `predict_picture`"), "{classes}");
}

#[test]
fn labelled_sources_give_their_images_as_pictures() {
    let config = "name = \"a\"\n[task]\nkind = \"denoise\"\npatch_size = 28\n[data]\nsource = \"mnist_mini\"\ntrain_limit = 20\n[model]\nkind = \"dncnn\"\n";
    let data = data::load(&Experiment::from_toml(config).unwrap()).unwrap();
    assert_eq!((data.train.count(), data.test.unwrap().count(), data.classes.len()), (20, 1000, 0));
    // The labels of images in memory are not used either.
    let config = config.replace("mnist_mini\"\ntrain_limit = 20", "memory\"\nvalidation = 0.5");
    let images = Images::new(Shape { channels: 1, height: 28, width: 28 }, vec![7; 4 * 784], vec![0, 1, 2, 3]);
    let splits = Splits { train: images, validation: None, test: None, classes: Vec::new() };
    let data = Data::from_images(&Experiment::from_toml(&config).unwrap(), splits).unwrap();
    assert_eq!((data.train.count(), data.validation.unwrap().count()), (2, 2));
}
