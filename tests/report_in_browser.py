"""Opens reports and a comparison in Chromium: they ask for nothing, the console is silent, and their numbers are those of `summary.json` and `study.json`.

    pip install playwright            # it uses an installed Chromium; `playwright install chromium` gets one
    cargo build --release
    python3 tests/report_in_browser.py target/release/regulus [FOLDER FOR SCREENSHOTS]

Chromium is the program in the environment variable CHROMIUM, one of that name in the path, or the one that playwright has installed. Pages are opened as files, at the
width of a phone and of a desktop, in light and dark, and printed.
"""

import json
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


def is_of_summary(key):
    return not key.startswith(("evaluation.", "class.", "confusion.", "confident_mistakes.", "highest_losses.", "picture."))


def check_page(browser, path, name):
    """Opens a report in every way. Returns its numbers."""
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
            values = numbers(page)
            context.close()
    page = browser.new_page()
    page.goto(path.resolve().as_uri())
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF")
    if SCREENSHOTS:
        (SCREENSHOTS / f"{name}.pdf").write_bytes(pdf)
    page.close()
    assert not problems, problems
    return values


def check_run(browser, run, name):
    values = check_page(browser, run / "report.html", name)
    summary = json.loads((run / "summary.json").read_text())
    own = {key: value for key, value in values.items() if is_of_summary(key)}
    checked = check_numbers(own, summary)
    evaluation = json.loads((run / "evaluation.json").read_text()) if (run / "evaluation.json").exists() else {}
    if evaluation:
        measured = {"confident_mistakes": evaluation["confident_mistakes"], "highest_losses": evaluation["highest_losses"]}
        measured["class"] = evaluation["classification"]["classes"]
        measured["picture"] = evaluation["pictures"]
        measured["evaluation"] = evaluation["classification"]
        rest = {key: value for key, value in values.items() if not is_of_summary(key) and not key.startswith("confusion.")}
        checked += check_numbers(rest, measured)
    print(f"{name}: {checked} numbers agree, {len((run / 'report.html').read_bytes()) / 1e3:.0f} kB")
    return checked


def check_sweep(browser, sweep, name):
    values = check_page(browser, sweep / "report.html", name)
    study = json.loads((sweep / "study.json").read_text())
    trials = {key: value for key, value in values.items() if key.startswith("trials.")}
    checked = check_numbers(trials, study["trials"], "trials.")
    refit = {key: value for key, value in values.items() if key.startswith("refit.")}
    checked += check_numbers(refit, study["refit"], "refit.")
    of_refit = ("best.", "last.", "train.", "validation.", "test.")
    checked += check_numbers({key: value for key, value in values.items() if key.startswith(of_refit)}, study["refit"])
    assert values["chosen.mean"][0] == study["trials"][study["chosen"]]["mean"]
    assert values["seconds"][0] == study["seconds"]
    print(f"{name}: {checked} numbers agree, {len((sweep / 'report.html').read_bytes()) / 1e3:.0f} kB")
    return checked


def check_comparison(browser, runs, path, name):
    lines = [json.loads(line) for line in regulus("compare", *runs, "--html", path, "--json").splitlines()]
    values = check_page(browser, path, name)
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
    assert check_sweep(browser, work / "sweep", "sweep") > 30
    check_run(browser, work / "sweep/refit", "refit")
    regulus("sweep", work / "digits.toml", "--sweep-dir", work / "keys", *grid, "--grid", "optimizer.kind=sgd,adam", "--grid", "model.hidden=8,32")
    check_sweep(browser, work / "keys", "keys")
    plain = [work / f"plain-{seed}" for seed in (1, 2, 3)]
    strong = [work / f"strong-{seed}" for seed in (1, 2, 3)]
    for runs, value in ((plain, 0), (strong, 20)):
        for seed, run in zip((1, 2, 3), runs):
            regulus("train", work / "digits.toml", "--no-report", "--run-dir", run, "--set", f"seed={seed}", "--set", f"penalty.0.lambda={value}")
    check_comparison(browser, [*plain, *strong], work / "compared.html", "compared")
    check_comparison(browser, [work / "long", work / "diverged"], work / "two.html", "two")
    browser.close()
