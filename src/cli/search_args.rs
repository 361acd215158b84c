//! The arguments that say what a sweep searches.

use clap::{Args, ValueEnum};

/// What is searched, and how it is chosen. Each option replaces a key of the section `[sweep]`.
#[derive(Debug, Args)]
pub(super) struct SearchArgs {
    /// Values of a key: `penalty.0.lambda=0,0.1,1`, or a range `KEY=log:LOW:HIGH:COUNT` or `KEY=linear:LOW:HIGH:COUNT`; can be given several times. Without any,
    /// 13 values of λ of the first penalty in a range that is found from the data
    #[arg(long, value_name = "KEY=VALUES")]
    pub grid: Vec<String>,
    /// Try this many random combinations of the values, instead of all
    #[arg(long, value_name = "TRIALS", conflicts_with = "tpe", value_parser = at_least::<1>)]
    pub random: Option<u64>,
    /// Try this many combinations that a tree-structured Parzen estimator (TPE) chooses from the results of earlier ones, instead of all
    #[arg(long, value_name = "TRIALS", value_parser = at_least::<1>)]
    pub tpe: Option<u64>,
    /// Train each trial with this many seeds, counted from that of the config. The splits do not change [default: 1]
    #[arg(long, value_name = "N", value_parser = at_least::<1>)]
    pub seeds: Option<u64>,
    /// Cross-validation with this many folds, instead of the validation split of the config
    #[arg(long, value_name = "K", value_parser = at_least::<2>)]
    pub folds: Option<u64>,
    /// Repeat with this many random splits into folds, or into training and validation split [default: 1]
    #[arg(long, value_name = "N", value_parser = at_least::<1>)]
    pub repeats: Option<u64>,
    /// New splits for each trial, instead of the same for all
    #[arg(long)]
    pub reshuffle: bool,
    /// What ranks the trials [default: validation-loss]
    #[arg(long, value_enum)]
    pub criterion: Option<CriterionArg>,
    /// Also compute the evidence, γ and the leave-one-out loss of each training, to be seen beside the validation loss
    #[arg(long)]
    pub curvature: bool,
    /// The rule of the choice [default: minimum]
    #[arg(long, value_enum)]
    pub rule: Option<RuleArg>,
    /// Go through λ from small to large, each training starting from the weights of the one before, with `sweep.path_epochs` epochs
    #[arg(long, conflicts_with_all = ["random", "tpe", "pruner", "reshuffle"])]
    pub path: bool,
    /// Which trials end early. Over 100 sweeps of 13 λ with the defaults, `halving` ended the trial that would have won in 29, `top-k` in 43; earlier decisions do so
    /// more often [default: none]
    #[arg(long, value_enum)]
    pub pruner: Option<PrunerArg>,
}

/// Reads a whole number that is not below `LEAST`.
fn at_least<const LEAST: u64>(text: &str) -> Result<u64, String> {
    text.parse().ok().filter(|number| *number >= LEAST).ok_or_else(|| format!("expected a whole number >= {LEAST}"))
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum CriterionArg {
    /// The data loss on the validation split, or on the folds
    ValidationLoss,
    /// The leave-one-out loss, estimated from the training images; needs no validation split
    Loo,
    /// The negative log evidence of the training images; needs no validation split
    Evidence,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum PrunerArg {
    /// None
    None,
    /// Successive halving: the best third goes on after half of the epochs, the best third of those after 3 times as many, and so on
    Halving,
    /// All but the best 3 end after half of the epochs
    TopK,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum RuleArg {
    /// The lowest mean
    Minimum,
    /// The largest λ whose mean is within one standard error of the lowest
    OneStandardError,
}
