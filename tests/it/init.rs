//! `regulus init` and the quick start.

use crate::support::{Sandbox, png};

#[test]
fn a_config_is_written_that_trains() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["init"]);
    sandbox.ok(&["train", "experiment.toml", "--set", "train.max_steps=3", "--run-dir", "r"]);
    let ran = sandbox.run(&["init"]);
    assert_eq!(ran.code(), 2);
    assert!(ran.stderr().contains("`experiment.toml` exists already"), "{}", ran.stderr());
}

#[test]
fn a_config_fits_the_images_found() {
    let sandbox = Sandbox::new();
    for (class, grey) in [("cat one", 20), ("dög", 200)] {
        for (split, count) in [("train", 4), ("val", 2)] {
            (0..count).for_each(|number| png(&sandbox.path(&format!("my pictures/{split}/{class}/{number}.png")), 40 + number, 30, grey));
        }
    }
    sandbox.write("my pictures/train/dög/notes.txt", "words");
    let ran = sandbox.ok(&["init", "--images", "my pictures", "--output", "own.toml"]);
    assert!(ran.stderr().contains("8 training images in 2 classes, 4 validation and no test images; median 30×42"), "{}", ran.stderr());
    assert!(ran.stderr().contains("1 file that is no image"), "{}", ran.stderr());
    let text = std::fs::read_to_string(sandbox.path("own.toml")).unwrap();
    for line in ["name = \"my_pictures\"", "image_size = [30, 30]", "image_channels = 1 ", "resize = \"crop\"", "validation = \"folder\""] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    sandbox.ok(&["train", "own.toml", "--set", "train.epochs=1", "--run-dir", "r"]);
    let ran = sandbox.run(&["init", "--images", "nowhere", "--output", "other.toml"]);
    assert_eq!(ran.code(), 3);
    assert!(!sandbox.path("other.toml").exists());
}

#[test]
fn the_quick_start_needs_no_file() {
    let sandbox = Sandbox::new();
    let check = sandbox.ok(&["check", "quickstart", "--config-only"]).stdout();
    assert!(check.contains("name = \"quickstart\""), "{check}");
}
