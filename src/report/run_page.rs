//! The report of a run.

use std::path::Path;

use maud::{Markup, html};
use regulus_model::graph::{Parameter, Source};

use super::page::{definitions, details, figures, number, page, section, table, text, tile, warning};
use super::run_files::RunFiles;
use super::{classes, confusion, curves, images, layers, measures};
use crate::config::Precision;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::numbers::{counted, duration, grouped, loss, magnitude, metric_title, metric_value, percent, rounded, short};
use crate::session::{Evaluation, MeasuredSplit, Status, Summary};

/// The page of the run in `path`.
///
/// # Errors
///
/// When it is not a run folder, or a file in it is damaged.
pub(super) fn run_page(path: &Path) -> Result<Markup, Error> {
    let run = RunFiles::read(path)?;
    let content = html! {
        (overview(&run))
        (section("Training", &training(&run)))
        (section("Weights", &layers::layers(&run)))
        @if let Some(filters) = images::filters(&run) { (section("First layer", &filters)) }
        @if let Some(evaluation) = &run.evaluation { (evaluated(&run, evaluation)) }
        (section("Network", &network(&run)))
        (section("Origin", &origin(&run)))
    };
    let manifest = &run.manifest;
    let subtitle = format!("Run of Regulus {}, begun {} on {} ({})", manifest.version, manifest.started, manifest.backend, manifest.device);
    Ok(page(&run.name, &subtitle, &content))
}

fn overview(run: &RunFiles) -> Markup {
    let summary = run.summary.as_ref();
    html! {
        ul class="tiles" { (tiles(run)) }
        @for missing in &run.missing { (warning(missing)) }
        @for found in summary.iter().flat_map(|summary| &summary.warnings) { (warning(found)) }
        @if let Some(summary) = summary { (measures::checkpoints(summary)) }
    }
}

/// The facts at the top. A network is one of its kept checkpoint.
fn tiles(run: &RunFiles) -> Markup {
    let Some(summary) = &run.summary else {
        return html! { (tile("status", &text("not finished"))) (tile("epochs", &text(run.last_epoch().unwrap_or(0).to_string()))) };
    };
    let measured = [("test", &summary.test), ("validation", &summary.validation), ("train", &summary.train)];
    let shown = measured.into_iter().find_map(|(name, split)| Some((name, split.as_ref()?)));
    html! {
        (tile("status", &text(status(summary))))
        @if let Some((name, split)) = shown {
            @for (metric, value) in &split.metrics {
                (tile(&format!("{} ({name})", metric_title(metric)), &number(&format!("{name}.{metric}"), *value, &metric_value(metric, *value))))
            }
            (tile(&format!("data loss ({name})"), &number(&format!("{name}.data_loss"), split.data_loss, &measures::losses(summary).shown(split.data_loss))))
        }
        @if let Some(penalty) = summary.penalty { (tile("penalty", &number("penalty", penalty, &loss(penalty)))) }
        @for (index, (lambda, label)) in summary.lambdas.iter().zip(run.penalties()).enumerate() {
            (tile(&format!("λ ({label})"), &number(&format!("lambdas.{index}"), *lambda, &short(*lambda))))
        }
        @if let Some(norm) = summary.weight_norm_squared { (tile("‖w‖²", &number("weight_norm_squared", norm, &magnitude(norm)))) }
        @if let Some(zeros) = summary.zero_weights.filter(|zeros| *zeros > 0.0) { (tile("weights exactly 0", &number("zero_weights", zeros, &percent(zeros)))) }
        (tile("epochs", &number("epochs", summary.epochs as f64, &grouped(summary.epochs))))
        @if let Some(best) = summary.best_epoch { (tile(&format!("best epoch (by {})", metric_title(run.manifest.best_by.name())), &number("best_epoch", best as f64, &grouped(best)))) }
        @if let Some(kept) = summary.kept { (tile("kept checkpoint", &text(kept.name()))) }
        (tile("training", &number("seconds", summary.seconds, &duration(summary.seconds))))
        @if let Some(speed) = summary.images_per_second { (tile("images/s", &number("images_per_second", speed, &rounded(speed)))) }
    }
}

fn status(summary: &Summary) -> &'static str {
    match summary.status {
        Status::Completed => "completed",
        Status::EarlyStopped => "stopped early",
        Status::Interrupted => "interrupted",
        Status::Diverged => "diverged",
    }
}

fn training(run: &RunFiles) -> Markup {
    if run.rows.is_empty() {
        return html! { p { "No epoch is complete." } };
    }
    html! {
        p class="note" { "Training values are means over the steps of an epoch, in which the weights still change. Validation is measured at its end, so that it can be lower." }
        (figures(&curves::curves(run)))
        (details("Every epoch as a table", &measures::epochs(run)))
    }
}

/// What the kept network does on one split.
fn evaluated(run: &RunFiles, evaluation: &Evaluation) -> Markup {
    let split = match evaluation.split {
        MeasuredSplit::Train => "training",
        MeasuredSplit::Validation => "validation",
        MeasuredSplit::Test => "test",
    };
    let names = &run.manifest.classes;
    let introduction =
        html! { p { "The " (evaluation.checkpoint.name()) " checkpoint, epoch " (evaluation.epoch) ", on the " (split) " split." } };
    let Some(measures) = &evaluation.classification else {
        let content = html! { (introduction) (means(&evaluation.metrics)) (images::about_indexes(evaluation)) (images::pictures(&evaluation.pictures)) };
        return section("Pictures", &content);
    };
    let shares = [("balanced_accuracy", "balanced accuracy", measures.balanced_accuracy), ("macro_f1", "macro-F1", measures.macro_f1)];
    let content = html! {
        (introduction)
        ul class="tiles" {
            (tile("accuracy", &number("evaluation.accuracy", measures.accuracy, &percent(measures.accuracy))))
            @for (name, title, value) in shares {
                @if let Some(value) = value { (tile(title, &number(&format!("evaluation.{name}"), value, &percent(value)))) }
            }
            (tile("calibration error", &number("evaluation.calibration_error", measures.calibration_error, &format!("{:.4}", measures.calibration_error))))
        }
        (figures(&std::iter::once(confusion::matrix(measures, names)).chain(classes::reliability(measures)).collect::<Vec<_>>()))
        (classes::classes(measures, names))
        (confusion::top(measures, names))
    };
    let samples = html! {
        (images::about_indexes(evaluation))
        @if !evaluation.confident_mistakes.is_empty() {
            h3 { "Most confident mistakes" }
            (images::samples("confident_mistakes", &evaluation.confident_mistakes))
        }
        @if !evaluation.highest_losses.is_empty() {
            h3 { "Highest loss" }
            (images::samples("highest_losses", &evaluation.highest_losses))
        }
    };
    html! { (section(&format!("Mistakes on the {split} split"), &content)) (section("Images", &samples)) }
}

fn means(metrics: &Metrics) -> Markup {
    let value = |(name, value): (&String, &f64)| {
        tile(&metric_title(name), &number(&format!("evaluation.{name}"), *value, &metric_value(name, *value)))
    };
    html! { ul class="tiles" { @for metric in metrics { (value(metric)) } } p { "From the lowest PSNR to the highest, in equal steps of rank; of large pictures the middle." } }
}

fn network(run: &RunFiles) -> Markup {
    let graph = &run.manifest.graph;
    let header = ["node", "operation", "takes", "output", "parameters", "multiplications"].map(str::to_owned);
    let name = |source: &Source| match source {
        Source::Node(index) => graph.nodes()[*index].name.clone(),
        Source::Image => "input".to_owned(),
    };
    let rows = graph.nodes().iter().enumerate().map(|(index, node)| {
        let trained = graph.parameters_of(index).iter().filter(|parameter| parameter.role.is_trained());
        let output: Vec<String> = graph.features_of(Source::Node(index)).dims().iter().map(ToString::to_string).collect();
        let takes: Vec<String> = graph.sources(index).iter().map(name).collect();
        [
            node.name.clone(),
            node.op.word().to_owned(),
            takes.join(", "),
            output.join("×"),
            grouped(trained.map(Parameter::size).sum::<usize>() as u64),
            grouped(graph.multiplications(index)),
        ]
        .into_iter()
        .map(text)
        .collect()
    });
    let input = graph.input();
    html! {
        p { (counted(graph.parameter_count() as u64, "trained parameter")) ", input " (input.channels) "×" (input.height) "×" (input.width) " (channels, height, width)." }
        (table("The nodes in the order of computation; outputs are channels, height and width, or units", 3, &header, rows))
    }
}

fn origin(run: &RunFiles) -> Markup {
    let (manifest, dataset) = (&run.manifest, &run.manifest.dataset);
    let simd = manifest.simd.as_ref().map_or(String::new(), |simd| format!(", {simd}"));
    let kernels = serde_json::to_value(manifest.kernels).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default();
    let precision = if manifest.precision == Precision::Bf16 { ", bf16" } else { "" };
    let left_out: Vec<String> = dataset
        .left_out
        .iter()
        .map(|(reason, count)| format!("{} {}", grouped(*count as u64), reason.nouns()[usize::from(*count != 1)]))
        .collect();
    let mut pairs = vec![
        ("version", manifest.version.clone()),
        ("started", manifest.started.clone()),
        ("backend", format!("{} on {}, {}", manifest.backend, manifest.device, counted(manifest.threads as u64, "thread"))),
        ("kernels", format!("{kernels}{precision}{simd}")),
        ("data", format!("{}, SHA-256 {}", dataset.source, dataset.sha256)),
        (
            "samples",
            format!(
                "train {}, validation {}, test {}",
                grouped(dataset.train as u64),
                grouped(dataset.validation as u64),
                grouped(dataset.test as u64)
            ),
        ),
        ("penalties", if run.penalties().is_empty() { "none".to_owned() } else { run.penalties().join("; ") }),
        ("config", format!("SHA-256 {}", manifest.config_sha256)),
    ];
    if !manifest.classes.is_empty() {
        pairs.push(("classes", manifest.classes.join(", ")));
    }
    if !left_out.is_empty() {
        pairs.push(("not read", left_out.join("; ")));
    }
    let extended: Vec<String> = manifest
        .extended
        .iter()
        .map(|extension| format!("from {} to {} epochs on {}", extension.from_epoch, extension.to_epoch, extension.when))
        .collect();
    if !extended.is_empty() {
        pairs.push(("extended", extended.join("; ")));
    }
    html! {
        (definitions(&pairs))
        (details("config.toml", &html! { pre { (run.config) } }))
    }
}
