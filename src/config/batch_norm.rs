//! Checks of experiments with batch normalization.

use regulus_model::graph::{Graph, Op};

use super::{Average, ConfigError, Experiment};

impl Experiment {
    /// Checks the options that batch normalization restricts, for `samples` training samples.
    ///
    /// # Errors
    ///
    /// When batches are split into micro-batches, because the statistics of a micro-batch are not those of the batch. With SWA, because the average would
    /// need new running statistics. When a batch has only one value per channel, because its variance is 0.
    pub fn check_batch_norm(&self, graph: &Graph, samples: usize) -> Result<(), ConfigError> {
        let norms =
            (0..graph.nodes().len()).filter(|index| matches!(graph.nodes()[*index].op, Op::BatchNorm(_)) && !graph.is_fixed(*index));
        let Some(smallest) = norms.min_by_key(|index| graph.input_of(*index).area()) else { return Ok(()) };
        let name = &graph.nodes()[smallest].name;
        let (batch, micro_batch) = (self.train.batch(samples), self.train.micro_batch.get());
        if micro_batch < batch {
            let problem = format!(
                "is {micro_batch}, but node `{name}` (batch_norm) needs the statistics of whole batches of {batch}; set it to {batch}, or use smaller batches"
            );
            return Err(ConfigError::value("train.micro_batch", problem));
        }
        if let Average::Swa { .. } = self.averaging.0 {
            let problem = format!(
                "is \"swa\", whose average would need new statistics for node `{name}` (batch_norm), which this version does not compute; use \"ema\" or \"none\""
            );
            return Err(ConfigError::value("averaging.kind", problem));
        }
        let last = if samples.is_multiple_of(batch) { batch } else { samples % batch };
        if last * graph.input_of(smallest).area() == 1 {
            let other = (batch + 1..=samples).find(|batch| samples % batch != 1);
            let advice = other.map_or_else(|| "use more images".to_owned(), |other| format!("use another, such as {other}"));
            let problem = format!(
                "is {batch}, which leaves a batch of 1 of {samples} training samples, but node `{name}` (batch_norm) needs a variance; {advice}"
            );
            return Err(ConfigError::value("train.batch_size", problem));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use regulus_model::graph::Shape;

    use super::*;

    fn refused(sets: &[&str], samples: usize) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        let config = "name = \"a\"\n[data]\nsource = \"mnist_mini\"\n[model]\nkind = \"layers\"\n\
                      layers = [\"conv 2 3x3\", \"flatten\", \"dense 4\", \"batch_norm\", \"dense classes\"]\n";
        std::fs::write(file.path(), config).unwrap();
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        let experiment = Experiment::load(file.path(), &sets).unwrap();
        let graph = experiment.model.graph(Shape { channels: 1, height: 28, width: 28 }, 10).unwrap();
        experiment.check_batch_norm(&graph, samples).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn batch_normalization_takes_whole_batches_of_more_than_one() {
        assert_eq!(refused(&[], 64), "");
        assert_eq!(
            refused(&["train.micro_batch=16"], 64),
            "`train.micro_batch` is 16, but node `batch_norm1` (batch_norm) needs the statistics of whole batches of 32; set it to 32, or use smaller batches"
        );
        assert_eq!(
            refused(&["averaging.kind=swa", "averaging.from_epoch=2"], 64),
            "`averaging.kind` is \"swa\", whose average would need new statistics for node `batch_norm1` (batch_norm), which this version does not compute; use \"ema\" or \"none\""
        );
        assert_eq!(
            refused(&[], 65),
            "`train.batch_size` is 32, which leaves a batch of 1 of 65 training samples, but node `batch_norm1` (batch_norm) needs a variance; use another, such as 33"
        );
        assert!(refused(&["train.batch_size=8", "train.micro_batch=8"], 73).ends_with("use another, such as 10"));
    }
}
