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
        let norms = (0..graph.nodes().len()).filter(|index| matches!(graph.nodes()[*index].op, Op::BatchNorm(_)));
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
            let problem = format!("leaves a batch of 1 sample, but node `{name}` (batch_norm) needs a variance; use another batch size");
            return Err(ConfigError::value("train.batch_size", problem));
        }
        Ok(())
    }
}
