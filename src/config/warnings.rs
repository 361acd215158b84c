//! Warnings about options that have no effect because the run is too short, and about layers after the logits.

use regulus_model::graph::{Features, Graph, Op};

use super::{Average, Experiment, IMAGENET, Lambda, Normalization};

impl Experiment {
    /// The warnings for `samples` training samples and the network `graph`.
    #[must_use]
    pub fn warnings(&self, samples: usize, graph: &Graph) -> Vec<String> {
        let options = self.unreached(samples).into_iter().chain(self.unfinished_warmups(samples)).chain(self.slow_average(samples));
        options
            .chain(self.unused_augment())
            .chain(self.foreign_normalization())
            .chain(self.unused_measure())
            .chain(self.gaps_between_patches())
            .chain(changed_logits(graph))
            .collect()
    }

    /// A warning if the initial weights were trained with another normalization of pixels.
    fn foreign_normalization(&self) -> Option<String> {
        let normalization = self.data.normalization.filter(|normalization| *normalization != Normalization::Lite)?;
        self.model.starts_from_imagenet().then(|| {
            format!(
                "`data.normalization` is \"{}\", but the weights of `model.init` = \"{IMAGENET}\" were trained with \"lite\", which is the default; with another they tell classes apart less well",
                normalization.name()
            )
        })
    }

    /// A warning if the first weights have more than half of the moving average at the end: their share is d^(steps − 1).
    fn slow_average(&self, samples: usize) -> Option<String> {
        let Average::Ema { decay } = self.averaging.0 else { return None };
        let steps = self.train.steps(samples);
        let share = decay.get().powf(steps.saturating_sub(1) as f64);
        (share > 0.5).then(|| {
            format!(
                "`averaging.decay` is {}: after {steps} steps {:.0} % of the average are the weights of the first step; use a smaller decay",
                decay.get(),
                100.0 * share
            )
        })
    }

    /// Warnings about warm-ups that are not shorter than the run.
    fn unfinished_warmups(&self, samples: usize) -> Vec<String> {
        let steps = self.train.steps(samples);
        let lambdas = self.penalty.iter().enumerate().filter_map(|(index, penalty)| match &penalty.schedule {
            Lambda::Scheduled(schedule) => Some((format!("penalty.{index}.schedule.warmup_steps"), schedule.warmup_steps, "λ")),
            _ => None,
        });
        let rate = ("schedule.warmup_steps".to_owned(), self.schedule.warmup_steps, "the learning rate");
        let late = std::iter::once(rate).chain(lambdas).filter(|(_, warmup_steps, _)| *warmup_steps >= steps);
        late.map(|(key, warmup_steps, name)| {
            format!("`{key}` is {warmup_steps}, but the run has only {steps} steps: {name} never reaches its full value")
        })
        .collect()
    }

    /// A warning about options that would take effect after the last step. Returns `None` if there are none.
    fn unreached(&self, samples: usize) -> Option<String> {
        let steps = self.train.steps(samples);
        let epochs = steps.div_ceil(self.train.steps_per_epoch(samples));
        let averaging = match self.averaging.0 {
            Average::Swa { from_epoch } if from_epoch.get() as u64 > epochs => {
                Some(("averaging.from_epoch".to_owned(), from_epoch.get() as u64))
            }
            _ => None,
        };
        let penalties = self.penalty.iter().enumerate().filter_map(|(index, penalty)| match penalty.schedule {
            Lambda::Evidence { burn_in_epochs, .. } if burn_in_epochs.get() as u64 >= epochs => {
                Some((format!("penalty.{index}.schedule.burn_in_epochs"), burn_in_epochs.get() as u64))
            }
            Lambda::Cpr { warm_start_steps, .. } if warm_start_steps >= steps => {
                Some((format!("penalty.{index}.schedule.warm_start_steps"), warm_start_steps))
            }
            _ => None,
        });
        let late: Vec<String> = averaging.into_iter().chain(penalties).map(|(key, first)| format!("`{key}` is {first}")).collect();
        let ends = format!("the run ends in epoch {epochs}, after {steps} steps, before that has an effect");
        (!late.is_empty()).then(|| format!("{}, but {ends}", late.join(" and ")))
    }
}

/// A warning if the last layer of a classifier cuts off logits or sets them to 0. Returns `None` if it does not.
fn changed_logits(graph: &Graph) -> Option<String> {
    let Features::Vector(_) = graph.output_features() else { return None };
    let node = &graph.nodes()[graph.output()];
    let reason = match &node.op {
        Op::Relu(_) => "logits below 0 become 0, and training gets no gradient from them",
        Op::Relu6(_) => "logits below 0 become 0 and those above 6 become 6, and training gets no gradient from them",
        Op::Gelu(_) => "logits below 0 become numbers between −0.17 and 0, and training gets almost no gradient from those far below",
        Op::Dropout(dropout) if dropout.rate > 0.0 => "in training it sets logits to 0 at random, also that of the right class",
        _ => return None,
    };
    Some(format!("the network ends in layer `{}` ({}): {reason}; leave this layer out", node.name, node.op.word()))
}

#[cfg(test)]
mod tests {
    use regulus_model::graph::{Layer, Shape};
    use regulus_model::networks::{self, Cnn};

    use super::*;

    fn network(lines: &[&str]) -> Graph {
        let lines: Vec<Layer> = lines.iter().map(|line| Layer::new(line).unwrap()).collect();
        networks::layers(&lines, Shape { channels: 1, height: 8, width: 8 }, 10).unwrap()
    }

    #[test]
    fn a_layer_that_changes_the_logits_is_named() {
        let warnings = ["relu", "relu6", "gelu", "dropout 0.5", "dropout 0", "batch_norm"]
            .map(|last| changed_logits(&network(&["flatten", "dense classes", last])));
        let ends = "the network ends in layer";
        let expected = [
            Some(format!("{ends} `relu1` (relu): logits below 0 become 0, and training gets no gradient from them; leave this layer out")),
            Some(format!(
                "{ends} `relu6_1` (relu6): logits below 0 become 0 and those above 6 become 6, and training gets no gradient from them; leave this layer out"
            )),
            Some(format!(
                "{ends} `gelu1` (gelu): logits below 0 become numbers between −0.17 and 0, and training gets almost no gradient from those far below; leave this layer out"
            )),
            Some(format!(
                "{ends} `dropout1` (dropout): in training it sets logits to 0 at random, also that of the right class; leave this layer out"
            )),
            None,
            None,
        ];
        assert_eq!(warnings, expected);
        let cnn = Cnn { channels: vec![2], kernel_size: 3, padding: 0, hidden: 4, dropout: 0.5 };
        assert_eq!(changed_logits(&cnn.graph(Shape { channels: 1, height: 8, width: 8 }, 10).unwrap()), None);
    }

    const SMALL: &str = "name = \"a\"\n[data]\nsource = \"mnist_mini\"\n[[penalty]]\nkind = \"l2\"\nlambda = 1\n";

    /// The warnings of a run of 6 steps: 100 samples in batches of 32 are 4 steps per epoch.
    fn warnings(sets: &[&str]) -> Vec<String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), SMALL).unwrap();
        let sets: Vec<String> = [&["train.max_steps=6"], sets].concat().iter().map(ToString::to_string).collect();
        Experiment::load(file.path(), &sets).unwrap().warnings(100, &network(&["flatten", "dense classes"]))
    }

    #[test]
    fn options_after_the_last_step_are_reported() {
        assert_eq!(warnings(&[]), [""; 0]);
        let swa = |from: &'static str| warnings(&["averaging.kind=swa", from]);
        assert_eq!(swa("averaging.from_epoch=2"), [""; 0]);
        let late = "`averaging.from_epoch` is 3, but the run ends in epoch 2, after 6 steps, before that has an effect";
        assert_eq!(swa("averaging.from_epoch=3"), [late]);
        let evidence = |first: &'static str| warnings(&["penalty.0.schedule.kind=evidence", first]).len() == 1;
        assert!(!evidence("penalty.0.schedule.burn_in_epochs=1") && evidence("penalty.0.schedule.burn_in_epochs=2"));
        let cpr = |steps: u64| {
            let schedule = format!("penalty.1.schedule={{ kind = \"cpr\", warm_start_steps = {steps} }}");
            warnings(&["penalty.1.kind=decoupled", &schedule]).len() == 1
        };
        assert!(!cpr(5) && cpr(6));
        // 0.9^5 = 0.59, 0.8^5 = 0.33.
        let ema = |decay: &'static str| warnings(&["averaging.kind=ema", decay]).len() == 1;
        assert!(ema("averaging.decay=0.9") && !ema("averaging.decay=0.8"));
    }

    #[test]
    fn augmentation_without_effect_is_reported() {
        let expected = "`augment.border` has no effect without `augment.shift` and `augment.rotation`";
        assert_eq!(warnings(&["augment.border=reflect"]), [expected]);
        assert_eq!(warnings(&["augment.crop_ratio=2"]), ["`augment.crop_ratio` has no effect without `augment.crop_scale` < 1"]);
        let expected = "`train.best_by` is \"accuracy\", but has no effect without a validation split";
        assert_eq!(warnings(&["train.best_by=accuracy"]), [expected]);
        assert_eq!(warnings(&["train.best_by=accuracy", "data.validation=0.5"]), [""; 0]);
        assert_eq!(warnings(&["augment={border=\"reflect\", shift=1}"]), [""; 0]);
    }

    #[test]
    fn a_warm_up_that_never_ends_is_reported() {
        assert_eq!(warnings(&["schedule.warmup_steps=5", "penalty.0.schedule.warmup_steps=5"]), [""; 0]);
        let expected = [
            "`schedule.warmup_steps` is 6, but the run has only 6 steps: the learning rate never reaches its full value",
            "`penalty.0.schedule.warmup_steps` is 500, but the run has only 6 steps: λ never reaches its full value",
        ];
        assert_eq!(warnings(&["schedule.warmup_steps=6", "penalty.0.schedule.warmup_steps=500"]), expected);
    }
}
