"""Opens reports and a comparison in Chromium: they ask for nothing, the console is silent, and what they show is in the files of the run or sweep.

The numbers are those of `summary.json`, `evaluation.json` and `study.json`; curves go through the values of `metrics.jsonl`, read from where they are drawn by the labels of the axes; the
confusion matrix has the counts of `evaluation.json` in its cells.

    pip install playwright            # it uses an installed Chromium; `playwright install chromium` gets one
    cargo build --release
    python3 tests/report_in_browser.py target/release/regulus [FOLDER FOR SCREENSHOTS]

Chromium is the program in the environment variable CHROMIUM, one of that name in the path, or the one that playwright has installed. Pages are opened as files, at the
width of a phone and of a desktop, in light and dark, and printed.
"""

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

REGULUS = Path(sys.argv[1]).resolve()
SCREENSHOTS = Path(sys.argv[2]) if len(sys.argv) > 2 else None
CONFIG = """
name = "digits"
[data]
source = "mnist_mini"
train_limit = 300
validation = 0.3
[model]
channels = [4, 6]
hidden = 16
[[penalty]]
kind = "l2"
lambda = 0.5
[train]
epochs = 4
batch_size = 16
"""


# A picture of 28×28 pixels has four patches.
DENOISE = """
name = "denoise"
[task]
kind = "denoise"
patch_size = 14
stride = 14
[data]
source = "mnist_mini"
train_limit = 60
validation = 0.3
[model]
kind = "dncnn"
[[penalty]]
kind = "l2"
lambda = 1
[train]
epochs = 3
"""
# The figures of a run that have a curve for each split or one for both: title, value of a row, splits.
CURVES = {
    "Data loss": (lambda row: row["data_loss"], ("train", "validation")),
    "Penalty, apart from the data loss": (lambda row: row["penalty"], ("train", "validation")),
    "Accuracy": (lambda row: 100 * row["accuracy"] if "accuracy" in row else None, ("train", "validation")),
    "PSNR": (lambda row: row.get("psnr"), ("train", "validation")),
    "SSIM": (lambda row: row.get("ssim"), ("train", "validation")),
    "Learning rate": (lambda row: row["learning_rate"], ("train",)),
    "λ": (lambda row: row["lambdas"][0] if len(row["lambdas"]) == 1 else None, ("train",)),
    "Squared norm of the penalized weights": (lambda row: row["weight_norm_squared"], ("train",)),
}
# For each figure its title, text alternative, the ticks of its axes as [place, label], and of each line its points.
DRAWN = """all => all.filter(one => one.querySelector("svg path.grid")).map(one => {
    const svg = one.querySelector("svg");
    const numbers = path => path.getAttribute("d").match(/-?[0-9.]+/g).map(Number);
    const label = tick => tick.nextElementSibling.textContent;
    return {
        title: one.querySelector("figcaption").textContent,
        words: svg.getAttribute("aria-label"),
        y: [...svg.querySelectorAll("path.grid")].map(tick => [numbers(tick)[1], label(tick)]),
        x: [...svg.querySelectorAll("path.axis")].filter(tick => tick.getAttribute("d").endsWith("v4")).map(tick => [numbers(tick)[0], label(tick)]),
        lines: [...svg.querySelectorAll("path.line")].map(line => line.getAttribute("d").split(/[ML]/).slice(1).map(point => point.split(" ").map(Number))),
        bands: [...svg.querySelectorAll("rect.band")].map(band => [Number(band.getAttribute("x")), Number(band.getAttribute("x")) + Number(band.getAttribute("width"))]),
    };
})"""


# What is beyond the right or the left edge of the page. Children of figures are inside of them.
WIDE = """[...document.body.querySelectorAll(":not(svg *)")].filter(one => {
    const box = one.getBoundingClientRect();
    return box.width && (box.right > document.documentElement.clientWidth + 0.5 || box.left < 0);
}).map(one => `${one.localName}.${one.className}: ${one.textContent.slice(0, 60)}`)"""


def regulus(*arguments, code=0):
    ran = subprocess.run([REGULUS, *map(str, arguments)], capture_output=True, text=True)
    assert ran.returncode == code, f"{arguments}: {ran.returncode}\n{ran.stderr}"
    return ran.stdout


def numbers(page):
    """Every number of the page by its key: its exact value, and as it is shown."""
    found = page.eval_on_selector_all("data[data-key]", "all => all.map(one => [one.dataset.key, one.value, one.textContent])")
    values = {}
    for key, value, shown in found:
        assert values.setdefault(key, (float(value), shown)) == (float(value), shown), f"{key} is shown in two ways"
    return values


def at(content, key):
    for part in key.split("."):
        content = content[int(part)] if isinstance(content, list) else content[part]
    return content


def is_rounding(shown, value):
    """Whether a shown number is a rounding of the value, in percent where it says so."""
    text = shown.replace(",", "").replace("−", "-")
    if any(unit in text for unit in (" min", " h")):
        return True
    number, _, unit = text.partition(" ")
    factor = 100 if unit in ("%", "points") else 1
    digits, _, exponent = number.partition("e")
    decimals = len(digits.partition(".")[2])
    unit_of_last = 10.0 ** (int(exponent or 0) - decimals)
    return abs(float(number) - factor * value) <= 0.5001 * unit_of_last


def check_numbers(values, expected, prefix=""):
    checked = 0
    for key, (value, shown) in values.items():
        if not key.startswith(prefix):
            continue
        wanted = at(expected, key.removeprefix(prefix))
        assert value == float(wanted), f"{key}: {value} is on the page, {wanted} in the file"
        assert is_rounding(shown, value), f"{key}: {value} is shown as {shown}"
        checked += 1
    return checked


def from_label(label):
    """The number of a label, such as `0.05` or `2e-6`."""
    return float(label.replace("−", "-"))


def place_of(ticks, is_log):
    """Where a value is on an axis, by its first and its last label. On a logarithmic axis 0 has a label and a place of its own."""
    known = [(place, from_label(label)) for place, label in ticks if label]
    zero = next((place for place, value in known if value == 0), None)
    known = [(place, math.log(value) if is_log else value) for place, value in known if value > 0 or not is_log]
    (begin, low), (end, high) = known[0], known[-1]
    place = lambda value: begin + (end - begin) * ((math.log(value) if is_log else value) - low) / (high - low)
    return lambda value: zero if is_log and value == 0 else place(value)


def axes(figure):
    """Where values are on both axes of a figure. Its text alternative begins with `TITLE: Y by X.`, each with `(logarithmic)` if it is."""
    of_y, _, of_x = figure["words"].partition(" by ")
    return place_of(figure["x"], of_x.split(".  ")[0].split(". ")[0].endswith("(logarithmic)")), place_of(figure["y"], of_y.endswith("(logarithmic)"))


def check_curves(figures, rows):
    """Every curve of a run has a point for each row of `metrics.jsonl`, at the place of its value."""
    points = 0
    for title, (value, splits) in CURVES.items():
        wanted = [[(row["epoch"], value(row)) for row in rows if row["split"] == split and value(row) is not None] for split in splits]
        wanted = [line for line in wanted if line]
        found = [figure for figure in figures if figure["title"] == title]
        assert len(found) == (1 if wanted else 0), f"{title}: {len(found)} figures"
        for figure in found:
            x, y = axes(figure)
            assert [len(line) for line in figure["lines"]] == [len(line) for line in wanted], f"{title}: {figure['lines']} for {wanted}"
            for drawn, line in zip(figure["lines"], wanted):
                for (left, top), (epoch, number) in zip(drawn, line):
                    # Places have one decimal, and so have those of the labels.
                    assert abs(left - x(epoch)) < 0.2 and abs(top - y(number)) < 0.3, f"{title}, epoch {epoch}: {number} is drawn at {left}, {top}"
                    points += 1
    return points


def check_criterion(figures, study, key, title):
    """The curve of what ranks the trials has a point for each, and those within one standard error of the lowest are shaded, the others not."""
    figure = next(figure for figure in figures if figure["title"] == title)
    x, y = axes(figure)
    trials = sorted((trial for trial in study["trials"] if trial.get("mean") is not None), key=lambda trial: trial["settings"][key])
    assert len(figure["lines"][0]) == len(trials) > 2, f"{title}: {figure['lines']}"
    has_errors = any(trial["standard_error"] for trial in trials)
    for (left, top), trial in zip(figure["lines"][0], trials):
        value = trial["settings"][key]
        assert abs(left - x(value)) < 0.3 and abs(top - y(trial["mean"])) < 0.3, f"{title}: {trial['mean']} of {value} is drawn at {left}, {top}"
        is_near = has_errors and trial["difference"] <= (trial["standard_error"] or 0)
        assert is_near == any(begin <= left <= end for begin, end in figure["bands"]), f"{title}, {value}: {figure['bands']}"


def check_confusion(page, counts):
    """The cells of the matrix have the counts; those without a number have 0."""
    script = """one => [...one.querySelectorAll("text.middle:not(.title)")].map(text => [text.getAttribute("x"), text.getAttribute("y"), text.textContent])"""
    cells = page.eval_on_selector("figure.square svg", script)
    side, shown = 320 / len(counts), [[0] * len(counts) for _ in counts]
    for x, y, text in cells:
        # The baseline of a number is below the middle of its cell.
        shown[int(float(y) / side)][int(float(x) / side)] = int(text)
    assert shown == counts, f"{shown} is on the page, {counts} in the file"


def is_of_summary(key):
    return not key.startswith(("evaluation.", "class.", "confusion.", "confident_mistakes.", "highest_losses.", "picture."))


def check_page(browser, path, name, confusion=None):
    """Opens a report in every way. Returns its numbers and its figures with axes."""
    problems = []
    for width, height in ((390, 844), (1280, 900)):
        for scheme in ("light", "dark"):
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce")
            page = context.new_page()
            page.on("console", lambda message: problems.append(f"console: {message.text}"))
            page.on("pageerror", lambda error: problems.append(f"error: {error}"))
            requests = []
            page.on("request", lambda request: requests.append(request.url))
            page.goto(path.resolve().as_uri())
            page.wait_for_load_state("load")
            asked = [url for url in requests if not url.startswith(("file:", "data:"))]
            assert not asked and len([url for url in requests if url.startswith("file:")]) == 1, requests
            overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert overflow <= 0, f"{name} is {overflow} pixels wider than a window of {width}"
            unnamed = page.eval_on_selector_all("svg[role=img]", "all => all.filter(one => !one.getAttribute('aria-label')).length")
            unnamed += page.eval_on_selector_all("img", "all => all.filter(one => !one.alt || !one.naturalWidth).length")
            assert unnamed == 0, f"{name}: {unnamed} figures without a text alternative or an image that does not load"
            loose = page.eval_on_selector_all("figure > svg", "all => all.filter(one => one.getAttribute('role') != 'img').length")
            assert loose == 0, f"{name}: {loose} figures are not marked as images"
            background = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (background == "rgb(255, 255, 255)") == (scheme == "light"), background
            if SCREENSHOTS:
                SCREENSHOTS.mkdir(parents=True, exist_ok=True)
                page.screenshot(path=SCREENSHOTS / f"{name}-{width}-{scheme}.png", full_page=True)
            values, drawn = numbers(page), page.eval_on_selector_all("figure", DRAWN)
            if confusion:
                check_confusion(page, confusion)
            context.close()
    # Between the margins of 10 mm a sheet of A4 has 718 pixels of 1/96 inch.
    page = browser.new_page(viewport={"width": 718, "height": 1000})
    page.goto(path.resolve().as_uri())
    page.emulate_media(media="print")
    wide = page.evaluate(WIDE)
    assert not wide, f"{name} is cut off on paper: {wide}"
    broken = page.eval_on_selector_all("td > data", "all => all.filter(one => one.getClientRects().length > 1).map(one => one.textContent)")
    assert not broken, f"{name} has numbers on two lines on paper: {broken}"
    pdf = page.pdf(format="A4", margin={side: "10mm" for side in ("top", "right", "bottom", "left")})
    assert pdf.startswith(b"%PDF")
    if SCREENSHOTS:
        (SCREENSHOTS / f"{name}.pdf").write_bytes(pdf)
    page.close()
    assert not problems, problems
    return values, drawn


def check_run(browser, run, name):
    evaluation = json.loads((run / "evaluation.json").read_text()) if (run / "evaluation.json").exists() else {}
    classification = evaluation.get("classification") or {}
    values, figures = check_page(browser, run / "report.html", name, classification.get("confusion"))
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    points = check_curves(figures, rows)
    summary = json.loads((run / "summary.json").read_text())
    own = {key: value for key, value in values.items() if is_of_summary(key)}
    checked = check_numbers(own, summary)
    if evaluation:
        measured = {"confident_mistakes": evaluation["confident_mistakes"], "highest_losses": evaluation["highest_losses"]}
        measured |= {"class": classification.get("classes"), "picture": evaluation["pictures"], "evaluation": classification or evaluation["metrics"]}
        rest = {key: value for key, value in values.items() if not is_of_summary(key) and not key.startswith("confusion.")}
        checked += check_numbers(rest, measured)
    print(f"{name}: {checked} numbers and {points} points of curves agree, {len((run / 'report.html').read_bytes()) / 1e3:.0f} kB")
    return checked


def check_sweep(browser, sweep, name, title=None, also=()):
    values, figures = check_page(browser, sweep / "report.html", name)
    study = json.loads((sweep / "study.json").read_text())
    trials = {key: value for key, value in values.items() if key.startswith("trials.")}
    checked = check_numbers(trials, study["trials"], "trials.")
    refit = {key: value for key, value in values.items() if key.startswith("refit.")}
    checked += check_numbers(refit, study["refit"], "refit.")
    of_refit = ("best.", "last.", "train.", "validation.", "test.")
    checked += check_numbers({key: value for key, value in values.items() if key.startswith(of_refit)}, study["refit"])
    path = {key: value for key, value in values.items() if key.startswith("path.")}
    finalists = {str(check["trial"]): check for check in study.get("path", [])}
    assert bool(path) == bool(finalists)
    checked += check_numbers(path, finalists, "path.")
    if title:
        check_criterion(figures, study, "penalty.0.lambda", title)
    titles = [figure["title"] for figure in figures]
    for wanted in also:
        assert wanted in titles, f"{wanted} is not in {titles}"
    units = ("nats", "%", "‖w‖²", "γ")
    unnamed = [figure["words"] for figure in figures if not any(unit in figure["words"].partition(" by ")[0] for unit in units)]
    assert not unnamed, f"axes without a unit: {unnamed}"
    assert values["chosen.mean"][0] == study["trials"][study["chosen"]]["mean"]
    assert values["seconds"][0] == study["seconds"]
    print(f"{name}: {checked} numbers agree, {len((sweep / 'report.html').read_bytes()) / 1e3:.0f} kB")
    return checked


def check_comparison(browser, runs, path, name):
    lines = [json.loads(line) for line in regulus("compare", *runs, "--html", path, "--json").splitlines()]
    values, _ = check_page(browser, path, name)
    figures = [line["figures"] for line in lines if line["kind"] == "run"]
    differences = [line for line in lines if line["kind"] == "difference"]
    for key, (value, shown) in values.items():
        kind, index, rest = key.split(".", 2)
        wanted = figures[int(index)][rest] if kind == "runs" else differences[int(index)][rest]
        assert value == float(wanted) and is_rounding(shown, value), f"{key}: {value} is shown as {shown}; {wanted} in the file"
    print(f"{name}: {len(values)} numbers agree, {len(path.read_bytes()) / 1e3:.0f} kB")


def chromium():
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
    work = Path(folder)
    (work / "digits.toml").write_text(CONFIG)
    offline = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    browser = playwright.chromium.launch(executable_path=chromium(), args=offline)
    regulus("train", work / "digits.toml", "--run-dir", work / "run")
    assert check_run(browser, work / "run", "run") > 60
    regulus("train", work / "digits.toml", "--run-dir", work / "long", "--set", "train.epochs=100", "--set", "data.train_limit=100")
    began = time.monotonic()
    regulus("report", work / "long")
    seconds, size = time.monotonic() - began, (work / "long/report.html").stat().st_size
    assert seconds < 1 and size < 2_000_000, f"a report of 100 epochs takes {seconds:.2f} s and {size} bytes"
    check_run(browser, work / "long", "long")
    regulus("train", work / "digits.toml", "--run-dir", work / "diverged", "--set", "optimizer.kind=sgd", "--set", "optimizer.learning_rate=1e30", code=4)
    check_page(browser, work / "diverged/report.html", "diverged")
    grid = ["--grid", "penalty.0.lambda=0,0.1,1,10,100", "--set", "train.epochs=2"]
    regulus("sweep", work / "digits.toml", "--sweep-dir", work / "sweep", *grid, "--folds", "3", "--set", "data.validation=0", "--rule", "one-standard-error")
    assert check_sweep(browser, work / "sweep", "sweep", "Validation loss", ["Training and validation loss"]) > 30
    check_run(browser, work / "sweep/refit", "refit")
    # Many, so that the figure of all keys is wider than a sheet.
    keys = ["penalty.0.lambda=0,1", "optimizer.kind=sgd,adam", "model.hidden=8,32", "model.dropout=0,0.2", "train.batch_size=16,32"]
    keys = [argument for key in keys for argument in ("--grid", key)] + ["--set", "train.epochs=1"]
    regulus("sweep", work / "digits.toml", "--sweep-dir", work / "keys", *keys)
    check_sweep(browser, work / "keys", "keys")
    (work / "denoise.toml").write_text(DENOISE)
    regulus("train", work / "denoise.toml", "--run-dir", work / "denoise")
    assert check_run(browser, work / "denoise", "denoise") > 20
    lambdas = ["--grid", "penalty.0.lambda=3,10,30,100", "--set", "train.epochs=2", "--set", "data.train_limit=100"]
    beside = ["Validation, leave-one-out and evidence", "Effective parameters"]
    regulus("sweep", work / "digits.toml", "--sweep-dir", work / "curvature", *lambdas, "--folds", "3", "--set", "data.validation=0", "--curvature")
    check_sweep(browser, work / "curvature", "curvature", "Validation loss", beside)
    for criterion, title in (("evidence", "−log evidence/m"), ("loo", "Leave-one-out loss")):
        regulus("sweep", work / "digits.toml", "--sweep-dir", work / criterion, *lambdas, "--criterion", criterion, "--seeds", "2")
        check_sweep(browser, work / criterion, criterion, title, ["Leave-one-out and evidence"])
    regulus("sweep", work / "digits.toml", "--sweep-dir", work / "path", *lambdas, "--folds", "3", "--set", "data.validation=0", "--path")
    check_sweep(browser, work / "path", "path", "Validation loss")
    plain = [work / f"plain-{seed}" for seed in (1, 2, 3)]
    strong = [work / f"strong-{seed}" for seed in (1, 2, 3)]
    for runs, value in ((plain, 0), (strong, 20)):
        for seed, run in zip((1, 2, 3), runs):
            regulus("train", work / "digits.toml", "--no-report", "--run-dir", run, "--set", f"seed={seed}", "--set", f"penalty.0.lambda={value}")
    check_comparison(browser, [*plain, *strong], work / "compared.html", "compared")
    check_comparison(browser, [work / "long", work / "diverged"], work / "two.html", "two")
    browser.close()
