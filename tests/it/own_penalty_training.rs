//! A whole training with a penalty that is not built in, against the built-in one.

use std::ops::ControlFlow;

use regulus::config::number::Fraction;
use regulus::config::{Decay, Experiment, Schedule};
use regulus::data;
use regulus::error::Error;
use regulus::objective::OwnPenalty;
use regulus::session::Session;
use regulus::train::{Ending, Event, Observer, Row, Snapshot};

use crate::own_penalties::{Squares, strings};
use crate::support::Sandbox;

/// Rows and checkpoints of a training.
#[derive(Default)]
struct Log {
    rows: Vec<Row>,
    snapshots: Vec<Snapshot>,
}

impl Observer for Log {
    fn on(&mut self, event: &Event) -> Result<ControlFlow<()>, Error> {
        match event {
            Event::Epoch(rows) => self.rows.extend_from_slice(rows),
            Event::Checkpoint { snapshot, .. } => self.snapshots.push((*snapshot).clone()),
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// A training of two epochs with the penalty of the config, or with an own one in its place; from a checkpoint, if one is given.
fn logged(own: Option<OwnPenalty>, from: Option<&Snapshot>) -> Log {
    let sandbox = Sandbox::new();
    let schedule = "penalty.0.schedule={kind=\"cosine\", warmup_steps=3, final_fraction=0.1}";
    let penalty = if own.is_some() { vec![] } else { vec!["penalty.0.lambda=8", schedule] };
    let unsets = if own.is_some() { strings(&["penalty"]) } else { vec![] };
    let sets = strings(&[penalty.as_slice(), &["train.epochs=2", "checkpoint.every_steps=5"]].concat());
    let experiment = Experiment::load_changed(&sandbox.path("small.toml"), &unsets, &sets).unwrap();
    let data = data::load(&experiment).unwrap();
    let mut session = match from {
        None => Session::new(experiment, data),
        Some(snapshot) => Session::resumed(experiment, data, snapshot, None),
    };
    let session = session.as_mut().unwrap();
    own.into_iter().for_each(|own| session.add_penalty(own).unwrap());
    let mut log = Log::default();
    assert_eq!(session.run(&mut log).unwrap(), Ending::Completed);
    log
}

#[test]
fn it_is_in_the_columns_of_a_training_and_resumes_to_the_same_bits() {
    let schedule = Schedule { warmup_steps: 3, decay: Decay::Cosine { final_fraction: Fraction::try_from(0.1).unwrap() } };
    let own = || OwnPenalty::new(Squares, 8.0).schedule(schedule.clone());
    let (built_in, found) = (logged(None, None), logged(Some(own()), None));
    assert_eq!((built_in.rows.len(), found.rows.len()), (4, 4));
    for (found, expected) in found.rows.iter().zip(&built_in.rows) {
        assert!(found.lambdas == expected.lambdas && found.lambda == expected.lambda && found.lambdas.len() == 1, "{found:?}");
        for (found, expected) in [
            (found.data_loss, expected.data_loss),
            (found.penalty, expected.penalty),
            (found.objective, expected.objective),
            (found.weight_norm_squared, expected.weight_norm_squared),
        ] {
            assert!((found - expected).abs() < 1e-5 * expected.abs(), "{found} against {expected}");
        }
    }
    // 12 steps per epoch: the second checkpoint is inside the first epoch.
    let resumed = logged(Some(own()), Some(&found.snapshots[1]));
    assert_eq!(found.snapshots[1].state.step, 10);
    let (resumed, whole) = (resumed.snapshots.last().unwrap(), found.snapshots.last().unwrap());
    assert!(resumed.weights == whole.weights && resumed.optimizer == whole.optimizer && resumed.state.lambdas == whole.state.lambdas);
}
