//! Data from IDX files, folders and CIFAR-10.

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
    for (split, count) in [("train", 12), ("test", 3)] {
        for number in 0..count {
            png(&sandbox.path(&format!("shades/{split}/dark/{number}.png")), 20 + number, 17, 10);
            png(&sandbox.path(&format!("shades/{split}/light/{number}.png")), 9, 30 + number, 240);
        }
    }
    sandbox.write("shades/train/dark/notes.txt", "not an image");
    let config = "name = \"shades\"\n[data]\nsource = \"folder\"\ndir = \"shades\"\nimage_size = [10, 12]\nimage_channels = 3\n[model]\n\
                  channels = [4]\nhidden = 8\n[optimizer]\nlearning_rate = 0.01\n[train]\nepochs = 20\nbatch_size = 8\n";
    sandbox.write("shades.toml", config);
    let ran = sandbox.ok(&["train", "shades.toml", "--json", "--run-dir", "r"]);
    let summary = &ran.json().last().unwrap()["summary"].clone();
    assert_eq!(summary["train"]["count"], 24);
    assert_eq!(summary["test"]["accuracy"], 1.0, "dark and light are easy to classify");
    png(&sandbox.path("new.png"), 50, 50, 235);
    assert!(sandbox.ok(&["predict", "r", "new.png"]).stdout().starts_with("new.png: light "));
    let inspected = &sandbox.ok(&["data", "inspect", "shades.toml", "--json"]).json()[0];
    assert_eq!(inspected["shape"]["channels"], 3);
    let mean = inspected["parts"]["train"]["mean"][2].as_f64().unwrap();
    assert!((mean - 125.0 / 255.0).abs() < 1e-9, "{mean}");
}

#[test]
fn limits_and_splits_have_the_configured_sizes() {
    let sandbox = Sandbox::new();
    let inspected: Value = sandbox.ok(&["data", "inspect", "small.toml", "--json"]).json()[0].clone();
    assert_eq!(inspected["parts"]["train"]["count"], 193);
    assert_eq!(inspected["parts"]["validation"]["count"], 47);
    let whole: Value = sandbox.ok(&["data", "inspect", "mnist_mini", "--json"]).json()[0].clone();
    assert_eq!(whole["sha256"], inspected["sha256"], "the checksum is of the whole set");
    // mnist_mini has 500 images of each digit.
    assert_eq!(whole["parts"]["train"]["class_counts"], serde_json::json!(vec![500; 10]));
}

#[test]
fn a_limit_takes_samples_of_every_class_or_is_an_error() {
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
fn changed_data_are_an_error() {
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

const IDX: &str = "name = \"own\"\n[data]\nsource = \"idx\"\ndir = \"own\"\n[model]\nkind = \"linear\"\n[train]\nepochs = 1\n";

#[test]
fn idx_files_are_found_by_their_usual_names_and_transposed() {
    let sandbox = Sandbox::new();
    let images: Vec<u8> = (0..12 * 2 * 3_u32).map(|i| u8::try_from(i % 6).unwrap()).collect();
    let labels: Vec<u8> = (0..12).map(|i| i % 2).collect();
    sandbox.write("own/train-images.idx3-ubyte", idx(0x0803, &[12, 2, 3], &images));
    sandbox.write("own/train-labels.idx1-ubyte", idx(0x0801, &[12], &labels));
    sandbox.write("own/t10k-images-idx3-ubyte.gz", gz(&idx(0x0803, &[12, 2, 3], &images)));
    sandbox.write("own/t10k-labels-idx1-ubyte.gz", gz(&idx(0x0801, &[12], &labels)));
    sandbox.write("own.toml", IDX);
    let shape = |config: &str| sandbox.ok(&["data", "inspect", config, "--json"]).json()[0]["shape"].clone();
    assert_eq!(shape("own.toml"), serde_json::json!({ "channels": 1, "height": 2, "width": 3 }));
    sandbox.write("transposed.toml", IDX.replace("[model]", "transpose = true\n[model]"));
    assert_eq!(shape("transposed.toml"), serde_json::json!({ "channels": 1, "height": 3, "width": 2 }));
    let named = "train_images = \"train-images-idx3-ubyte\"\ntrain_labels = \"train-labels-idx1-ubyte.gz\"\n[model]";
    sandbox.write("named.toml", IDX.replace("[model]", named));
    assert_eq!(shape("named.toml"), shape("own.toml"));
    std::fs::remove_file(sandbox.path("own/train-images.idx3-ubyte")).unwrap();
    let ran = sandbox.run(&["check", "own.toml"]);
    assert_eq!(ran.code(), 3);
    assert!(ran.stderr().contains("train-labels.idx1-ubyte` has no counterpart"), "{}", ran.stderr());
}

#[test]
fn classes_without_training_samples_are_reported_and_test_labels_must_be_known() {
    let sandbox = Sandbox::new();
    let write = |split: &str, labels: &[u8]| {
        let count = u32::try_from(labels.len()).unwrap();
        sandbox.write(&format!("own/{split}-images-idx3-ubyte"), idx(0x0803, &[count, 4, 4], &vec![9; labels.len() * 16]));
        sandbox.write(&format!("own/{split}-labels-idx1-ubyte"), idx(0x0801, &[count], labels));
    };
    sandbox.write("own.toml", IDX);
    write("train", &[1, 2, 4, 1, 2, 4]);
    for command in [["train", "own.toml"], ["check", "own.toml"]] {
        let warning = "warning: no training sample is of class `0`, `3`; labels start at 1, while classes are counted from 0";
        assert!(sandbox.ok(&command).stderr().contains(warning), "{command:?}");
    }
    write("t10k", &[1, 3]);
    let ran = sandbox.run(&["check", "own.toml"]);
    assert_eq!(ran.code(), 3);
    assert!(ran.stderr().contains("test samples have the label 3 (class `3`), but no training sample has it"), "{}", ran.stderr());
}

#[test]
fn cifar_100_has_fine_labels() {
    let sandbox = Sandbox::new();
    // Coarse label 1, fine label by the number of the image, red as the label.
    let records = |count: u8| -> Vec<u8> {
        (0..count).flat_map(|label| [vec![1, label], vec![label; 1024], vec![label / 2; 2048]].concat()).collect()
    };
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in [("train.bin", records(100).repeat(2)), ("test.bin", records(100)), ("fine_label_names.txt", b"apple".to_vec())] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, format!("cifar-100-binary/{name}"), bytes.as_slice()).unwrap();
        sandbox.write(&format!("unpacked/cifar-100-binary/{name}"), bytes);
    }
    sandbox.write("packed/cifar-100-binary.tar.gz", gz(&archive.into_inner().unwrap()));
    let inspected = |dir: &str| sandbox.ok(&["data", "inspect", "cifar100", "--dir", dir, "--json"]).json()[0].clone();
    let unpacked = inspected("unpacked");
    assert_eq!((&unpacked["parts"]["train"]["count"], &unpacked["parts"]["test"]["count"]), (&200.into(), &100.into()));
    assert_eq!(unpacked["classes"].as_array().unwrap().len(), 100);
    assert_eq!(
        (&unpacked["classes"][0], &unpacked["classes"][1], &unpacked["classes"][99]),
        (&"apple".into(), &"aquarium_fish".into(), &"worm".into())
    );
    assert_eq!(inspected("packed")["sha256"], unpacked["sha256"]);
    let ran = sandbox.run(&["data", "inspect", "cifar100", "--dir", "nowhere"]);
    assert_eq!(ran.code(), 3);
    assert!(
        ran.stderr().contains("fetch it with `regulus data fetch cifar100`, or set `data.dir` to `cifar-100-binary.tar.gz`"),
        "{}",
        ran.stderr()
    );
    let config = "name = \"a\"\n[data]\nsource = \"cifar100\"\ndir = \"packed\"\nnormalization = \"standard\"\n[model]\nkind = \"linear\"\n[train]\nepochs = 1\n\
                  [augment]\nflip = \"alternating\"\nshift = 4\nborder = \"mean\"\ncutout = 16\ncrop_scale = 0.25\nbrightness = 0.4\ncontrast = 0.4\nsaturation = 0.4\nhue = 0.1\ntest_flip = true\ntest_shift = 3\n";
    sandbox.write("hundred.toml", config);
    let lines = sandbox.ok(&["train", "hundred.toml", "--run-dir", "run", "--json"]).json();
    assert!(lines.iter().any(|line| line["event"] == "epoch"), "{lines:?}");
}

/// The files of the binary version of CIFAR-10, with `count` images each.
fn cifar10(count: usize) -> Vec<(String, Vec<u8>)> {
    let batch = |first: usize| {
        let record = |index: usize| {
            let label = u8::try_from((first + index) % 10).unwrap();
            [vec![label], vec![label * 20; 1024], vec![200; 1024], vec![7; 1024]].concat()
        };
        (0..count).flat_map(record).collect::<Vec<u8>>()
    };
    let names = ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"];
    names.iter().enumerate().map(|(index, name)| (format!("cifar-10-batches-bin/{name}.bin"), batch(index * 3))).collect()
}

#[test]
fn cifar_10_is_read_from_its_folder_and_its_archive() {
    let sandbox = Sandbox::new();
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in cifar10(20) {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, &name, bytes.as_slice()).unwrap();
        sandbox.write(&format!("unpacked/{name}"), bytes);
    }
    let archive = gz(&archive.into_inner().unwrap());
    sandbox.write("packed/cifar-10-binary.tar.gz", &archive);
    sandbox.write("cut/cifar-10-binary.tar.gz", &archive[..archive.len() - 20]);
    let inspected = |dir: &str| sandbox.ok(&["data", "inspect", "cifar10", "--dir", dir, "--json"]).json()[0].clone();
    let unpacked = inspected("unpacked");
    let warnings = sandbox.ok(&["data", "inspect", "cifar10", "--dir", "unpacked"]).stderr();
    assert!(warnings.contains("data_batch_3.bin` has 20 images; the official file has 10000: is it whole?"), "{warnings}");
    assert_eq!(unpacked["shape"], serde_json::json!({ "channels": 3, "height": 32, "width": 32 }));
    assert_eq!((&unpacked["parts"]["train"]["count"], &unpacked["parts"]["test"]["count"]), (&100.into(), &20.into()));
    assert_eq!(unpacked["classes"][3], "cat");
    let green = unpacked["parts"]["train"]["mean"][1].as_f64().unwrap();
    assert!((green - 200.0 / 255.0).abs() < 1e-9, "{green}");
    for same in ["unpacked/cifar-10-batches-bin", "packed", "packed/cifar-10-binary.tar.gz"] {
        assert_eq!(inspected(same)["sha256"], unpacked["sha256"], "{same}");
    }
    for (offset, dir) in [(archive.len() / 2, "flipped"), (archive.len() - 6, "sum")] {
        let mut damaged = archive.clone();
        damaged[offset] ^= 1;
        sandbox.write(&format!("{dir}/cifar-10-binary.tar.gz"), damaged);
        assert_eq!(sandbox.run(&["data", "inspect", "cifar10", "--dir", dir]).code(), 3, "{dir}");
    }
    for (dir, words) in [("cut", "is not a whole .tar.gz archive"), ("nowhere", "fetch it with `regulus data fetch cifar10`")] {
        let ran = sandbox.run(&["data", "inspect", "cifar10", "--dir", dir]);
        assert_eq!(ran.code(), 3, "{dir}");
        assert!(ran.stderr().contains(words), "{dir}: {}", ran.stderr());
    }
    std::fs::remove_file(sandbox.path("unpacked/cifar-10-batches-bin/data_batch_4.bin")).unwrap();
    let ran = sandbox.run(&["data", "inspect", "cifar10", "--dir", "unpacked"]);
    assert_eq!(ran.code(), 3);
    assert!(ran.stderr().contains("data_batch_4.bin"), "{}", ran.stderr());
}
