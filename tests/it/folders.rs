//! Folders of images.

use serde_json::{Value, json};

use crate::support::{Ran, Sandbox, png};

/// Softmax regression on 8×8 grey images in `d`.
const CONFIG: &str =
    "name = \"x\"\n[data]\nsource = \"folder\"\ndir = \"d\"\nimage_size = [8, 8]\n[model]\nkind = \"linear\"\n[train]\nepochs = 1\n";

struct Folder(Sandbox);

impl Folder {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        sandbox.write("c.toml", CONFIG);
        Self(sandbox)
    }

    /// Writes `count` images of one grey value to a folder in `d`.
    fn images(&self, folder: &str, count: u32, grey: u8) {
        (0..count).for_each(|number| png(&self.0.path(&format!("d/{folder}/{number}.png")), 8, 8, grey));
    }

    fn inspect(&self, sets: &[&str]) -> Value {
        let text = sets.iter().fold(CONFIG.to_owned(), |text, set| text.replace("[model]", &format!("{set}\n[model]")));
        self.0.write("i.toml", text);
        self.0.ok(&["data", "inspect", "i.toml", "--json"]).json()[0].clone()
    }

    fn train(&self, sets: &[&str]) -> Ran {
        let sets = sets.iter().flat_map(|set| ["--set", set]);
        self.0.run(&["train", "c.toml"].into_iter().chain(sets).collect::<Vec<_>>())
    }

    fn manifest(&self, run: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.0.path(run).join("manifest.json")).unwrap()).unwrap()
    }
}

fn counts(inspected: &Value, split: &str) -> Value {
    inspected["parts"][split]["class_counts"].clone()
}

#[test]
fn images_are_found_at_any_depth_and_under_any_name() {
    let folder = Folder::new();
    folder.images("cat", 1, 10);
    folder.images("cat/siamese/young", 4, 10);
    folder.images("dog", 2, 200);
    for (from, to) in [("d/dog/0.png", "d/dog/no_extension"), ("d/dog/1.png", "d/dog/wrong.txt"), ("d/cat/0.png", "d/.hidden.png")] {
        std::fs::copy(folder.0.path(from), folder.0.path(to)).unwrap();
    }
    for quiet in [".DS_Store", "cat/Thumbs.db", "cat/._0.png", "__MACOSX/0.png"] {
        folder.0.write(&format!("d/{quiet}"), "x");
    }
    let inspected = folder.inspect(&[]);
    assert_eq!(counts(&inspected, "train"), json!([5, 4]));
    let ran = folder.train(&["artifacts=a"]);
    assert_eq!(ran.code(), 0);
    assert!(!ran.stderr().contains("warning: not read"), "{}", ran.stderr());
}

#[test]
fn left_out_files_are_one_warning_and_counted_in_the_manifest() {
    let folder = Folder::new();
    folder.images("cat", 2, 10);
    folder.images("dog", 2, 200);
    folder.0.write("d/cat/phone.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic");
    folder.0.write("d/dog/notes.md", "words");
    folder.0.write("d/README", "words");
    png(&folder.0.path("d/lost.png"), 8, 8, 0);
    #[cfg(unix)]
    std::os::unix::fs::symlink("/nowhere/1.png", folder.0.path("d/dog/link.png")).unwrap();
    let ran = folder.0.ok(&["train", "c.toml", "--run-dir", "r"]);
    let warnings: Vec<String> = ran.stderr().lines().filter(|line| line.starts_with("warning: not read")).map(str::to_owned).collect();
    assert_eq!(warnings.len(), 1, "{}", ran.stderr());
    for words in ["1 HEIC image", "phone.jpg", "2 files that are not images", "1 image outside the class folders", "lost.png"] {
        assert!(warnings[0].contains(words), "{words}: {}", warnings[0]);
    }
    let left_out = &folder.manifest("r")["dataset"]["left_out"];
    assert_eq!((&left_out["heic"], &left_out["not_an_image"], &left_out["outside_classes"]), (&json!(1), &json!(2), &json!(1)));
    if cfg!(unix) {
        assert!(warnings[0].contains("1 link whose target is missing") && left_out["dangling_link"] == 1);
    }
}

#[cfg(unix)]
#[test]
fn a_dangling_link_instead_of_a_class_is_refused() {
    let folder = Folder::new();
    folder.images("cat", 2, 10);
    folder.images("dog", 2, 200);
    std::os::unix::fs::symlink("/nowhere/emu", folder.0.path("d/emu")).unwrap();
    let ran = folder.train(&[]);
    assert_eq!(ran.code(), 3);
    assert!(ran.stderr().contains("emu` is a link whose target is missing"), "{}", ran.stderr());
}

#[test]
fn a_damaged_image_is_refused_or_skipped_by_name() {
    let folder = Folder::new();
    folder.images("cat", 3, 10);
    folder.images("dog", 2, 200);
    folder.0.write("d/cat/broken.png", "x");
    folder.0.write("d/dog/empty.jpe", "");
    let ran = folder.train(&[]);
    assert_eq!(ran.code(), 3);
    assert!(ran.stderr().contains("cannot decode image") && ran.stderr().contains("`data.damaged` = \"skip\""), "{}", ran.stderr());
    let ran = folder.0.ok(&["train", "c.toml", "--set", "data.damaged=skip", "--run-dir", "r"]);
    for name in ["broken.png` is left out", "empty.jpe` is left out: it is empty", "2 damaged images"] {
        assert!(ran.stderr().contains(name), "{name}: {}", ran.stderr());
    }
    let dataset = &folder.manifest("r")["dataset"];
    assert_eq!((&dataset["train"], &dataset["left_out"]["damaged"]), (&json!(5), &json!(2)));
    std::fs::remove_dir_all(folder.0.path("d/dog")).unwrap();
    folder.0.write("d/dog/broken.png", "x");
    let ran = folder.train(&["data.damaged=skip"]);
    assert_eq!(ran.code(), 3);
    assert!(ran.stderr().contains("dog` has only damaged images"), "{}", ran.stderr());
}

#[test]
fn a_validation_folder_is_the_validation_split() {
    for name in ["val", "valid", "validation", "Val"] {
        let folder = Folder::new();
        for (split, count) in [("train", 4), (name, 2), ("test", 1)] {
            folder.images(&format!("{split}/cat"), count, 10);
            folder.images(&format!("{split}/dog"), count, 200);
        }
        let inspected = folder.inspect(&[]);
        assert_eq!(
            [4, 2, 1].map(|count| json!([count, count])),
            ["train", "validation", "test"].map(|split| counts(&inspected, split)),
            "{name}"
        );
        let ran = folder.0.ok(&["train", "c.toml", "--set", "early_stopping.patience=1", "--run-dir", "r"]);
        assert!(ran.stderr().contains("validation loss"), "{}", ran.stderr());
        assert!(std::fs::read_to_string(folder.0.path("r/config.toml")).unwrap().contains("validation = \"folder\""));
        assert_eq!(folder.manifest("r")["dataset"]["validation"], 4);
        let ran = folder.train(&["data.validation=0.2"]);
        assert_eq!(ran.code(), 3);
        assert!(ran.stderr().contains("the data have a validation folder"), "{}", ran.stderr());
    }
    let folder = Folder::new();
    folder.images("train/cat", 2, 10);
    folder.images("train/dog", 2, 10);
    let ran = folder.train(&["data.validation=folder"]);
    assert_eq!(ran.code(), 3);
    assert!(ran.stderr().contains("there are no validation images in `"), "{}", ran.stderr());
    let ran = folder.train(&["early_stopping.patience=1"]);
    assert_eq!(ran.code(), 2);
    assert!(ran.stderr().contains("uses the validation split"), "{}", ran.stderr());
    let ran = folder.0.run(&["train", "small.toml", "--set", "data.validation=folder"]);
    assert_eq!(ran.code(), 2);
    assert!(ran.stderr().contains("which is for sources `folder` and `shards`"), "{}", ran.stderr());
}

#[test]
fn a_split_without_an_image_is_not_used() {
    let folder = Folder::new();
    folder.images("train/cat", 4, 10);
    folder.images("train/dog", 4, 200);
    folder.0.write("d/val/cat/.keep", "");
    folder.0.write("d/test/.keep", "");
    let ran = folder.0.ok(&["train", "c.toml", "--run-dir", "r"]);
    for name in ["validation", "test"] {
        assert!(ran.stderr().contains(&format!("the {name} folder has no images and is not used")), "{}", ran.stderr());
    }
    assert_eq!(folder.manifest("r")["dataset"]["test"], 0);
    let ran = folder.train(&["data.validation=folder"]);
    assert!(ran.code() == 3 && ran.stderr().contains("there are no validation images in `"), "{}", ran.stderr());
    folder.0.ok(&["init", "--images", "d", "--output", "own.toml"]);
    folder.0.ok(&["check", "own.toml"]);
}

#[cfg(unix)]
#[test]
fn a_dangling_link_instead_of_a_split_or_its_class_is_refused() {
    use std::os::unix::fs::symlink;
    for (link, inside) in [("val", false), ("test/cat", true)] {
        let folder = Folder::new();
        folder.images("train/cat", 2, 10);
        folder.images("train/dog", 2, 200);
        if inside {
            folder.images("test/dog", 1, 200);
        }
        symlink("/nowhere", folder.0.path(&format!("d/{link}"))).unwrap();
        let ran = folder.train(&[]);
        assert_eq!(ran.code(), 3, "{link}");
        assert!(ran.stderr().contains("is a link whose target is missing"), "{link}: {}", ran.stderr());
    }
}

#[test]
fn a_test_split_with_one_class_gives_no_warning() {
    let folder = Folder::new();
    folder.images("train/cat", 20, 10);
    folder.images("train/dog", 20, 240);
    folder.images("test/cat", 3, 10);
    let ran = folder.train(&["train.epochs=60", "optimizer.learning_rate=0.05"]);
    assert!(ran.stdout().contains("100.00 %") && !ran.stderr().contains("always predicting"), "{}{}", ran.stdout(), ran.stderr());
}

#[test]
fn a_class_may_be_missing_in_test_but_not_in_training() {
    let folder = Folder::new();
    for class in ["cat", "dog", "emu"] {
        folder.images(&format!("train/{class}"), 3, 10);
    }
    folder.images("test/cat", 1, 10);
    folder.0.write("d/test/emu/.keep", "");
    let ran = folder.train(&[]);
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
    assert!(ran.stderr().contains("test` has no images of class `dog`, `emu`"), "{}", ran.stderr());
    folder.images("test/yak", 1, 10);
    let ran = folder.train(&[]);
    assert_eq!(ran.code(), 3);
    assert!(ran.stderr().contains("yak` is a class that training does not have; it has `cat`, `dog`, `emu`"), "{}", ran.stderr());
}

#[test]
fn a_fraction_leaves_the_last_image_of_a_class_in_training() {
    let folder = Folder::new();
    folder.images("cat", 10, 10);
    folder.images("emu", 1, 100);
    let set = "validation = 0.5";
    let inspected = folder.inspect(&[set]);
    assert_eq!((counts(&inspected, "train"), counts(&inspected, "validation")), (json!([5, 1]), json!([5, 0])));
    let ran = folder.train(&["data.validation=0.5"]);
    assert!(ran.stderr().contains("validation split has no sample of class `emu`"), "{}", ran.stderr());
}

#[test]
fn images_keep_their_proportions_if_asked_to() {
    let folder = Folder::new();
    // White on the left, black in the middle, white on the right: 8 rows of 24 pixels.
    let stripes = image::GrayImage::from_fn(24, 8, |x, _| image::Luma([if (8..16).contains(&x) { 0 } else { 255 }]));
    for class in ["cat", "dog"] {
        std::fs::create_dir_all(folder.0.path(&format!("d/{class}"))).unwrap();
        stripes.save(folder.0.path(&format!("d/{class}/0.png"))).unwrap();
    }
    let mean = |resize: &str| folder.inspect(&[&format!("resize = \"{resize}\"")])["parts"]["train"]["mean"][0].as_f64().unwrap();
    assert!((mean("stretch") - 2.0 / 3.0).abs() < 0.02, "{}", mean("stretch"));
    assert!(mean("crop") < 0.02, "the middle is black: {}", mean("crop"));
    // Black above and below; the image has a third of the height, of which two thirds are white.
    assert!((mean("pad") - 2.0 / 9.0).abs() < 0.06, "{}", mean("pad"));
}

#[test]
fn decoded_images_are_cached_until_a_file_changes() {
    let folder = Folder::new();
    folder.images("cat", 3, 10);
    folder.images("dog", 3, 200);
    let cached = || {
        let entries = std::fs::read_dir(folder.0.path("cache/decoded")).map(|entries| entries.map(|entry| entry.unwrap().path()).collect());
        entries.unwrap_or_else(|_| Vec::new())
    };
    folder.inspect(&["cache = false"]);
    assert!(cached().is_empty());
    // Files that have just been written are not cached.
    std::thread::sleep(std::time::Duration::from_millis(100));
    let first = folder.inspect(&[]);
    let [file] = cached().try_into().unwrap();
    let bytes = std::fs::read(&file).unwrap();
    assert_eq!(folder.inspect(&[]), first);
    assert_eq!(std::fs::read(&file).unwrap(), bytes);

    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 1;
    for wrong in [damaged, bytes[..bytes.len() - 1].to_vec(), bytes[..30].to_vec(), Vec::new()] {
        std::fs::write(&file, wrong).unwrap();
        assert_eq!(folder.inspect(&[]), first);
        assert!(std::fs::read(&file).unwrap() == bytes, "a damaged cache file is replaced");
    }

    png(&folder.0.path("d/cat/0.png"), 8, 8, 90);
    std::thread::sleep(std::time::Duration::from_millis(100));
    let second = folder.inspect(&[]);
    assert_ne!(second["sha256"], first["sha256"]);
    assert_eq!(cached(), [file], "one cache file per folder");
}
