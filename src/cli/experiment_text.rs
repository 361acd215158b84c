//! The text of a config to start from.

/// Suggested values, each with its remark.
pub(super) struct Start<'a> {
    /// Remarks at the top, with a line break.
    pub(super) introduction: &'a str,
    /// The lines of `[model]`.
    pub(super) model: &'a str,
    pub(super) lambda: &'a str,
    pub(super) rate: &'a str,
    /// The section `[augment]`, with an empty line before it. Empty: no augmentation is suggested.
    pub(super) augment: &'a str,
    pub(super) epochs: &'a str,
    /// More lines of `[train]`.
    pub(super) train: &'a str,
}

/// A config of this name with these lines of `[data]`. `FILE` stands for its own name.
pub(super) fn experiment(name: &str, data: &str, start: &Start) -> String {
    let Start { introduction, model, lambda, rate, augment, epochs, train } = start;
    format!(
        r#"# An experiment for `regulus train`. `regulus check FILE --comments` prints it with every default, and what each key means.
{introduction}
name = "{name}"
seed = 42

[data]
{data}

[model]
{model}

# loss = mean cross-entropy + lambda/(2m) · ‖w‖², m being the number of training images.
# Try lambda from 0.01 to 100 and keep the one with the lowest validation loss:
#   regulus train FILE --set penalty.0.lambda=10
[[penalty]]
kind = "l2"
lambda = {lambda}

[optimizer]
kind = "adam"
learning_rate = {rate}

[schedule]
kind = "cosine"               # the learning rate falls to 0 on half a cosine
{augment}
[train]
epochs = {epochs}
batch_size = 32
{train}"#
    )
}
