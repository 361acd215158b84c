//! The numbers of a row by name, for programs that show curves.

use super::{Row, Split};

impl Split {
    /// The name in `metrics.jsonl`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
        }
    }
}

impl Row {
    /// What is measured on the split: `data_loss`, `penalty`, `objective` and the metrics of the task.
    #[must_use]
    pub fn measures(&self) -> Vec<(String, f64)> {
        let losses = [("data_loss", self.data_loss), ("penalty", self.penalty), ("objective", self.objective)];
        let losses = losses.map(|(name, value)| (name.to_owned(), value));
        losses.into_iter().chain(self.metrics.iter().map(|(name, value)| (name.clone(), *value))).collect()
    }

    /// The state of training at the end of the epoch, which the rows of all splits have: norms, λ, γ, learning rate and time. With several penalties their `lambda`, `gamma`
    /// and `next_lambda` (after an update by evidence) are apart, such as `lambda/l2 on kernels`; `penalties` are their labels.
    #[must_use]
    pub fn state(&self, penalties: &[String]) -> Vec<(String, f64)> {
        let labels = distinct(penalties, self.lambdas.len());
        let named = |name: &str, index: usize| labels.get(index).map_or_else(|| name.to_owned(), |label| format!("{name}/{label}"));
        let mut columns = vec![("weight_norm_squared".to_owned(), self.weight_norm_squared)];
        let mut add = |name: String, value: Option<f64>| columns.extend(value.map(|value| (name, value)));
        add("zero_weights".to_owned(), self.zero_weights);
        add("zero_channels".to_owned(), self.zero_channels);
        self.lambdas.iter().enumerate().for_each(|(index, lambda)| add(named("lambda", index), Some(*lambda)));
        // Version 0.1.0 had one penalty and no list.
        add("lambda".to_owned(), self.lambda.filter(|_| self.lambdas.is_empty()));
        add("gamma".to_owned(), self.gamma);
        add("log_evidence".to_owned(), self.log_evidence);
        for (index, update) in self.evidence.iter().flatten().enumerate() {
            add(named("gamma", index), update.as_ref().map(|update| update.gamma).filter(|_| !labels.is_empty()));
            add(named("next_lambda", index), update.as_ref().map(|update| update.lambda));
        }
        add("learning_rate".to_owned(), Some(self.learning_rate));
        add("seconds".to_owned(), Some(self.seconds));
        add("images_per_second".to_owned(), Some(self.images_per_second));
        columns
    }
}

/// The labels of `count` penalties, numbered where they are equal. Empty for one penalty.
fn distinct(labels: &[String], count: usize) -> Vec<String> {
    if count < 2 {
        return Vec::new();
    }
    let label = |index: usize| labels.get(index).cloned().unwrap_or_else(|| (index + 1).to_string());
    let of = |index: usize| match (0..index).filter(|earlier| label(*earlier) == label(index)).count() {
        0 => label(index),
        earlier => format!("{} ({})", label(index), earlier + 1),
    };
    (0..count).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::LambdaUpdate;

    fn row(lambdas: &[f64]) -> Row {
        let text = r#"{"epoch":1,"step":4,"split":"train","data_loss":0.5,"penalty":0.25,"objective":0.75,"accuracy":0.875,"weight_norm_squared":3.0,"lambda":null,"learning_rate":0.1,"seconds":2.0,"images_per_second":8.0}"#;
        Row { lambdas: lambdas.to_vec(), ..serde_json::from_str(text).unwrap() }
    }

    fn names(columns: Vec<(String, f64)>) -> Vec<String> {
        columns.into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn columns_have_the_names_of_metrics_jsonl_and_several_penalties_their_labels() {
        let update = Some(LambdaUpdate { gamma: 4.0, lambda: 2.0 });
        assert_eq!(names(row(&[1.0]).measures()), ["data_loss", "penalty", "objective", "accuracy"]);
        let one = Row { gamma: Some(4.0), evidence: Some(vec![update]), ..row(&[1.0]) };
        let expected = ["weight_norm_squared", "lambda", "gamma", "next_lambda", "learning_rate", "seconds", "images_per_second"];
        assert_eq!(names(one.state(&["l2 on kernels".to_owned()])), expected);
        let labels = ["l2 on kernels", "l1 on kernels", "l2 on kernels"].map(str::to_owned);
        let three = Row { evidence: Some(vec![update, None, None]), ..row(&[1.0, 2.0, 3.0]) };
        let expected = [
            "lambda/l2 on kernels",
            "lambda/l1 on kernels",
            "lambda/l2 on kernels (2)",
            "gamma/l2 on kernels",
            "next_lambda/l2 on kernels",
        ];
        assert_eq!(names(three.state(&labels))[1..6], expected);
    }
}
