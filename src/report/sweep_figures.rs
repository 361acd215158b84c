//! Figures over the values of the key of a sweep.

use maud::Markup;

use super::plot::{Axis, Band, Plot, Rule, Series, SeriesStyle};
use super::scale::Scale;
use super::sweep_files::SweepFiles;
use crate::config::Criterion;
use crate::numbers::short;
use crate::search::{Comparison, FitResult, TrialSummary, UNRELIABLE, criterion_title, t975};

/// A trial at its value of the key.
struct At<'a> {
    value: f64,
    trial: &'a TrialSummary,
}

/// The key along the axis, and the trials that differ in it alone.
struct Line<'a> {
    key: String,
    scale: Scale,
    trials: Vec<At<'a>>,
}

/// The figures over one key. Where trials differ in several keys at once, the criterion over each key; none if no number is searched.
pub(super) fn figures(sweep: &SweepFiles) -> Vec<Markup> {
    let Some(line) = Line::of(sweep) else {
        let lines = sweep.plan.space.iter().filter_map(|dimension| Line::new(sweep, &dimension.key, numbers(sweep, &dimension.key)));
        return lines.filter_map(|line| scatter(sweep, &line)).collect();
    };
    let mut figures = criterion(sweep, &line);
    figures.extend(gap(sweep, &line));
    figures.extend(criteria(sweep, &line));
    let mut of_trials = |title: &str, axis: &str, value: &dyn Fn(&TrialSummary) -> Option<f64>| {
        let points = line.points(value);
        let series = vec![Series { name: String::new(), style: SeriesStyle::Line(0), points }];
        figures.extend(line.plot(sweep, title, axis, true, series).map(|plot| plot.figure()));
    };
    of_trials("Squared norm of the penalized weights", "‖w‖²", &|trial| trial.weight_norm_squared);
    if sweep.study.trials.iter().any(|trial| trial.zero_weights.is_some_and(|zeros| zeros > 0.0)) {
        of_trials("Weights that are exactly 0", "fraction of the kernels (%)", &|trial| Some(100.0 * trial.zero_weights?));
    }
    of_trials("Effective parameters", "γ", &|trial| trial.gamma);
    figures
}

impl<'a> Line<'a> {
    /// The searched λ, or the only searched number.
    fn of(sweep: &'a SweepFiles) -> Option<Self> {
        let (plan, study) = (&sweep.plan, &sweep.study);
        let keys = || plan.space.iter().map(|dimension| &dimension.key);
        let lambdas: Vec<&String> = keys().filter(|key| is_lambda(key)).collect();
        let (key, values) = match lambdas.as_slice() {
            [key] => {
                let reference = study.chosen.or(study.minimum).unwrap_or(0);
                (*key, plan.lambdas_beside(reference))
            }
            _ if plan.space.len() == 1 => {
                let key = keys().next()?;
                (key, numbers(sweep, key))
            }
            _ => return None,
        };
        Self::new(sweep, key, values)
    }

    /// The trials with a value. `None` with fewer than two.
    fn new(sweep: &'a SweepFiles, key: &str, values: Vec<Option<f64>>) -> Option<Self> {
        let study = &sweep.study;
        let mut trials: Vec<At> = study.trials.iter().zip(values).filter_map(|(trial, value)| Some(At { value: value?, trial })).collect();
        trials.sort_by(|one, other| one.value.total_cmp(&other.value));
        let numbers: Vec<f64> = trials.iter().map(|at| at.value).collect();
        let positive = || numbers.iter().copied().filter(|value| *value > 0.0);
        let is_wide = positive().fold(0.0, f64::max) > 8.0 * positive().fold(f64::INFINITY, f64::min);
        let scale = if is_lambda(key) || is_wide { Scale::log(numbers) } else { Scale::linear(numbers) };
        let key = if is_lambda(key) { format!("λ ({key})") } else { key.to_owned() };
        (trials.len() > 1).then_some(Self { key, scale, trials })
    }

    fn points(&self, value: impl Fn(&TrialSummary) -> Option<f64>) -> Vec<[f64; 2]> {
        self.trials.iter().filter_map(|at| Some([at.value, value(at.trial)?])).filter(|point| point[1].is_finite()).collect()
    }

    /// The lowest and the chosen trial.
    fn marks(&self, sweep: &SweepFiles, value: fn(&Comparison) -> f64) -> [Series; 2] {
        let mark = |trial: Option<usize>| self.points(|found| found.comparison.as_ref().filter(|_| Some(found.trial) == trial).map(value));
        [
            Series { name: "lowest".to_owned(), style: SeriesStyle::Rings(2), points: mark(sweep.study.minimum) },
            Series { name: "chosen".to_owned(), style: SeriesStyle::Dots(1), points: mark(sweep.study.chosen) },
        ]
    }

    fn value_of(&self, trial: Option<usize>) -> Option<f64> {
        self.trials.iter().find(|at| Some(at.trial.trial) == trial).map(|at| at.value)
    }

    /// A plot of the series that have points, with the chosen value. `None` without any.
    fn plot(&self, sweep: &SweepFiles, title: &str, axis: &str, may_be_log: bool, series: Vec<Series>) -> Option<Plot> {
        let series: Vec<Series> = series.into_iter().filter(|series| !series.points.is_empty()).collect();
        let values: Vec<f64> = series.iter().flat_map(|series| series.points.iter().map(|point| point[1])).collect();
        if values.is_empty() {
            return None;
        }
        let scale = if may_be_log { Scale::fitting(&values) } else { Scale::linear(values) };
        let mut plot = Plot::new(title, Axis { title: self.key.clone(), scale: self.scale }, Axis { title: axis.to_owned(), scale });
        plot.series = series;
        plot.rules.extend(self.value_of(sweep.study.chosen).map(|value| Rule::X(value, "chosen".to_owned())));
        Some(plot)
    }
}

fn is_lambda(key: &str) -> bool {
    key.starts_with("penalty.") && key.ends_with(".lambda")
}

/// The value of a key in each trial, where it is a number.
fn numbers(sweep: &SweepFiles, key: &str) -> Vec<Option<f64>> {
    let number = |value: &toml::Value| value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
    (0..sweep.plan.trials.len()).map(|trial| number(sweep.plan.setting(trial, key)?)).collect()
}

/// The criterion of all trials over one of several keys.
fn scatter(sweep: &SweepFiles, line: &Line) -> Option<Markup> {
    let title = criterion_title(sweep.study.criterion);
    let points = line.points(|trial| Some(trial.comparison?.mean));
    let mut series = vec![Series { name: "a trial".to_owned(), style: SeriesStyle::Dots(0), points }];
    series.extend(line.marks(sweep, |found| found.mean));
    let title = format!("{} by {}", capitalized(title), line.key);
    line.plot(sweep, &title, &axis_title(sweep), true, series).map(|plot| plot.figure())
}

/// The criterion, and near its lowest value the paired differences to it with their intervals.
fn criterion(sweep: &SweepFiles, line: &Line) -> Vec<Markup> {
    let criterion = sweep.study.criterion;
    let title = criterion_title(criterion);
    let means = line.points(|trial| Some(trial.comparison?.mean));
    let values: Vec<f64> = means.iter().map(|point| point[1]).collect();
    let mut series = vec![Series { name: format!("mean {title}"), style: SeriesStyle::Line(0), points: means }];
    series.extend(line.marks(sweep, |found| found.mean));
    let Some(mut plot) = line.plot(sweep, &capitalized(title), &axis_title(sweep), false, series) else { return Vec::new() };
    let (low, high) = values.iter().fold((f64::INFINITY, 0.0), |(low, high), value| (f64::min(low, *value), f64::max(high, *value)));
    // A λ that is far too large would hide the others.
    if low > 0.0 && high > 4.0 * low {
        plot.y.scale = Scale::log(values);
    }
    let Some(quantile) = t975(sweep.degrees()) else {
        let more = if criterion == Criterion::ValidationLoss { "folds, repeats or seeds" } else { "seeds" };
        plot.note = format!("With one training of each trial there is no standard error; use {more}.");
        return vec![plot.figure()];
    };
    plot.bands.extend(within(line));
    NEIGHBOURS.clone_into(&mut plot.note);
    std::iter::once(plot).chain(differences(sweep, line, quantile)).map(|plot| plot.figure()).collect()
}

/// The differences to the lowest, of the trials whose interval reaches 0 and of those beside them.
fn differences(sweep: &SweepFiles, line: &Line, quantile: f64) -> Option<Plot> {
    let ends = |at: &At, factor: f64| {
        let found = at.trial.comparison?;
        let half = factor * found.standard_error.filter(|error| *error > 0.0)?;
        Some([[at.value, found.difference - half], [at.value, found.difference + half]])
    };
    let compared: Vec<&At> = line.trials.iter().filter(|at| at.trial.comparison.is_some()).collect();
    // The lowest has no interval.
    let reaches = |at: &At| ends(at, quantile).is_none_or(|ends| ends[0][1] <= 0.0);
    let highest = compared.iter().filter(|at| reaches(at)).filter_map(|at| ends(at, quantile)).map(|ends| ends[1][1]).fold(0.0, f64::max);
    // One that is far above would hide the differences of the others.
    let is_beside = |index: usize| {
        let difference = compared[index].trial.comparison.map_or(f64::INFINITY, |found| found.difference);
        let mut beside = [index.checked_sub(1), Some(index + 1)].into_iter().flatten().filter_map(|index| compared.get(index));
        (highest <= 0.0 || difference <= 3.0 * highest) && beside.any(|at| reaches(at))
    };
    let shown: Vec<&At> = compared.iter().enumerate().filter(|(index, at)| reaches(at) || is_beside(*index)).map(|(_, at)| *at).collect();
    let intervals = |factor: f64| shown.iter().filter_map(|at| ends(at, factor)).flatten().collect::<Vec<_>>();
    let means = shown.iter().filter_map(|at| Some([at.value, at.trial.comparison?.difference])).collect::<Vec<_>>();
    let mut series = vec![
        Series { name: "95 % interval".to_owned(), style: SeriesStyle::Thin(4), points: intervals(quantile) },
        Series { name: "± one standard error".to_owned(), style: SeriesStyle::Thick(0), points: intervals(1.0) },
        Series { name: "mean difference".to_owned(), style: SeriesStyle::Line(0), points: means.clone() },
    ];
    let marks = line.marks(sweep, |found| found.difference);
    series.extend(marks.map(|marks| Series { points: marks.points.into_iter().filter(|point| means.contains(point)).collect(), ..marks }));
    let title = format!("Difference to the lowest {}", criterion_title(sweep.study.criterion));
    let difference = if sweep.is_paired() { "paired difference" } else { "difference" };
    let mut plot = line.plot(sweep, &title, &format!("{difference} ({})", short_unit(sweep)), false, series)?;
    plot.rules.push(Rule::Y(0.0));
    plot.bands.extend(within(line));
    plot.note = format!(
        "Bars are 95 % intervals of the {difference} over {}: ± {quantile:.3} standard errors. Only trials whose interval reaches 0 and their neighbours are shown. {NEIGHBOURS}",
        sweep.units()
    );
    Some(plot)
}

/// What the band of [`within`] covers.
const NEIGHBOURS: &str = "Shaded are trials within one standard error of the lowest, and the space between two such neighbours.";

/// The ranges of neighbouring trials that are all within one standard error of the lowest.
fn within(line: &Line) -> Option<Band> {
    let is_near = |at: &At| at.trial.comparison.is_some_and(|found| found.difference <= found.standard_error.unwrap_or(0.0));
    let runs = line.trials.chunk_by(|one, other| is_near(one) == is_near(other)).filter(|run| is_near(&run[0]));
    let ranges: Vec<[f64; 2]> = runs.map(|run| [run[0].value, run[run.len() - 1].value]).collect();
    (!ranges.is_empty()).then(|| Band { name: "within one standard error of the lowest".to_owned(), ranges })
}

/// The mean over the trainings of a trial. `None` if one has no value.
fn mean(sweep: &SweepFiles, trial: usize, value: impl Fn(&FitResult) -> Option<f64>) -> Option<f64> {
    let values: Option<Vec<f64>> = sweep.results_of(trial).map(value).collect();
    values.filter(|values| !values.is_empty()).map(|values| values.iter().sum::<f64>() / values.len() as f64)
}

/// Training beside validation loss.
fn gap(sweep: &SweepFiles, line: &Line) -> Option<Markup> {
    let of = |value: fn(&FitResult) -> Option<f64>| line.points(|trial| mean(sweep, trial.trial, value));
    let validation = of(|result| result.validation_loss);
    if validation.is_empty() {
        return None;
    }
    let series = vec![
        Series { name: "train, mean over the last epoch".to_owned(), style: SeriesStyle::Line(0), points: of(|result| result.train_loss) },
        Series { name: "validation".to_owned(), style: SeriesStyle::Dashed(1), points: validation },
    ];
    Some(line.plot(sweep, "Training and validation loss", &format!("data loss ({})", sweep.loss_unit()), true, series)?.figure())
}

/// What ranks the trials beside what else could, in nats for each image, and where leave-one-out losses are unreliable.
fn criteria(sweep: &SweepFiles, line: &Line) -> Vec<Markup> {
    let is_reliable = |trial: &TrialSummary| trial.unreliable.is_some_and(|fraction| fraction <= UNRELIABLE);
    let loo = |reliable: bool| line.points(|trial| trial.leave_one_out_loss.filter(|_| is_reliable(trial) == reliable));
    let evidence = line.points(|trial| trial.evidence);
    if evidence.is_empty() && loo(true).is_empty() {
        return Vec::new();
    }
    let has_validation = sweep.study.criterion == Criterion::ValidationLoss;
    let validation = if has_validation { line.points(|trial| Some(trial.comparison?.mean)) } else { Vec::new() };
    let curves = [
        (Criterion::ValidationLoss, SeriesStyle::Line(0), validation),
        (Criterion::Loo, SeriesStyle::Dashed(1), loo(true)),
        (Criterion::Evidence, SeriesStyle::Line(3), evidence),
    ];
    let mut lowest = Vec::new();
    let mut series = Vec::new();
    for (criterion, style, points) in curves {
        let name = criterion_title(criterion);
        let point = points.iter().min_by(|one, other| one[1].total_cmp(&other[1]));
        lowest.extend(point.map(|point| format!("{} ({name})", short(point[0]))));
        series.push(Series { name: name.to_owned(), style, points });
    }
    series.push(Series { name: "leave-one-out loss, unreliable".to_owned(), style: SeriesStyle::Dots(5), points: loo(false) });
    let title = if has_validation { "Validation, leave-one-out and evidence" } else { "Leave-one-out and evidence" };
    let beside = line.plot(sweep, title, "nats for each image", true, series).map(|mut plot| {
        plot.note = format!("λ with the lowest value: {}. Unreliable points do not count.", lowest.join(", "));
        plot
    });
    let unreliable = line.points(|trial| Some(100.0 * trial.unreliable?));
    let share = vec![Series { name: String::new(), style: SeriesStyle::Line(5), points: unreliable }];
    let unreliable = line.plot(sweep, "Images without a reliable leave-one-out loss", "images (%)", false, share);
    [beside, unreliable].into_iter().flatten().map(|plot| plot.figure()).collect()
}

fn axis_title(sweep: &SweepFiles) -> String {
    match sweep.study.criterion {
        Criterion::Evidence => "−ln p(data | λ) / m (nats)".to_owned(),
        criterion => format!("{} ({})", criterion_title(criterion), sweep.loss_unit()),
    }
}

/// The unit of what ranks the trials, in a word.
pub(super) fn short_unit(sweep: &SweepFiles) -> &'static str {
    match sweep.study.criterion {
        Criterion::Evidence => "nats",
        _ if sweep.is_classifier => "nats",
        _ => "MSE",
    }
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
