//! Images in tar files, and sets that are larger than the memory for them.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Ran, Sandbox, png};

/// A small CNN with dropout and augmentation on 8×8 grey images, which take 64 bytes each.
const CONFIG: &str = "name = \"x\"\nseed = 3\n[data]\nsource = \"shards\"\ndir = \"d\"\nimage_size = [8, 8]\n\
    normalization = \"standard\"\nvalidation = 0.2\n[augment]\nshift = 1\nflip = \"horizontal\"\n\
    [model]\nchannels = [2]\nhidden = 8\ndropout = 0.2\n[train]\nepochs = 3\nbatch_size = 4\n";
/// Less than the 60 images take, and enough for two batches.
const LITTLE: &str = "data.memory=\"3 kB\"";

/// The content of a PNG with a gradient that depends on `number`.
fn image(sandbox: &Sandbox, number: u32) -> Vec<u8> {
    let path = sandbox.path("image.png");
    let grey = |x: u32, y: u32| image::Luma([u8::try_from((x * 13 + y * 7 + number * 31) % 256).unwrap()]);
    image::GrayImage::from_fn(8, 8, grey).save(&path).unwrap();
    std::fs::read(path).unwrap()
}

/// The content of a tar file, as Python's `tarfile` and GNU tar write it.
fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *content).unwrap();
    }
    archive.into_inner().unwrap()
}

/// Three shards of 20 samples each of three classes, by number. The same images are in the folder `f`, in an order that gives the same samples.
fn set() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("c.toml", CONFIG);
    for shard in 0..3 {
        let samples: Vec<(String, Vec<u8>, String)> = (0..20)
            .map(|index| shard * 20 + index)
            .map(|number| (format!("{number:03}"), image(&sandbox, number), (number % 3).to_string()))
            .collect();
        let names: Vec<(String, &[u8])> = samples
            .iter()
            .flat_map(|(key, image, class)| [(format!("{key}.png"), image.as_slice()), (format!("{key}.cls"), class.as_bytes())])
            .collect();
        let members: Vec<(&str, &[u8])> = names.iter().map(|(name, content)| (name.as_str(), *content)).collect();
        sandbox.write(&format!("d/train-{shard:03}.tar"), tar(&members));
        samples.iter().for_each(|(key, image, class)| drop(sandbox.write(&format!("f/{class}/{key}.png"), image)));
    }
    sandbox
}

/// Trains with these settings. Returns what the run has.
fn trained(sandbox: &Sandbox, run: &str, sets: &[&str]) -> Vec<(String, String)> {
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    sandbox.ok(&["train", "c.toml", "--run-dir", run, "--no-report"].into_iter().chain(sets).collect::<Vec<_>>());
    sandbox.results(run)
}

fn inspected(sandbox: &Sandbox, sets: &[&str]) -> Value {
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    sandbox.ok(&["data", "inspect", "c.toml", "--json"].into_iter().chain(sets).collect::<Vec<_>>()).json()[0].clone()
}

#[test]
fn streamed_shards_and_folders_give_the_bits_of_memory_on_any_number_of_threads() {
    let sandbox = set();
    let in_memory = trained(&sandbox, "memory", &["backend.threads=1"]);
    for (run, sets) in [
        ("one", vec![LITTLE, "backend.threads=1"]),
        ("three", vec![LITTLE, "backend.threads=3"]),
        ("cached", vec![LITTLE, "backend.threads=3"]),
        ("uncached", vec![LITTLE, "data.cache=false"]),
        ("folder", vec![LITTLE, "data.source=folder", "data.dir=f"]),
        ("least", vec!["data.memory=2560", "backend.threads=2"]),
    ] {
        assert!(trained(&sandbox, run, &sets) == in_memory, "{run}");
    }
    let checked = |sets: &[&str]| {
        let sets = sets.iter().flat_map(|set| ["--set", set]);
        sandbox.ok(&["check", "c.toml"].into_iter().chain(sets).collect::<Vec<_>>()).stdout()
    };
    let streamed = "# decoded images: 3.8 kB, more than the 3.0 kB of `data.memory`: they are decoded again in each epoch, 1 batch ahead";
    assert!(checked(&[LITTLE]).contains(streamed), "{}", checked(&[LITTLE]));
    assert!(checked(&[]).contains("# decoded images: 3.8 kB in memory, of the 4.0 GB that `data.memory` allows"), "{}", checked(&[]));
    // `evaluate` and `data inspect` read both ways alike.
    let measured = |run: &str| sandbox.ok(&["evaluate", run, "--data", "d", "--json"]).json()[0]["data_loss"].clone();
    assert!(measured("one").is_number());
    assert_eq!(measured("one"), measured("memory"));
    assert_eq!(inspected(&sandbox, &[LITTLE]), inspected(&sandbox, &[]));
    assert_eq!(inspected(&sandbox, &[])["parts"]["train"]["class_counts"], json!([16, 16, 16]));
}

#[test]
fn frozen_layers_give_the_bits_of_memory_for_streamed_images() {
    let sandbox = set();
    let (before, after) = CONFIG.split_once("[augment]").unwrap();
    let (_, train) = after.split_once("[train]").unwrap();
    let layers = "[\"conv 4 3x3\", \"relu\", \"global_average_pool\", \"dense classes\"]";
    sandbox.write("c.toml", format!("{before}[model]\nkind = \"layers\"\nlayers = {layers}\nfreeze = [\"*\"]\n[train]{train}"));
    let checked = sandbox.ok(&["check", "c.toml", "--set", LITTLE]).stdout();
    let once = "frozen layers up to `global_average_pool1` are computed once for each image, which gives 4 numbers";
    assert!(checked.contains(once) && checked.contains("they are decoded once, for the frozen layers, 1 batch ahead"), "{checked}");
    for sampling in ["train.sampling=uniform", "train.sampling=balanced"] {
        let in_memory = trained(&sandbox, &format!("memory {sampling}"), &[sampling, "backend.threads=1"]);
        assert!(trained(&sandbox, &format!("streamed {sampling}"), &[sampling, LITTLE, "backend.threads=3"]) == in_memory, "{sampling}");
    }
}

#[cfg(unix)]
#[test]
fn a_killed_run_on_a_streamed_set_goes_on_to_the_same_bits() {
    let sandbox = set();
    let sets = [LITTLE, "checkpoint.every_steps=1", "train.epochs=40"];
    let whole = trained(&sandbox, "whole", &sets);
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    let mut child = sandbox.command(&["train", "c.toml", "--run-dir", "cut", "--no-report"]);
    let mut child = child.args(&sets).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let position = sandbox.path("cut/checkpoints/last/position.json");
    let is_inside = || std::fs::read_to_string(&position).is_ok_and(|text| serde_json::from_str::<Value>(&text).unwrap()["batch"] != 0);
    while !is_inside() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be killed");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    sandbox.ok(&["resume", "cut", "--no-report"]);
    assert!(sandbox.results("cut") == whole);
}

#[test]
fn too_little_memory_for_two_batches_is_refused_before_an_image_is_decoded() {
    let sandbox = set();
    // A pass over the images would find this one first.
    sandbox.write("d/train-003.tar", tar(&[("x.png", b"\x89PNG\r\n\x1a\nno"), ("x.cls", b"0")]));
    let message = |samples: usize, needed: &str| {
        format!(
            "`data.memory` is 1.0 kB, but two batches of {samples} images of 8×8×1 (height×width×channels) take {needed}: set it to \"{needed}\" or more, or \
             lower `train.batch_size` or `train.micro_batch`"
        )
    };
    let refused = |args: &[&str], message: &str| {
        let ran = sandbox.run(&[args, &["--set", "data.memory=1000"]].concat());
        assert!(ran.code() == 3 && ran.stderr().contains(message), "{args:?}: {}", ran.stderr());
    };
    // An image takes 64 bytes and, as numbers, 256: 2 · 4 · 320 bytes, and a suggestion that is enough.
    refused(&["train", "c.toml"], &message(4, "2.6 kB"));
    refused(&["sweep", "c.toml", "--grid", "penalty.0.lambda=1,2", "--set", "penalty=[{kind=\"l2\", lambda=1}]"], &message(4, "2.6 kB"));
    refused(&["data", "inspect", "c.toml"], "cannot decode image `");
    // How many samples a batch of all has is known after the pass: 0.8 · 60.
    std::fs::remove_file(sandbox.path("d/train-003.tar")).unwrap();
    refused(&["train", "c.toml", "--set", "train.batch_size=full"], &message(48, "30.8 kB"));
    sandbox.ok(&["check", "c.toml", "--set", "data.memory=\"2.6 kB\""]);
    for (value, message) in [("\"1 XB\"", "expected a number of bytes of at least 1"), ("0", "is 0; expected")] {
        let ran = sandbox.run(&["check", "c.toml", "--set", &format!("data.memory={value}")]);
        assert!(ran.code() == 2 && ran.stderr().contains(message) && ran.stderr().contains("data.memory"), "{}", ran.stderr());
    }
}

#[test]
fn a_file_that_changes_while_its_set_is_streamed_is_an_error() {
    let sandbox = set();
    let sets: Vec<&str> = [LITTLE, "checkpoint.every_steps=1", "train.epochs=100000"].iter().flat_map(|set| ["--set", set]).collect();
    let (file, moved) = (sandbox.path("d/train-001.tar"), sandbox.path("moved"));
    let move_away = || std::fs::rename(&file, &moved).unwrap();
    // Whole, with the same images, but written anew.
    let write_anew = || std::fs::write(&file, std::fs::read(&file).unwrap()).unwrap();
    for (run, change) in [("r", &write_anew as &dyn Fn()), ("s", &move_away)] {
        let mut child = sandbox.command(&["train", "c.toml", "--run-dir", run, "--no-report"]);
        let mut child = child.args(&sets).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        while !sandbox.path(&format!("{run}/checkpoints/last/position.json")).exists() {
            assert!(child.try_wait().unwrap().is_none(), "it ended before a file was changed");
            std::thread::sleep(Duration::from_millis(1));
        }
        change();
        let ended = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(3), "{stderr}");
        assert!(stderr.contains("cannot decode image `") && stderr.contains("it has changed since the data were read"), "{stderr}");
    }
    std::fs::rename(moved, file).unwrap();
    sandbox.ok(&["data", "inspect", "c.toml"]);
}

/// Trains on shards with this content.
fn on(shards: &[(&str, Vec<u8>)], sets: &[&str]) -> (Sandbox, Ran) {
    let sandbox = Sandbox::new();
    sandbox.write("c.toml", CONFIG.replace("validation = 0.2\n", ""));
    shards.iter().for_each(|(name, content)| drop(sandbox.write(&format!("d/{name}"), content)));
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    let ran = sandbox.run(&["train", "c.toml", "--run-dir", "r", "--no-report"].into_iter().chain(sets).collect::<Vec<_>>());
    (sandbox, ran)
}

#[test]
fn shards_that_cannot_be_used_are_refused_by_name() {
    let sandbox = Sandbox::new();
    let [one, two] = [1, 2].map(|number| image(&sandbox, number));
    let (one, two) = (one.as_slice(), two.as_slice());
    let good = [("a.png", one), ("a.cls", b"0".as_slice()), ("b.png", two), ("b.cls", b"1")];
    let whole = tar(&good);
    let with = |more: &[(&str, &[u8])]| tar(&[good.as_slice(), more].concat());
    // The end of a tar file are two blocks of zeros; the last member is one block of content.
    let (without_end, inside) = (whole[..whole.len() - 1024].to_vec(), whole[..whole.len() - 1536].to_vec());
    for (content, message) in [
        (without_end, "train-0.tar` is no whole tar file: it is cut off: its end mark is missing"),
        (inside, "train-0.tar` is no whole tar file: "),
        (b"words".repeat(400), "train-0.tar` is no whole tar file: "),
        (Vec::new(), "train-0.tar` is no whole tar file: "),
        (tar(&[]), "train-0.tar` has no samples; expected images with a class each"),
        (with(&[("c.png", one)]), "train-0.tar` has the image `c.png` without a class; expected a member `c.cls` or `c.json`"),
        (with(&[("c.png", one), ("c.cls", b" \n")]), "train-0.tar` has no class in `c.cls`"),
        (with(&[("c.png", one), ("c.json", b"{\"width\": 3}")]), "train-0.tar` has no class in `c.json`"),
        (with(&[("c.png", one), ("c.cls", b"dog")]), "c.png` has no known class: it is of the class `dog`, while others have numbers"),
        (with(&[("c.png", one), ("c.cls", b"4294967295")]), "expected a number up to 9999, counted from 0"),
        (with(&[("c.png", one), ("c.cls", b"3")]), "it is of the class 3, counted from 0, but there are only 3 training samples"),
        (with(&[("c.png", one), ("c.cls", b"-1")]), "it is of the class -1; expected a whole number up to 9999"),
        (b"\x1f\x8b\x08".repeat(400), "train-0.tar` is compressed by gzip; unpack it"),
        (with(&[("a.png", one), ("a.cls", b"0")]), "train-0.tar` has the key `a` twice, with other members between"),
        (with(&[("b.png", one)]), "train-0.tar` has `b.png` twice"),
        (with(&[("b.jpg", one)]), "train-0.tar` has two images for one sample, `b.png` and `b.jpg`"),
        (with(&[("c.png", b"\x89PNG\r\n\x1a\nno"), ("c.cls", b"1")]), "cannot decode image `"),
    ] {
        let (sandbox, trained) = on(&[("train-0.tar", content)], &[]);
        // Two batches do not fit into so little: `train` would say that before.
        let streamed = sandbox.run(&["data", "inspect", "c.toml", "--set", "data.memory=100"]);
        for ran in [trained, streamed] {
            assert_eq!(ran.code(), 3, "{message}\n{}", ran.stderr());
            assert!(ran.stderr().contains(message), "{message}\n{}", ran.stderr());
        }
    }
    let other = tar(&[("x.png", one), ("x.cls", b"7")]);
    let (_, ran) = on(&[("train-0.tar", whole.clone()), ("test-0.tar", other)], &[]);
    assert!(
        ran.code() == 3 && ran.stderr().contains("it is of the class `7`, which training does not have (`0`, `1`)"),
        "{}",
        ran.stderr()
    );
    let named = |pattern: &str| on(&[("a-00.tar", whole.clone())], &[&format!("data.train_shards=\"{pattern}\"")]).1;
    assert_eq!(named("a-{00..00}.tar").code(), 0);
    for (pattern, message) in [
        ("a-{00..01}.tar", "a-01.tar`; `data.train_shards` names it"),
        ("b-*.tar", "`data.train_shards` is \"b-*.tar\", which no file in `"),
        ("a-{00..}.tar", "which has `{00..}`; expected a range"),
        ("{a-00.tar,a-00.tar}", "a-00.tar` twice"),
    ] {
        let ran = named(pattern);
        assert!(ran.code() == 3 && ran.stderr().contains(message), "{pattern}: {}", ran.stderr());
    }
    let (_, ran) = on(&[("notes.txt", b"words".to_vec())], &[]);
    assert!(ran.code() == 3 && ran.stderr().contains("has no tar files for training"), "{}", ran.stderr());
}

#[test]
fn members_are_grouped_up_to_the_first_dot_and_classes_are_named() {
    let sandbox = Sandbox::new();
    let [one, two] = [1, 2].map(|number| image(&sandbox, number));
    let broken: &[u8] = b"\x89PNG\r\n\x1a\nno";
    let members: [(&str, &[u8]); 14] = [
        ("set.v1/a.b.PNG", &one),
        ("set.v1/a.png", &one),
        ("set.v1/a.txt", b"a caption"),
        ("set.v1/a.cls", b"dog\n"),
        ("set.v1/b.json", b"{\"label\": \"cat\", \"width\": 8}"),
        ("set.v1/b.png", &two),
        ("c.png", &one),
        ("c.json", b"{\"cls\": \"dog\"}"),
        ("d.cls", b"cat"),
        ("e.png", broken),
        ("e.cls", b"cat"),
        ("__notes__", b""),
        ("f.png", &two),
        ("f.cls", b"cat"),
    ];
    let shards = [("train-0.tar", tar(&members)), ("other.tar", tar(&members)), ("val-0.tar", tar(&members[6..8]))];
    let (sandbox, ran) = on(&shards, &["data.damaged=skip"]);
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
    let manifest = sandbox.json("r/manifest.json");
    assert_eq!(manifest["classes"], json!(["cat", "dog"]));
    let dataset = &manifest["dataset"];
    assert_eq!((&dataset["train"], &dataset["validation"]), (&json!(4), &json!(1)));
    assert_eq!(dataset["left_out"], json!({ "damaged": 1, "unused_member": 3, "without_image": 1, "unused_shard": 1 }));
    assert!(ran.stderr().contains("train-0.tar/e.png` is left out"), "{}", ran.stderr());
    // The checksum and what is left out are the same without the images in memory.
    let of = |memory: &str, more: &[&str]| inspected(&sandbox, &[&["data.damaged=skip", memory], more].concat());
    let in_memory = of("data.memory=\"4 GB\"", &[]);
    assert_eq!(in_memory["parts"]["train"]["class_counts"], json!([2, 2]));
    assert_eq!(of("data.memory=100", &[]), in_memory);
    assert_eq!(of("data.memory=100", &[]), in_memory, "from the cache");
    assert_eq!(of("data.memory=100", &["data.classes=[\"dog\", \"emu\", \"cat\"]"])["parts"]["train"]["class_counts"], json!([2, 0, 2]));
}

#[test]
fn splits_are_folders_or_names_of_shards() {
    let sandbox = Sandbox::new();
    sandbox.write("c.toml", CONFIG.replace("validation = 0.2\n", ""));
    png(&sandbox.path("one.png"), 8, 8, 9);
    let one = std::fs::read(sandbox.path("one.png")).unwrap();
    let shard = |count: usize| {
        let members: Vec<[String; 2]> = (0..count).map(|key| [format!("{key}.png"), format!("{key}.cls")]).collect();
        let classes = ["0", "1"];
        let contents: Vec<(&str, &[u8])> = members
            .iter()
            .enumerate()
            .flat_map(|(key, [image, class])| [(image.as_str(), one.as_slice()), (class.as_str(), classes[key % 2].as_bytes())])
            .collect();
        tar(&contents)
    };
    let counts = |sandbox: &Sandbox, sets: &[&str]| {
        let parts = inspected(sandbox, &[sets, &["data.normalization=unit"]].concat())["parts"].clone();
        ["train", "validation", "test"].map(|split| parts[split]["count"].as_u64().unwrap_or(0))
    };
    for (name, count) in [("train/000.tar", 4), ("train/001.tar", 2), ("val/000.tar", 3), ("test/000.tar", 2)] {
        sandbox.write(&format!("d/{name}"), shard(count));
        sandbox.write(&format!("e/{}", name.replace('/', "-")), shard(count));
    }
    assert_eq!(counts(&sandbox, &[]), [6, 3, 2]);
    assert_eq!(counts(&sandbox, &["data.dir=e"]), [6, 3, 2]);
    assert_eq!(counts(&sandbox, &["data.dir=e", "data.train_shards=\"train-{000..001}.tar\""]), [6, 0, 0]);
    assert_eq!(
        counts(&sandbox, &["data.dir=e", "data.train_shards=\"train-*.tar\"", "data.test_shards=\"{val,test}-000.tar\""]),
        [6, 0, 5]
    );
    assert_eq!(counts(&sandbox, &["data.dir=e/train-000.tar"]), [4, 0, 0]);
    let ran = sandbox.run(&["data", "inspect", "c.toml", "--set", "data.validation=0.5"]);
    assert!(ran.code() == 3 && ran.stderr().contains("there are validation shards; leave the key out"), "{}", ran.stderr());
}
