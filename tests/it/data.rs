//! Data from files of one's own.

use std::io::Write;

use serde_json::Value;

use crate::support::{Sandbox, png};

fn idx(magic: u32, sizes: &[u32], body: &[u8]) -> Vec<u8> {
    let mut bytes = magic.to_be_bytes().to_vec();
    sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
    bytes.extend(body);
    bytes
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn colour_idx_files_train_packed_and_plain() {
    let sandbox = Sandbox::new();
    let images: Vec<u8> = (0..20 * 12 * 12 * 3_u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
    let labels: Vec<u8> = (0..20).map(|i| i % 2).collect();
    sandbox.write("own/images", idx(0x0804, &[20, 12, 12, 3], &images));
    sandbox.write("own/labels.gz", gz(&idx(0x0801, &[20], &labels)));
    let config = "name = \"own\"\n[data]\nsource = \"idx\"\ndir = \"own\"\ntrain_images = \"images\"\ntrain_labels = \"labels.gz\"\n\
                  test_images = \"images\"\ntest_labels = \"labels.gz\"\nclasses = [\"left\", \"right\"]\n[model]\nchannels = [3]\nhidden = 4\n\
                  [train]\nepochs = 1\n";
    sandbox.write("own.toml", config);
    let ran = sandbox.ok(&["train", "own.toml", "--json", "--run-dir", "r"]);
    assert_eq!(ran.json().last().unwrap()["summary"]["test"]["count"], 20);
    let inspected = &sandbox.ok(&["data", "inspect", "own.toml", "--json"]).json()[0];
    assert_eq!(inspected["shape"], serde_json::json!({ "channels": 3, "height": 12, "width": 12 }));
    assert_eq!(inspected["classes"], serde_json::json!(["left", "right"]));
    assert_eq!(inspected["parts"]["train"]["class_counts"], serde_json::json!([10, 10]));
}

#[test]
fn a_folder_of_images_trains_and_predicts_by_class_name() {
    let sandbox = Sandbox::new();
    for (part, count) in [("train", 12), ("test", 3)] {
        for number in 0..count {
            png(&sandbox.path(&format!("shades/{part}/dark/{number}.png")), 20 + number, 17, 10);
            png(&sandbox.path(&format!("shades/{part}/light/{number}.png")), 9, 30 + number, 240);
        }
    }
    sandbox.write("shades/train/dark/notes.txt", "not an image");
    let config = "name = \"shades\"\n[data]\nsource = \"folder\"\ndir = \"shades\"\nimage_size = [10, 12]\nimage_channels = 3\n[model]\n\
                  channels = [4]\nhidden = 8\n[optimizer]\nlearning_rate = 0.01\n[train]\nepochs = 20\nbatch_size = 8\n";
    sandbox.write("shades.toml", config);
    let ran = sandbox.ok(&["train", "shades.toml", "--json", "--run-dir", "r"]);
    let summary = &ran.json().last().unwrap()["summary"].clone();
    assert_eq!(summary["train"]["count"], 24);
    assert_eq!(summary["test"]["accuracy"], 1.0, "dark and light are easily told apart");
    png(&sandbox.path("new.png"), 50, 50, 235);
    assert!(sandbox.ok(&["predict", "r", "new.png"]).stdout().starts_with("new.png: light "));
    let inspected = &sandbox.ok(&["data", "inspect", "shades.toml", "--json"]).json()[0];
    assert_eq!(inspected["shape"]["channels"], 3);
    let mean = inspected["parts"]["train"]["mean"][2].as_f64().unwrap();
    assert!((mean - 125.0 / 255.0).abs() < 1e-9, "{mean}");
}

#[test]
fn limits_and_splits_count_as_told() {
    let sandbox = Sandbox::new();
    let inspected: Value = sandbox.ok(&["data", "inspect", "small.toml", "--json"]).json()[0].clone();
    assert_eq!(inspected["parts"]["train"]["count"], 193);
    assert_eq!(inspected["parts"]["validation"]["count"], 47);
    let whole: Value = sandbox.ok(&["data", "inspect", "mnist_mini", "--json"]).json()[0].clone();
    assert_eq!(whole["sha256"], inspected["sha256"], "the checksum is of the whole set");
    // Known from the drawing: 500 of each digit.
    assert_eq!(whole["parts"]["train"]["class_counts"], serde_json::json!(vec![500; 10]));
}

#[test]
fn a_limit_takes_of_every_class_of_a_folder_and_refuses_to_lose_one() {
    let sandbox = Sandbox::new();
    for class in ["a", "b", "c"] {
        (0..5).for_each(|number| png(&sandbox.path(&format!("d/{class}/{number}.png")), 8, 8, number));
    }
    let config = "name = \"d\"\n[data]\nsource = \"folder\"\ndir = \"d\"\nimage_size = [8, 8]\ntrain_limit = 6\n";
    sandbox.write("d.toml", config);
    let counts = &sandbox.ok(&["data", "inspect", "d.toml", "--json"]).json()[0]["parts"]["train"]["class_counts"].clone();
    assert_eq!(counts, &serde_json::json!([2, 2, 2]));
    let ran = sandbox.run(&["check", "d.toml", "--set", "data.train_limit=2"]);
    assert_eq!(ran.code(), 3);
    assert!(ran.stderr().contains("the first 2 training samples have none of class `c`"), "{}", ran.stderr());
}

#[test]
fn changed_data_are_noticed() {
    let sandbox = Sandbox::new();
    let write = |shade: u8| {
        for number in 0..4 {
            png(&sandbox.path(&format!("d/a/{number}.png")), 8, 8, shade);
            png(&sandbox.path(&format!("d/b/{number}.png")), 8, 8, 200);
        }
    };
    write(10);
    sandbox.write("d.toml", "name = \"d\"\n[data]\nsource = \"folder\"\ndir = \"d\"\nimage_size = [8, 8]\n[model]\nchannels = [2]\nhidden = 2\n[train]\nepochs = 1\n");
    sandbox.ok(&["train", "d.toml", "--run-dir", "r"]);
    sandbox.ok(&["evaluate", "r", "--split", "train"]);
    std::fs::rename(sandbox.path("d"), sandbox.path("moved")).unwrap();
    assert_eq!(sandbox.run(&["evaluate", "r", "--split", "train"]).code(), 3);
    sandbox.ok(&["evaluate", "r", "--split", "train", "--data-dir", "moved"]);
    write(11);
    let ran = sandbox.run(&["evaluate", "r", "--split", "train"]);
    assert_eq!(ran.code(), 3);
    assert!(ran.stderr().contains("the data have changed since run `r` began"), "{}", ran.stderr());
}
