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
    assert!(ran.stderr().contains("1 file that is not an image"), "{}", ran.stderr());
    let text = std::fs::read_to_string(sandbox.path("own.toml")).unwrap();
    for line in ["name = \"my_pictures\"", "image_size = [30, 30]", "image_channels = 1 ", "resize = \"crop\"", "validation = \"folder\""] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    sandbox.ok(&["train", "own.toml", "--set", "train.epochs=1", "--run-dir", "r"]);
    let ran = sandbox.run(&["init", "--images", "nowhere", "--output", "other.toml"]);
    assert_eq!(ran.code(), 3);
    assert!(!sandbox.path("other.toml").exists());
}

/// Writes a JPEG of 40×20 pixels (width×height) with Exif orientation 6, of an upright camera.
fn upright(path: &std::path::Path, grey: u8) {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::GrayImage::from_pixel(40, 20, image::Luma([grey])).write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
    let exif = b"\xff\xe1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let bytes = bytes.into_inner();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, [&bytes[..2], exif, &bytes[2..]].concat()).unwrap();
}

#[test]
fn a_few_images_get_a_config_that_trains_too() {
    let sandbox = Sandbox::new();
    for (class, grey) in [("a", 10), ("b", 200)] {
        png(&sandbox.path(&format!("d/{class}/1.png")), 20, 20, grey);
    }
    png(&sandbox.path("d/outside.png"), 20, 20, 10);
    let ran = sandbox.ok(&["init", "--images", "d"]);
    assert!(ran.stderr().contains("1 image outside the class folders"), "{}", ran.stderr());
    sandbox.ok(&["train", "experiment.toml", "--set", "train.epochs=1", "--run-dir", "r"]);
}

#[test]
fn photographs_of_an_upright_camera_are_upright() {
    let sandbox = Sandbox::new();
    for class in ["a", "b"] {
        (0..3).for_each(|number| upright(&sandbox.path(&format!("d/{class}/{number}.jpg")), 10 + number));
    }
    let ran = sandbox.ok(&["init", "--images", "d"]);
    assert!(ran.stderr().contains("median 40×20 (height×width)"), "{}", ran.stderr());
    (0..3).for_each(|number| png(&sandbox.path(&format!("d/b/{number}.png")), 40, 20, 10));
    sandbox.ok(&["init", "--images", "d", "--output", "mixed.toml"]);
    assert!(std::fs::read_to_string(sandbox.path("mixed.toml")).unwrap().contains("resize = \"crop\""));
}

#[test]
fn the_quick_start_needs_no_file() {
    let sandbox = Sandbox::new();
    let check = sandbox.ok(&["check", "quickstart", "--config-only"]).stdout();
    assert!(check.contains("name = \"quickstart\""), "{check}");
}

/// Writes an image of one colour.
fn coloured(path: &std::path::Path, side: u32, colour: [u8; 3]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::RgbImage::from_pixel(side, side, image::Rgb(colour)).save(path).unwrap();
}

#[test]
fn few_colour_photographs_start_from_imagenet_with_weights_for_small_classes() {
    let sandbox = Sandbox::new();
    for (class, count, colour) in [("cat", 4, [200, 30, 30]), ("dog", 12, [30, 200, 90])] {
        (0..count).for_each(|number| coloured(&sandbox.path(&format!("d/{class}/{number}.png")), 32 + number, colour));
    }
    let ran = sandbox.ok(&["init", "--images", "d"]);
    assert!(ran.stderr().contains("`regulus data fetch efficientnet_lite0`"), "{}", ran.stderr());
    let text = std::fs::read_to_string(sandbox.path("experiment.toml")).unwrap();
    let lines = [
        "kind = \"efficientnet_lite0\"",
        "init = \"imagenet\"",
        "freeze = [\"*\"]",
        "image_size = [128, 128]",
        "image_channels = 3 ",
        "class_weights = \"balanced\"    # `dog` has 12 images, `cat` only 4",
        "best_by = \"balanced_accuracy\"",
    ];
    for line in lines {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains("normalization ="), "that of the weights is the default: {text}");
    sandbox.ok(&["check", "experiment.toml", "--config-only"]);
    let ran = sandbox.run(&["train", "experiment.toml"]);
    assert_eq!(ran.code(), 3);
    assert!(ran.stderr().contains("fetch it with `regulus data fetch efficientnet_lite0`"), "{}", ran.stderr());
    let ran = sandbox.ok(&["init", "--images", "d", "--from-scratch", "--output", "own.toml"]);
    assert!(!ran.stderr().contains("fetch"), "{}", ran.stderr());
    let text = std::fs::read_to_string(sandbox.path("own.toml")).unwrap();
    assert!(text.contains("channels = [32, 64, 64]") && text.contains("flip = \"horizontal\"") && text.contains("class_weights"), "{text}");
    sandbox.ok(&["train", "own.toml", "--set", "train.epochs=1", "--run-dir", "r"]);
    assert_eq!(sandbox.json("r/summary.json")["best_by"], "balanced_accuracy");
}

#[test]
fn classes_of_like_size_have_no_weights() {
    let sandbox = Sandbox::new();
    for (class, count, colour) in [("cat", 4, [200, 30, 30]), ("dog", 7, [30, 200, 90])] {
        (0..count).for_each(|number| coloured(&sandbox.path(&format!("d/{class}/{number}.png")), 40, colour));
    }
    sandbox.ok(&["init", "--images", "d"]);
    let text = std::fs::read_to_string(sandbox.path("experiment.toml")).unwrap();
    assert!(text.contains("efficientnet_lite0") && !text.contains("class_weights") && !text.contains("best_by"), "{text}");
}
