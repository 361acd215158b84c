//! The text of a config to start from.

/// Suggested values, each with its remark.
pub(super) struct Start<'a> {
    /// Remarks at the top, with a line break.
    pub(super) introduction: &'a str,
    /// The lines of `[model]`.
    pub(super) model: &'a str,
    pub(super) lambda: &'a str,
    /// The learning rate and its remark, which may be empty.
    pub(super) rate: (&'a str, &'a str),
    /// The section `[augment]`, with an empty line before it. Empty: no augmentation is suggested.
    pub(super) augment: &'a str,
    pub(super) epochs: &'a str,
    /// More lines of `[train]`.
    pub(super) train: &'a str,
}

/// A config of this name with these lines of `[data]`. `FILE` stands for its own name.
pub(super) fn experiment(name: &str, data: &str, start: &Start) -> String {
    let Start { introduction, model, lambda, rate, augment, epochs, train } = start;
    let rate_line = match rate {
        (rate, "") => format!("learning_rate = {rate}"),
        (rate, reason) => format!("{:29} # {reason}", format!("learning_rate = {rate}")),
    };
    format!(
        r#"# An experiment for `regulus train`. `regulus check FILE --comments` prints it with every default, and what each key means.
{introduction}
name = "{name}"
seed = 42                     # of everything random: the same seed gives the same result

[data]
{data}

[model]
{model}

# loss = mean cross-entropy + lambda/(2m) · ‖w‖², m being the number of training images.
# This lambda is a first guess. `regulus sweep FILE` chooses one: it trains with 13 values and compares the validation losses.
# `--folds 5` compares them on all training images, in five times the time: better where there are few images.
[[penalty]]
kind = "l2"
lambda = {lambda}

[optimizer]
kind = "adam"
{rate_line}

[schedule]
kind = "cosine"               # the learning rate falls to 0 on half a cosine
{augment}
[train]
epochs = {epochs}
batch_size = 32
{train}"#
    )
}
