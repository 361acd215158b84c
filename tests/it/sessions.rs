//! Sessions: several in one process, paused, resumed, stopped by an observer, and with data in memory.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use rayon::prelude::*;
use regulus::config::Experiment;
use regulus::config::number::Count;
use regulus::data::{self, Data, Images, Shape, Splits};
use regulus::error::Error;
use regulus::launch::{Launch, ResumeOptions};
use regulus::model::Weights;
use regulus::objective::OwnPenalty;
use regulus::session::{Best, Session, Status, Summary};
use regulus::train::{Ending, Event, Observer, Row, Silent, Snapshot};

use crate::own_penalties::Squares;
use crate::support::Sandbox;

/// With all uses of randomness, λ by evidence, a moving average and a validation split.
const CONFIG: &str = r#"
name = "sessions"
seed = 5

[data]
source = "mnist_mini"
train_limit = 240
validation = 0.2

[model]
channels = [3, 4]
hidden = 8
dropout = 0.3

[[penalty]]
kind = "l2"
lambda = 0.5

[penalty.schedule]
kind = "evidence"
burn_in_epochs = 1
every_epochs = 2

[augment]
shift = 1
mixup = 0.2

[averaging]
kind = "ema"
decay = 0.9

[schedule]
kind = "cosine"

[train]
epochs = 4
batch_size = 16
"#;

fn experiment(threads: usize, seed: u64) -> Experiment {
    Experiment::from_toml(&CONFIG.replace("seed = 5", &format!("seed = {seed}\n[backend]\nthreads = {threads}\n"))).unwrap()
}

fn session(threads: usize, seed: u64) -> Session {
    let experiment = experiment(threads, seed);
    let data = data::load(&experiment).unwrap();
    Session::new(experiment, data).unwrap()
}

/// The rows of all epochs, without times.
#[derive(Default)]
struct Rows {
    rows: Vec<Row>,
    /// The epoch after which training is stopped.
    stop_after: Option<u64>,
}

impl Observer for Rows {
    fn on(&mut self, event: &Event) -> Result<ControlFlow<()>, Error> {
        let Event::Epoch(rows) = event else { return Ok(ControlFlow::Continue(())) };
        self.rows.extend(rows.iter().cloned().map(|row| Row { seconds: 0.0, images_per_second: 0.0, ..row }));
        let stops = self.stop_after.is_some_and(|epoch| rows[0].epoch >= epoch);
        Ok(if stops { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}

/// What a training is compared by.
#[derive(Debug, PartialEq)]
struct Outcome {
    rows: Vec<Row>,
    weights: Weights,
    summary: Summary,
}

impl Outcome {
    fn of(session: &Session, rows: Rows, summary: Summary) -> Self {
        let summary = Summary { seconds: 0.0, images_per_second: None, ..summary };
        Self { rows: rows.rows, weights: session.weights(), summary }
    }

    fn of_whole(mut session: Session) -> Self {
        let mut rows = Rows::default();
        let summary = session.train(&mut rows).unwrap();
        Self::of(&session, rows, summary)
    }
}

#[test]
fn sessions_side_by_side_have_the_bits_of_each_alone() {
    let alone = [5, 6].map(|seed| Outcome::of_whole(session(2, seed)));
    assert_ne!(alone[0].weights, alone[1].weights);
    // In an application that uses rayon itself, from within its own parallel work.
    let beside: Vec<Outcome> =
        [(1, 5), (3, 6), (2, 5)].into_par_iter().map(|(threads, seed)| Outcome::of_whole(session(threads, seed))).collect();
    assert!(beside[0] == alone[0] && beside[1] == alone[1] && beside[2] == alone[0]);
    let threads = [(1, 5), (2, 6)].map(|(threads, seed)| std::thread::spawn(move || Outcome::of_whole(session(threads, seed))));
    for (thread, alone) in threads.into_iter().zip(&alone) {
        assert!(thread.join().unwrap() == *alone);
    }
}

#[test]
fn a_paused_session_continues_to_the_same_bits() {
    let whole = Outcome::of_whole(session(2, 5));
    let mut paused = session(1, 5);
    let mut rows = Rows::default();
    assert_eq!(paused.run_until(0, &mut rows).unwrap(), Ending::Paused);
    assert_eq!(paused.run_until(2, &mut rows).unwrap(), Ending::Paused);
    assert_eq!((rows.rows.len(), paused.state().epoch), (4, 2));
    // Another session runs in the meantime.
    let other = Outcome::of_whole(session(2, 6));
    assert_ne!(other.weights, whole.weights);
    let summary = paused.train(&mut rows).unwrap();
    assert!(Outcome::of(&paused, rows, summary) == whole);
}

#[test]
fn an_observer_stops_a_session_which_a_snapshot_continues() {
    let whole = Outcome::of_whole(session(2, 5));
    let mut stopped = session(2, 5);
    let mut rows = Rows { stop_after: Some(3), ..Rows::default() };
    assert_eq!(stopped.train(&mut rows).unwrap().status, Status::Interrupted);
    assert_eq!(stopped.state().epoch, 3);
    let (last, best) = (stopped.snapshot().unwrap(), stopped.best().cloned());
    let experiment = experiment(1, 5);
    let data = data::load(&experiment).unwrap();
    let mut resumed = Session::resumed(experiment, data, &last, best).unwrap();
    rows.stop_after = None;
    let summary = resumed.train(&mut rows).unwrap();
    assert!(Outcome::of(&resumed, rows, summary) == whole);
}

/// An observer that fails at the event `at`, from 0.
struct Failing {
    events: usize,
    at: usize,
}

impl Observer for Failing {
    fn on(&mut self, _event: &Event) -> Result<ControlFlow<()>, Error> {
        self.events += 1;
        if self.events > self.at { Err(Error::Usage("the disk is full".to_owned())) } else { Ok(ControlFlow::Continue(())) }
    }
}

#[test]
fn an_error_of_the_observer_ends_the_session() {
    for at in [0, 1, 2, 4] {
        let mut failed = session(2, 5);
        assert_eq!(failed.train(&mut Failing { events: 0, at }).unwrap_err().to_string(), "the disk is full");
        let refused = failed.train(&mut Silent).unwrap_err().to_string();
        assert!(refused.contains("make a new session from a snapshot"), "{refused}");
        assert!(failed.snapshot().is_err());
    }
}

/// An observer that stops training at one event, from 0, and then lets it go on.
#[derive(Default)]
struct Breaking {
    /// The name of each event.
    events: Vec<String>,
    at: Option<usize>,
    rows: Rows,
}

impl Observer for Breaking {
    fn on(&mut self, event: &Event) -> Result<ControlFlow<()>, Error> {
        let breaks = self.at == Some(self.events.len());
        let name = format!("{event:?}");
        self.events.push(name.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned());
        let _ = self.rows.on(event)?;
        Ok(if breaks { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}

#[test]
fn training_goes_on_to_the_same_bits_after_a_break_at_any_event() {
    let mut counted = Breaking::default();
    let mut whole = session(2, 5);
    let summary = whole.train(&mut counted).unwrap();
    let events = counted.events;
    let whole = Outcome::of(&whole, counted.rows, summary);
    let kinds: BTreeSet<&String> = events.iter().collect();
    assert_eq!(kinds.len(), 6, "{kinds:?}");
    let first_and_last = kinds.iter().flat_map(|kind| {
        let of_kind = |name: &String| name == *kind;
        [events.iter().position(of_kind), events.iter().rposition(of_kind)]
    });
    for at in first_and_last.flatten() {
        let mut broken = session(1, 5);
        let mut observer = Breaking { at: Some(at), ..Breaking::default() };
        let stopped = broken.train(&mut observer).unwrap();
        // The last event is the end of the measurement: nothing is left to stop.
        let summary = if stopped.status == Status::Interrupted { broken.train(&mut observer).unwrap() } else { stopped };
        assert!(Outcome::of(&broken, observer.rows, summary) == whole, "a break at event {at}, {}", events[at]);
    }
}

#[test]
fn a_snapshot_that_does_not_fit_is_refused() {
    let mut stopped = session(2, 5);
    assert_eq!(stopped.run_until(2, &mut Silent).unwrap(), Ending::Paused);
    let (last, best) = (stopped.snapshot().unwrap(), stopped.best().cloned());
    let resumed = |change: &str, last: &Snapshot, best: Option<Best>| {
        let (from, to) = change.split_once('>').unwrap();
        assert!(CONFIG.contains(from), "{change}");
        let experiment = Experiment::from_toml(&CONFIG.replacen(from, to, 1)).unwrap();
        let data = data::load(&experiment).unwrap();
        Session::resumed(experiment, data, last, best)
            .and_then(|mut session| session.train(&mut Silent))
            .err()
            .map(|error| error.to_string())
    };
    assert_eq!(resumed("x>x", &last, best.clone()), None);
    let refused = |change: &str, best: Option<Best>, expected: &str| {
        let problem = resumed(change, &last, best).unwrap();
        assert!(problem.starts_with("the snapshot does not fit: ") && problem.contains(expected), "{problem}");
    };
    refused("hidden = 8>hidden = 9", best.clone(), "weights");
    refused("x>x", None, "saved with a best network, which is not given");
    refused("[averaging]\nkind = \"ema\"\ndecay = 0.9\n>", best.clone(), "averaged weights");
    refused("[schedule]>[optimizer]\nkind = \"sgd\"\n[schedule]", best.clone(), "optimizer");
    refused("[[penalty]]>[[penalty]]\nkind = \"l1\"\nlambda = 0.1\n[[penalty]]", best.clone(), "λ of 1 penalties, but the session has 2");
    let other = best.clone().map(|best| Best { weights: Weights::default(), ..best });
    refused("x>x", other, "best weights");
}

#[test]
fn data_are_shared_by_experiments_that_split_them_differently() {
    let (first, second) = (experiment(1, 5), experiment(1, 6));
    let loaded = data::load(&first).unwrap();
    let refused = Session::new(second.clone(), loaded.clone()).err().unwrap().to_string();
    assert!(refused.contains("`Data::for_experiment`"), "{refused}");
    let shared = loaded.for_experiment(&second).unwrap();
    let alone = data::load(&second).unwrap();
    let labels = |data: &Data| data.validation.as_ref().unwrap().labels().collect::<Vec<_>>();
    assert!(labels(&shared) == labels(&alone) && labels(&shared) != labels(&loaded) && shared.checksum == alone.checksum);
    assert!(Outcome::of_whole(Session::new(second, shared).unwrap()) == Outcome::of_whole(session(1, 6)));
    let mut other = first.clone();
    other.data.source = regulus::config::Source::Mnist;
    assert!(loaded.for_experiment(&other).unwrap_err().to_string().contains("other images"));
}

#[test]
fn a_session_that_has_been_trained_is_not_recorded() {
    let mut trained = session(1, 5);
    trained.run_until(1, &mut Silent).unwrap();
    let sandbox = Sandbox::new();
    let refused = Launch::of(trained, Some(&sandbox.path("run"))).err().unwrap().to_string();
    assert!(refused.contains("record it before the first step") && !sandbox.path("run").exists(), "{refused}");
}

#[test]
fn a_recorded_session_is_the_run_of_the_command_line() {
    let sandbox = Sandbox::new();
    sandbox.write("sessions.toml", CONFIG);
    sandbox.ok(&["train", "sessions.toml", "--run-dir", "command"]);
    let mut launch = Launch::of(session(0, 5), Some(&sandbox.path("library"))).unwrap();
    launch.run(&mut Silent).unwrap();
    let weights = |run: &str| Weights::from_file(&sandbox.path(run).join("checkpoints/best/model.safetensors")).unwrap();
    assert!(weights("command") == weights("library"));
    let loss = |run: &str| sandbox.ok(&["evaluate", run, "--json"]).json()[0]["data_loss"].as_f64().unwrap();
    assert!(loss("command").to_bits() == loss("library").to_bits());
}

#[test]
fn a_run_with_an_own_penalty_is_resumed_by_a_program_that_adds_it() {
    let sandbox = Sandbox::new();
    let recorded = |run: &str, stop_after: Option<u64>| {
        let mut session = session(2, 5);
        session.add_penalty(OwnPenalty::new(Squares, 2.0).scope("conv1.weight")).unwrap();
        let mut launch = Launch::of(session, Some(&sandbox.path(run))).unwrap();
        launch.run(&mut Rows { stop_after, ..Rows::default() }).unwrap().status
    };
    assert_eq!(recorded("whole", None), Status::Completed);
    assert_eq!(recorded("stopped", Some(2)), Status::Interrupted);
    let refused = sandbox.run(&["resume", "stopped"]);
    assert_eq!(refused.code(), 2);
    let message = "has the penalties `l2 on kernels`, `squares on conv1.weight`, not `l2 on kernels`; resume it with a program";
    assert!(refused.stderr().contains(message), "{}", refused.stderr());
    let with = |lambda| {
        let penalties = vec![OwnPenalty::new(Squares, lambda).scope("conv1.weight")];
        Launch::resume(&sandbox.path("stopped"), ResumeOptions { penalties, ..ResumeOptions::default() })
    };
    let other = with(3.0).map(|_| ()).unwrap_err().to_string();
    assert!(other.ends_with("can't be resumed with another λ: `squares on conv1.weight` had λ 2, and has 3 now"), "{other}");
    let mut launch = with(2.0).unwrap().unwrap();
    assert_eq!(launch.run(&mut Silent).unwrap().status, Status::Completed);
    let weights = |run: &str| Weights::from_file(&sandbox.path(run).join("checkpoints/last/trained.safetensors")).unwrap();
    assert!(weights("whole") == weights("stopped"));
}

const IN_MEMORY: &str = "name = \"memory\"\n[data]\nsource = \"memory\"\n[model]\nkind = \"linear\"\n[train]\nepochs = 2\n";

/// Two classes: dark and bright images of 2×2 pixels.
fn two_classes(count: u8) -> Images {
    let pixels = (0..count).flat_map(|image| [image % 2 * 200 + image % 5; 4]).collect();
    Images::new(Shape { channels: 1, height: 2, width: 2 }, pixels, (0..count).map(|image| u32::from(image % 2)).collect())
}

fn in_memory(sets: &str, change: impl FnOnce(&mut Splits)) -> Result<(Experiment, Data), String> {
    let experiment = Experiment::from_toml(&format!("{IN_MEMORY}{sets}")).map_err(|error| error.to_string())?;
    let classes = ["dark", "bright"].map(str::to_owned).to_vec();
    let mut splits = Splits { train: two_classes(40), validation: None, test: Some(two_classes(10)), classes };
    change(&mut splits);
    let data = Data::from_images(&experiment, splits).map_err(|error| error.to_string())?;
    Ok((experiment, data))
}

#[test]
fn images_in_memory_are_trained_on_and_recorded() {
    let (experiment, data) =
        in_memory("[[penalty]]\nkind = \"l2\"\nlambda = 1\n", |splits| splits.validation = Some(two_classes(6))).unwrap();
    assert_eq!((data.train.count(), data.validation.as_ref().unwrap().count(), data.test.as_ref().unwrap().count()), (40, 6, 10));
    let sandbox = Sandbox::new();
    let mut launch = Launch::of(Session::new(experiment, data).unwrap(), Some(&sandbox.path("run"))).unwrap();
    assert_eq!(launch.run(&mut Silent).unwrap().validation.unwrap().count, 6);
    drop(launch);
    let (_, same) = in_memory("", |splits| splits.validation = Some(two_classes(6))).unwrap();
    let options = ResumeOptions { data: Some(same), epochs: Some(Count::try_from(3).unwrap()), ..ResumeOptions::default() };
    assert_eq!(Launch::resume(&sandbox.path("run"), options).unwrap().unwrap().run(&mut Silent).unwrap().epochs, 3);
    let (_, other) = in_memory("", |splits| {
        splits.validation = Some(two_classes(6));
        splits.train.pixels[0] += 1;
    })
    .unwrap();
    let options = ResumeOptions { data: Some(other), epochs: Some(Count::try_from(4).unwrap()), ..ResumeOptions::default() };
    let refused = Launch::resume(&sandbox.path("run"), options).err().unwrap().to_string();
    assert!(refused.contains("the data have changed"), "{refused}");
    let refused = sandbox.run(&["evaluate", "run"]);
    assert_eq!(refused.code(), 3);
    assert!(refused.stderr().contains("`data.source` is \"memory\""), "{}", refused.stderr());
    sandbox.write("memory.toml", IN_MEMORY);
    let refused = sandbox.run(&["train", "memory.toml"]);
    assert!(refused.code() == 3 && refused.stderr().contains("set another source for the command line"), "{}", refused.stderr());
}

#[test]
fn images_in_memory_that_do_not_fit_are_refused() {
    let refused = |change: fn(&mut Splits)| in_memory("", change).unwrap_err();
    assert_eq!(
        refused(|splits| splits.train.pixels.truncate(7)),
        "there are 7 pixels for 40 labels and images of 2×2×1 (height×width×channels)"
    );
    assert!(refused(|splits| splits.train.labels[3] = 2).contains("a label is 2"), "{}", refused(|splits| splits.train.labels[3] = 2));
    assert_eq!(refused(|splits| splits.classes.truncate(1)), "1 class names are given; a classifier needs at least 2");
    assert!(refused(|splits| splits.classes[1] = "dark".to_owned()).contains("\"dark\" is given twice"));
    assert!(
        refused(|splits| splits.train = Images::new(Shape { channels: 1, height: 0, width: 2 }, vec![0; 4], vec![0, 1]))
            .contains("images of 0×2×1")
    );
    let other_shape = refused(|splits| splits.test = Some(Images::new(Shape { channels: 1, height: 1, width: 4 }, vec![0; 8], vec![0, 1])));
    assert!(other_shape.contains("but test images are 1×4×1"), "{other_shape}");
    let empty = refused(|splits| splits.train = Images::new(splits.train.shape_of(0), Vec::new(), Vec::new()));
    assert!(empty.contains("no training images"), "{empty}");
    let unlabelled = refused(|splits| splits.train.labels.clear());
    assert_eq!(unlabelled, "there are 160 pixels for 0 labels and images of 2×2×1 (height×width×channels)");
    let pictures = refused(|splits| splits.train = Images::pictures(&[Shape { channels: 1, height: 2, width: 2 }], vec![0; 4]));
    assert_eq!(pictures, "pictures without labels are given; a classifier needs images of one shape with a label each");
    let other = Experiment::from_toml("name = \"a\"\n[data]\nsource = \"mnist_mini\"\n").unwrap();
    let splits = Splits { train: two_classes(4), validation: None, test: None, classes: vec!["a".to_owned(), "b".to_owned()] };
    assert!(Data::from_images(&other, splits).unwrap_err().to_string().contains("set it to \"memory\""));
}
