//! `regulus compare`.

use serde_json::{Map, Value, json};

use super::args::TableFormatArg;
use super::print;
use super::report_args::CompareArgs;
use crate::atomic;
use crate::comparison::{PairedDifference, RunComparison, SeedPair, settings_in_words};
use crate::error::Error;
use crate::numbers::setting;
use crate::report::write_comparison;

pub(super) fn compare(args: &CompareArgs) -> Result<(), Error> {
    print::reserve("--html", args.html.as_deref(), args.json)?;
    let compared = RunComparison::new(&args.runs)?;
    compared.warnings.iter().for_each(print::warning);
    if args.json {
        print_json(&compared)?;
    } else {
        print::out(tables(&compared, args.format)?.join("\n\n"))?;
    }
    let Some(file) = &args.html else { return Ok(()) };
    write_comparison(&compared, file)?;
    if args.json {
        print::json(&json!({ "kind": "page", "page": file.display().to_string() }))
    } else {
        if !atomic::is_dash(file) {
            print::note(format_args!("page: {}", file.display()));
        }
        Ok(())
    }
}

/// The tables: figures and settings with a column for each run, as CSV with a line for each run; paired differences.
fn tables(compared: &RunComparison, format: TableFormatArg) -> Result<Vec<String>, Error> {
    let labels: Vec<&str> = compared.runs.iter().map(|run| run.label.as_str()).collect();
    let settings = settings(compared, format);
    let figures = figures(compared, format);
    let mut tables = Vec::new();
    if format == TableFormatArg::Csv {
        let header: Vec<&str> = std::iter::once("run").chain(settings.iter().chain(&figures).map(|row| row[0].as_str())).collect();
        let line = |(index, run): (usize, &crate::comparison::ComparedRun)| {
            let of_run = settings.iter().chain(&figures).map(|row| row[index + 1].clone());
            std::iter::once(run.path.display().to_string()).chain(of_run).collect()
        };
        tables.push(format.table(&header, compared.runs.iter().enumerate().map(line).collect())?);
    } else {
        let header = |first: &'static str| std::iter::once(first).chain(labels.iter().copied()).collect::<Vec<_>>();
        if settings.is_empty() {
            print::note("all settings are the same");
        } else {
            tables.push(format.table(&header("setting"), settings)?);
        }
        tables.push(format.table(&header("figure"), figures)?);
    }
    if !compared.differences.is_empty() {
        let header = ["compared runs", "minus reference runs", "figure", "pairs", "mean difference", "± standard error"];
        tables.push(format.table(&header, compared.differences.iter().map(|found| difference(compared, found, format)).collect())?);
    }
    Ok(tables)
}

/// A row for each setting that differs.
fn settings(compared: &RunComparison, format: TableFormatArg) -> Vec<Vec<String>> {
    let value = |value: &Option<toml::Value>| value.as_ref().map_or_else(|| format.missing().to_owned(), setting);
    compared.settings.iter().map(|(key, values)| std::iter::once(key.clone()).chain(values.iter().map(value)).collect()).collect()
}

/// A row for each figure.
fn figures(compared: &RunComparison, format: TableFormatArg) -> Vec<Vec<String>> {
    let status = compared.runs.iter().map(|run| if format.is_exact() { run.status.name().to_owned() } else { run.status.shown() });
    let mut rows = vec![std::iter::once("status".to_owned()).chain(status).collect()];
    for figure in &compared.figures {
        let all = || figure.values.iter().flatten().copied();
        let shown = |value: f64| if format.is_exact() { value.to_string() } else { figure.unit.shown(value, all()) };
        let title = if format.is_exact() { &figure.key } else { &figure.title };
        let values = figure.values.iter().map(|value| value.map_or_else(|| format.missing().to_owned(), shown));
        rows.push(std::iter::once(title.clone()).chain(values).collect());
    }
    rows
}

/// Settings in words with more characters than this are replaced in a terminal by the runs that have them: the table above has the settings of each.
const LONGEST: usize = 40;

fn difference(compared: &RunComparison, found: &PairedDifference, format: TableFormatArg) -> Vec<String> {
    let is_exact = format.is_exact();
    let (mean, error) = match found.standard_error {
        error if is_exact => (found.mean.to_string(), error.map(|error| error.to_string())),
        error => found.unit.difference(found.mean, error),
    };
    let [settings, reference] = [&found.settings, &found.reference].map(settings_in_words);
    let is_long = !is_exact && [&settings, &reference].into_iter().any(|words| words.chars().count() > LONGEST);
    let labels = |of: fn(&SeedPair) -> usize| {
        let labels: Vec<&str> = found.pairs.iter().map(|pair| compared.runs[of(pair)].label.as_str()).collect();
        labels.join(", ")
    };
    let [settings, reference] = if is_long { [labels(|pair| pair.run), labels(|pair| pair.reference)] } else { [settings, reference] };
    vec![
        settings,
        reference,
        if is_exact { found.figure.clone() } else { found.title.clone() },
        found.pairs.len().to_string(),
        mean,
        error.unwrap_or_else(|| format.missing().to_owned()),
    ]
}

/// A line for each run, then one for each paired difference.
fn print_json(compared: &RunComparison) -> Result<(), Error> {
    for (index, run) in compared.runs.iter().enumerate() {
        let settings: Map<String, Value> = compared.settings.iter().map(|(key, values)| (key.clone(), json!(values[index]))).collect();
        let figures: Map<String, Value> = compared.figures.iter().map(|figure| (figure.key.clone(), json!(figure.values[index]))).collect();
        let path = run.path.display().to_string();
        print::json(
            &json!({ "kind": "run", "run": path, "status": run.status, "settings": settings, "figures": figures, "warnings": run.warnings }),
        )?;
    }
    for found in &compared.differences {
        let path = |run: usize| compared.runs[run].path.display().to_string();
        let pair = |pair: &SeedPair| json!({ "run": path(pair.run), "minus": path(pair.reference), "difference": pair.difference });
        let pairs: Vec<Value> = found.pairs.iter().map(pair).collect();
        print::json(&json!({
            "kind": "difference",
            "settings": found.settings,
            "minus": found.reference,
            "figure": found.figure,
            "pairs": pairs,
            "mean": found.mean,
            "standard_error": found.standard_error,
        }))?;
    }
    Ok(())
}
