"""Makes the pictures of the README and of the manual: figures of real reports.

    pip install playwright            # it uses an installed Chromium; `playwright install chromium` gets one
    cargo build --release
    python3 docs/pictures.py target/release/regulus

1,000 images of MNIST that are inside the program, 20 epochs: a run with λ = 6, and a sweep of 9 λ by 5 folds.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

REGULUS, DOCS = Path(sys.argv[1]).resolve(), Path(__file__).resolve().parent
CONFIG = """
name = "digits"
[data]
source = "mnist_mini"
train_limit = 1000
validation = 0.2
[[penalty]]
kind = "l2"
lambda = 6
[schedule]
kind = "cosine"
[train]
epochs = 20
"""


def regulus(*arguments):
    subprocess.run([REGULUS, *map(str, arguments)], check=True)


def figure(page, title):
    """The figure whose caption begins with this."""
    return page.locator("figure").filter(has=page.get_by_text(title, exact=True)).first


with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
    work = Path(folder)
    (work / "digits.toml").write_text(CONFIG)
    regulus("train", work / "digits.toml", "--run-dir", work / "run")
    sweep = ["--folds", "5", "--grid", "penalty.0.lambda=0.1,0.3,1,3,6,10,20,40,100", "--rule", "one-standard-error"]
    regulus("sweep", work / "digits.toml", "--unset", "data.validation", "--sweep-dir", work / "sweep", *sweep)
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
    page = browser.new_page(viewport={"width": 1100, "height": 900}, device_scale_factor=2, color_scheme="light")
    for report, title, name in ((work / "run", "Data loss", "run"), (work / "sweep", "Difference to the lowest validation loss", "sweep")):
        page.goto((report / "report.html").as_uri())
        figure(page, title).screenshot(path=DOCS / f"{name}.png")
    browser.close()
