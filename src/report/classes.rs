//! The measures of each class, and calibration.

use maud::{Markup, html};

use super::page::{details, number, table, text};
use super::plot::{Axis, Plot, Rule, Series, SeriesStyle};
use super::scale::Scale;
use crate::metrics::{ClassMeasures, Classification};
use crate::numbers::{grouped, percent};

/// The largest number of classes that are listed at once.
const LISTED: usize = 20;

/// The table of classes; of many first those of the lowest F1.
pub(super) fn classes(measures: &Classification, names: &[String]) -> Markup {
    let all: Vec<(usize, &ClassMeasures)> = measures.classes.iter().enumerate().collect();
    if all.len() <= LISTED {
        return list("Precision, recall and F1 of each class", &all, names);
    }
    let mut worst: Vec<(usize, &ClassMeasures)> = all.iter().copied().filter(|(_, class)| class.f1.is_some()).collect();
    worst.sort_by(|(_, one), (_, other)| one.f1.unwrap_or(0.0).total_cmp(&other.f1.unwrap_or(0.0)));
    worst.truncate(LISTED);
    html! {
        (list(&format!("The {} of {} classes with the lowest F1", worst.len(), all.len()), &worst, names))
        (details("All classes", &list("Precision, recall and F1 of each class", &all, names)))
    }
}

fn list(caption: &str, classes: &[(usize, &ClassMeasures)], names: &[String]) -> Markup {
    let header = ["class", "samples", "precision", "recall", "F1"].map(str::to_owned);
    let rows = classes.iter().map(|(index, class)| {
        let share = |name: &str, value: Option<f64>| {
            value.map_or_else(|| text("–"), |value| number(&format!("class.{index}.{name}"), value, &percent(value)))
        };
        let measured = [("precision", class.precision), ("recall", class.recall), ("f1", class.f1)].map(|(name, value)| share(name, value));
        [text(&names[*index]), text(grouped(class.count))].into_iter().chain(measured).collect()
    });
    table(caption, 1, &header, rows)
}

/// The reliability diagram and the number of samples in each of its bins.
pub(super) fn reliability(measures: &Classification) -> Vec<Markup> {
    let bins = measures.reliability.len();
    if bins == 0 {
        return Vec::new();
    }
    let width = 100.0 / bins as f64;
    let middle = |index: usize| (index as f64 + 0.5) * width;
    let percent_axis = |title: &str| Axis { title: title.to_owned(), scale: Scale::between(0.0, 100.0) };
    let confidence = "confidence: probability of the predicted class (%)";
    let bars =
        |value: &dyn Fn(usize) -> Option<f64>| (0..bins).filter_map(|index| Some([middle(index), value(index)?])).collect::<Vec<_>>();
    let mut diagram = Plot::new("Reliability diagram", percent_axis(confidence), percent_axis("correct (%)"));
    let accuracy = bars(&|index| Some(100.0 * measures.reliability[index].accuracy?));
    let mean = measures.reliability.iter().filter_map(|bin| Some([100.0 * bin.confidence?, 100.0 * bin.accuracy?])).collect();
    diagram.series = vec![
        Series { name: "correct of each bin".to_owned(), style: SeriesStyle::Bars(0, width * 0.94), points: accuracy },
        Series { name: "at its mean confidence".to_owned(), style: SeriesStyle::Dots(1), points: mean },
    ];
    diagram.rules.push(Rule::Diagonal);
    diagram.note = format!(
        "On the dashed line confidence and accuracy agree. The calibration error is {:.4}: the mean distance from that line, weighted by the number of samples.",
        measures.calibration_error
    );
    let counts = bars(&|index| Some(measures.reliability[index].count as f64));
    let scale = Scale::linear(counts.iter().map(|point| point[1]).chain([0.0]));
    let mut histogram = Plot::new("Samples by confidence", percent_axis(confidence), Axis { title: "samples".to_owned(), scale });
    histogram.series = vec![Series { name: String::new(), style: SeriesStyle::Bars(0, width * 0.94), points: counts }];
    vec![diagram.figure(), histogram.figure()]
}
