"""The report as a reader sees it: opened from disk in Chromium, on a phone, on a desk and on paper."""

from __future__ import annotations

import base64
import json
import re
import shutil
from io import BytesIO
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.image import imsave
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

from binn_prob.results import plots, report
from binn_prob.results.compare import compare
from binn_prob.results.posterior import HELD_OUT

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
PHONE, DESK, PAPER = 390, 1280, 688
"""Widths [CSS pixels]; that of paper is A4 without its margins."""

SECTIONS = (
    "Question", "Data and exclusions", "Methods and settings", "Verdicts", "Predictive skill", "Calibration",
    "Known truth", "Agreement with the reference", "Processes and maps", "Convergence", "Cost", "How to reproduce",
)  # fmt: skip

SIZES = {"maps": (1924, 760), "profiles": (930, 1270), "cost": (570, 400)}
"""Sizes of figures that are wide, tall or small [dots]; the others are like most."""

READABLE = 4.5
"""Contrast of text with its background (WCAG 2.2, success criterion 1.4.3, level AA)."""

BOXES = """
const box = (element) => { const b = element.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; };
const all = (selector) => [...document.querySelectorAll(selector)];
"""

CONTRASTS = """
const light = (colour) => {
  const shares = colour.match(/[0-9.]+/g).map((v) => v / 255);
  const [r, g, b] = shares.map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  const colour = getComputedStyle(element).backgroundColor;
  return colour === "rgba(0, 0, 0, 0)" ? behind(element.parentElement) : colour;
};
const found = {};
for (const element of document.querySelectorAll("body *")) {
  if (![...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())) continue;
  const [text, paper] = [getComputedStyle(element).color, behind(element)];
  const [low, high] = [light(text), light(paper)].sort((a, b) => a - b);
  found[`${element.tagName} ${text} on ${paper}`] = (high + 0.05) / (low + 0.05);
}
return found;
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """One Chromium for all tests; without it, or its driver, they are skipped."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("no Chromium with its driver: install chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    yield started
    started.quit()


def picture(name: str) -> bytes:
    """Return a plain picture of the size of a figure."""
    width, height = next((size for kind, size in SIZES.items() if name.startswith(kind)), (1120, 720))
    buffer = BytesIO()
    imsave(buffer, np.full((height, width, 3), 230, dtype=np.uint8), format="png")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def alone(trees):
    """One method without held-out sites and truth, with words that do not fit into a line."""
    tree = trees["vi"].copy(deep=True)
    del tree[HELD_OUT]
    tree["constant_data"] = tree["constant_data"].to_dataset().drop_vars(["true_parameters", "true_processes"])
    tree["observed_data"].attrs["source"] = "https://example.org/" + 150 * "long"
    tree["observed_data"].attrs["exclusions"] = json.dumps({"implausible" + 40 * "_word": 12, "zero SOC": 1})
    return compare({"vi": tree})


@pytest.fixture(scope="module")
def pages(trees, alone, tmp_path_factory):
    """Reports on disk of three methods, of which none has converged, and of one, with a figure of every kind."""
    folder = tmp_path_factory.mktemp("pages")
    by_method = {"chains": "chains_nuts", "energies": "energies_nuts", "maps": "maps_mc_dropout"}
    drawn = {name: picture(name) for name in (by_method.get(kind, kind) for kind in plots.CAPTIONS)}
    drawn["coverage"] = plots.png(plots.coverage_curves(trees))
    command = "binn-prob compare --config " + 30 * "folder/" + "settings.yaml"
    one = {name: drawn[name] for name in ("coverage", "profiles", "losses")}
    return {
        "comparison": report.write(compare(trees, None, "nuts"), folder / "report.html", drawn, command=command),
        "alone": report.write(alone, folder / "alone.html", one),
    }


@pytest.fixture(params=["comparison", "alone"])
def page(request, pages):
    return pages[request.param]


def opened(browser, page, width, *, media="", scheme="light"):
    """Open a page anew at a width."""
    shape = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width == PHONE}
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
    browser.get_log("performance")
    browser.get(page.as_uri())
    return browser


def looked(browser, script):
    return browser.execute_script(BOXES + script)


def requested(browser, page):
    """Return the addresses that a page has asked for, its own first."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return [one["request"]["url"] for one in sent if one["documentURL"] == page.as_uri()]


def test_nothing_is_asked_of_the_network_and_nothing_complained_of(browser, page):
    opened(browser, page, DESK)
    complaints = [entry for entry in browser.get_log("browser") if entry["level"] in ("WARNING", "SEVERE")]
    assert complaints == []
    # The log comes from another process, and may do so after the page.
    itself, *others = WebDriverWait(browser, timeout=20).until(lambda driver: requested(driver, page))
    assert itself == page.as_uri()
    assert {url.partition(":")[0] for url in others} <= {"data"}
    named = looked(browser, "return all('[src], [href]').map((e) => e.getAttribute('src') ?? e.getAttribute('href'))")
    assert {re.match(r"#|data:|", address)[0] for address in named} == {"#", "data:"}


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_the_page_never_scrolls_sideways(browser, page, width):
    opened(browser, page, width)
    size = looked(browser, "const e = document.documentElement; return [innerWidth, e.scrollWidth, e.clientWidth]")
    assert size[0] == width
    assert size[1] <= size[2]


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_what_is_wide_scrolls_in_a_box_that_is_seen_and_reached(browser, page, width):
    opened(browser, page, width)
    boxes = looked(browser, 'return all(".scroll").map((e) => [...box(e), e.tabIndex, e.ariaLabel])')
    assert boxes
    for left, _, right, _, focus, words in boxes:
        assert 0 <= left < right <= width
        assert focus == 0
        assert words
    wide = """return all("body, body *").filter((e) => e.scrollWidth > e.clientWidth + 1 && e.clientWidth)
        .filter((e) => !e.closest(".scroll")).map((e) => e.outerHTML.slice(0, 80))"""
    assert looked(browser, wide) == []


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_every_figure_is_shown_with_words_for_it(browser, page, width):
    opened(browser, page, width)
    images = looked(browser, "return all('img').map((e) => [e.alt, e.naturalWidth, e.naturalHeight, ...box(e)])")
    assert len(images) == (len(plots.CAPTIONS) if page.stem == "report" else 3)
    for alt, *natural, left, top, right, bottom in images:
        assert len(alt) > 30
        assert min(natural) > 0
        assert (right - left) / (bottom - top) == pytest.approx(natural[0] / natural[1], rel=0.02)
        assert right - left <= natural[0], "a figure is not blown up"
        if width == DESK:
            assert right <= width
        else:  # letters of 9 points stay at least as high as 9 pixels, which makes wide figures scroll
            assert (right - left) / natural[0] >= 9 / (9 / 72 * plots.RESOLUTION) * 0.99


def test_no_letters_lie_on_others(browser, page):
    for width in (PHONE, DESK):
        opened(browser, page, width)
        rows = looked(browser, "return all('tr').map((row) => [...row.children].map(box))")
        for left, right in (pair for row in rows for pair in pairwise(row)):
            assert left[2] <= right[0] + 0.5
        blocks = looked(browser, "return [...all('header')[0].children, ...all('main > *')].map(box)")
        for above, below in pairwise(blocks):
            assert above[3] <= below[1] + 0.5
        spilt = "return all('th, td').filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.textContent)"
        assert looked(browser, spilt) == []


def test_sections_stand_in_order_and_the_contents_lead_to_them(browser, page):
    opened(browser, page, PHONE)
    headings = looked(browser, "return all('h2').map((e) => [e.id, e.textContent])")
    expected = [name for name in SECTIONS if name != "Known truth" or page.stem == "report"]
    assert [name for _, name in headings] == expected
    assert looked(browser, "return all('nav a').map((e) => [e.hash.slice(1), e.textContent])") == headings
    for number, (_, name) in enumerate(headings):
        top = looked(browser, f"all('nav a')[{number}].click(); return all('h2')[{number}].getBoundingClientRect().top")
        assert -1 <= top < 844, name
    identifiers = looked(browser, "return all('[id]').map((e) => e.id)")
    assert len(set(identifiers)) == len(identifiers)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(browser, page, scheme):
    opened(browser, page, DESK, scheme=scheme)
    found = browser.execute_script(CONTRASTS)
    assert len(found) > 5
    assert {what: ratio for what, ratio in found.items() if ratio < READABLE} == {}
    paper = looked(browser, "return getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")


def test_on_paper_nothing_is_hidden(browser, page):
    opened(browser, page, PAPER, media="print", scheme="dark")
    assert looked(browser, "return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    ways = looked(browser, "return all('.scroll, pre').map((e) => getComputedStyle(e).overflow)")
    assert set(ways) == {"visible"}
    rights = looked(browser, "return all('img, table, p, li, dd, pre, figcaption').map((e) => box(e)[2])")
    assert max(rights) <= PAPER
    heights = looked(browser, "return all('img').map((e) => e.getBoundingClientRect().height)")
    assert max(heights) <= 297 / 25.4 * 96, "a figure fits on a page"
    together = looked(browser, "return all('figure, tr').map((e) => getComputedStyle(e).breakInside)")
    assert set(together) == {"avoid"}
    repeated = looked(browser, "return all('thead').map((e) => getComputedStyle(e).display)")
    assert set(repeated) == {"table-header-group"}


def test_the_page_prints(browser, page):
    opened(browser, page, DESK)
    paper = {"paperWidth": 210 / 25.4, "paperHeight": 297 / 25.4}
    printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", paper)["data"])
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) > 1
