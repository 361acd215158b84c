//! The page around a report, and what sections are made of. The page asks for nothing from a network and has no scripts.

use maud::{DOCTYPE, Markup, PreEscaped, Render, html};

const STYLE: &str = include_str!("style.css");

/// The whole page.
pub(super) fn page(title: &str, subtitle: &str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'";
                // Without it browsers ask for one.
                link rel="icon" href="data:,";
                title { (title) " – Regulus" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header { h1 { (title) } p class="soft" { (subtitle) } }
                main { (content) }
            }
        }
    }
}

/// A number as it is shown, with every digit in an attribute. `key` says what it is, such as `test.data_loss`.
pub(super) fn number(key: &str, value: f64, shown: &str) -> Markup {
    html! { data data-key=(key) value=(value) { (shown) } }
}

/// A section with its heading; nothing if it is empty.
pub(super) fn section(heading: &str, content: &Markup) -> Markup {
    if content.0.is_empty() {
        return html! {};
    }
    html! { section { h2 { (heading) } (content) } }
}

/// Figures side by side; nothing without any.
pub(super) fn figures(figures: &[Markup]) -> Markup {
    html! { @if figures.iter().any(|figure| !figure.0.is_empty()) { div class="figures" { @for figure in figures { (figure) } } } }
}

/// A table that scrolls where it is too wide. The first `words` columns are of words, the others of numbers.
pub(super) fn table(caption: &str, words: usize, header: &[String], rows: impl IntoIterator<Item = Vec<Markup>>) -> Markup {
    html! {
        p class="caption" aria-hidden="true" { (caption) }
        div class="scroll" tabindex="0" role="region" aria-label=(caption) {
            table class={ "words" (words) } {
                thead { tr { @for title in header { th scope="col" { (title) } } } }
                tbody { @for row in rows { tr { @for cell in row { td { (cell) } } } } }
            }
        }
    }
}

/// What is hidden until it is asked for.
pub(super) fn details(summary: &str, content: &Markup) -> Markup {
    html! { details { summary { (summary) } (content) } }
}

/// Names and what they mean.
pub(super) fn definitions<T: Render>(pairs: &[(&str, T)]) -> Markup {
    html! { dl { @for (name, value) in pairs { dt { (name) } dd { (value) } } } }
}

/// A short fact.
pub(super) fn tile(name: &str, value: &Markup) -> Markup {
    html! { li { span { (name) } strong { (value) } } }
}

/// A warning.
pub(super) fn warning(text: &str) -> Markup {
    html! { p class="warning" role="note" { (text) } }
}

/// A text as markup.
pub(super) fn text(text: impl AsRef<str>) -> Markup {
    html! { (text.as_ref()) }
}

/// A PNG file in base64.
pub(super) fn image(png: &str, described: &str) -> Markup {
    html! { img alt=(described) src={ "data:image/png;base64," (png) }; }
}
