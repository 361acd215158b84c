//! What batch normalization needs of the rest of an experiment.

use regulus_model::graph::{Graph, Op};

use super::{Average, ConfigError, Experiment};

impl Experiment {
    /// Refuses what a network with batch normalization can't be trained with, on `samples` samples.
    ///
    /// # Errors
    ///
    /// When batches are computed in parts, whose statistics are not the batch's; when weights are averaged over epochs, whose statistics would have to be
    /// computed anew; or when a batch has one number to take a variance of.
    pub fn check_batch_norm(&self, graph: &Graph, samples: usize) -> Result<(), ConfigError> {
        let norms = (0..graph.nodes().len()).filter(|place| matches!(graph.nodes()[*place].op, Op::BatchNorm(_)));
        let Some(place) = norms.min_by_key(|place| graph.input_of(*place).area()) else { return Ok(()) };
        let name = &graph.nodes()[place].name;
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
        if last * graph.input_of(place).area() == 1 {
            let problem =
                format!("leaves a batch of 1 sample, of which node `{name}` (batch_norm) can't take a variance; use another batch size");
            return Err(ConfigError::value("train.batch_size", problem));
        }
        Ok(())
    }
}
