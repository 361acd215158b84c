//! `regulus train` and `regulus resume`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::args::{ResumeArgs, TrainArgs};
use super::progress::Teller;
use super::table::{counted, duration, grouped, percent, rounded, table};
use super::{bar, print};
use crate::config::Experiment;
use crate::error::Error;
use crate::launch::Launch;
use crate::run::{RunFolder, SplitSummary, Status, Summary};

pub(super) fn train(args: &TrainArgs) -> Result<(), Error> {
    let experiment = Experiment::load(&args.config, &args.set)?;
    let launch = Launch::new(experiment, args.run_dir.as_deref())?;
    run(launch, args.json)
}

pub(super) fn resume(args: &ResumeArgs) -> Result<(), Error> {
    if let Some(launch) = Launch::resume(&args.run, args.data_dir.as_deref())? {
        return run(launch, args.json);
    }
    let folder = RunFolder::open(&args.run)?;
    print::note(format_args!("run `{}` had ended already", args.run.display()));
    folder.summary()?.map_or(Ok(()), |summary| tell_end(&folder, &summary, args.json))
}

fn run(mut launch: Launch, json: bool) -> Result<(), Error> {
    let stop = stop_on_signals()?;
    tell_begin(&launch, json)?;
    let epochs = launch.experiment.train.epochs.get() as u64;
    let mut teller = Teller::new(json, epochs, launch.steps_done());
    let summary = launch.run(&stop, &mut teller);
    drop(teller);
    if let (true, Err(Error::Diverged(_)), Ok(Some(summary))) = (json, &summary, launch.folder.summary()) {
        print::json(&json!({ "event": "end", "run": launch.folder.path().display().to_string(), "summary": summary }))?;
    }
    let summary = summary?;
    if let Some(warning) = &launch.closing_warning {
        print::warning(warning);
    }
    if summary.status == Status::Interrupted {
        if json {
            print::json(&json!({ "event": "end", "run": launch.folder.path().display().to_string(), "summary": summary }))?;
        }
        return Err(Error::Interrupted(launch.folder.path().to_owned()));
    }
    tell_end(&launch.folder, &summary, json)
}

/// A flag raised by SIGINT or SIGTERM. A second SIGINT ends the process at once; a second SIGTERM, which some supervisors send to process
/// and group alike, changes nothing.
fn stop_on_signals() -> Result<Arc<AtomicBool>, Error> {
    bar::leave_signals();
    let stop = Arc::new(AtomicBool::new(false));
    let failed = |error: std::io::Error| Error::Usage(format!("cannot listen for signals: {error}"));
    signal_hook::flag::register_conditional_shutdown(SIGINT, 128 + SIGINT, Arc::clone(&stop)).map_err(failed)?;
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(failed)?;
    }
    let told = Arc::clone(&stop);
    let tell = move || {
        while !told.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(50));
        }
        // A second Ctrl-C ends the program without another word: no bar may be left by then.
        print::clear_bar();
        print::note("stopping as soon as all is saved; Ctrl-C again ends at once");
    };
    std::thread::Builder::new().spawn(tell).map_err(failed)?;
    Ok(stop)
}

fn tell_begin(launch: &Launch, json: bool) -> Result<(), Error> {
    let manifest = &launch.manifest;
    if let Some(warning) = &launch.warning {
        print::warning(warning);
    }
    if json {
        let step = launch.steps_done();
        return print::json(
            &json!({ "event": "begin", "run": launch.folder.path().display().to_string(), "step": step, "manifest": manifest }),
        );
    }
    let dataset = &manifest.dataset;
    print::note(format_args!(
        "training {} parameters on {} images of {} ({} held out, {} to test) with {} on {}, {}",
        grouped(manifest.parameters as u64),
        grouped(dataset.train as u64),
        dataset.source,
        grouped(dataset.validation as u64),
        grouped(dataset.test as u64),
        manifest.backend,
        manifest.device,
        counted(manifest.threads as u64, "thread")
    ));
    match launch.steps_done() {
        0 => print::note(format_args!("run folder: {}", launch.folder.path().display())),
        step => print::note(format_args!("run folder: {}, going on after step {step}", launch.folder.path().display())),
    }
    Ok(())
}

fn tell_end(folder: &RunFolder, summary: &Summary, json: bool) -> Result<(), Error> {
    if json {
        return print::json(&json!({ "event": "end", "run": folder.path().display().to_string(), "summary": summary }));
    }
    let parts = [("train", summary.train), ("validation", summary.validation), ("test", summary.test)];
    let row = |(name, part): (&str, Option<SplitSummary>)| {
        part.map(|part| vec![name.to_owned(), grouped(part.count), format!("{:.4}", part.data_loss), percent(part.accuracy)])
    };
    print::out(table(&["part", "samples", "data loss", "accuracy"], parts.into_iter().filter_map(row)))?;
    let epochs = format!("{}, {}", counted(summary.epochs, "epoch"), counted(summary.steps, "step"));
    let ended = match (summary.status, summary.best_epoch) {
        (Status::EarlyStopped, Some(best)) => {
            format!("stopped early after {epochs}; the weights are those of epoch {best}")
        }
        (_, Some(best)) => format!("{epochs}; the weights are those of epoch {best}, the best on the validation part"),
        (_, None) => epochs,
    };
    print::out(format_args!("\n{ended}"))?;
    if let (Some(penalty), Some(norm)) = (summary.penalty, summary.weight_norm_squared) {
        let zeros = summary
            .zero_weights
            .filter(|zeros| *zeros > 0.0)
            .map_or(String::new(), |zeros| format!(", {} of the weights 0", percent(zeros)));
        print::out(format_args!("penalty {penalty:.4e}, ‖w‖² {norm:.3}{zeros}"))?;
    }
    let speed = summary.images_per_second.map_or(String::new(), |speed| format!(", {} images/s", rounded(speed)));
    print::out(format_args!("{} of training{speed}", duration(summary.seconds)))?;
    print::out(format_args!("run folder: {}", folder.path().display()))
}
