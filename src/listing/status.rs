//! The status of the folder of a run or a sweep.

use serde::Serialize;

use crate::session::Status;

/// The status of the folder of a run or a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FolderStatus {
    /// All epochs, steps or trainings are complete.
    Completed,
    /// Early stopping.
    EarlyStopped,
    /// Interrupted after saving: it can be resumed.
    Interrupted,
    /// A loss or weight was not finite.
    Diverged,
    /// A process trains in it.
    Running,
    /// It has not ended and no process trains in it: it was cut off, and can be resumed.
    CutOff,
    /// A sweep that was planned, without a training that has begun.
    Planned,
    /// A file is missing or damaged.
    Damaged,
}

impl FolderStatus {
    /// The status as one word, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::EarlyStopped => "early_stopped",
            Self::Interrupted => "interrupted",
            Self::Diverged => "diverged",
            Self::Running => "running",
            Self::CutOff => "cut_off",
            Self::Planned => "planned",
            Self::Damaged => "damaged",
        }
    }

    /// The status for people.
    #[must_use]
    pub fn shown(self) -> String {
        self.name().replace('_', " ")
    }

    /// The status of a run by its summary. `is_in_use`: whether a process trains in its folder.
    pub(crate) fn of_run(summary: Option<Status>, is_in_use: impl Fn() -> bool) -> Self {
        match summary {
            Some(Status::Completed) => Self::Completed,
            Some(Status::EarlyStopped) => Self::EarlyStopped,
            Some(Status::Diverged) => Self::Diverged,
            // A resumed run has this summary until it ends.
            Some(Status::Interrupted) | None if is_in_use() => Self::Running,
            Some(Status::Interrupted) => Self::Interrupted,
            None => Self::CutOff,
        }
    }
}
