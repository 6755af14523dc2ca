"""The report: one page that needs nothing else."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from binn_prob.results import report
from binn_prob.results.compare import compare

PICTURE = b"\x89PNG\r\n\x1a\n" + b"\x00" * 8 + (1000).to_bytes(4, "big") + (500).to_bytes(4, "big")
FIGURES = ("observed_predicted", "coverage", "profiles", "marginals", "processes", "chains_nuts", "losses")
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """What a page holds; closing tags must match."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.addresses: list[str] = []
        self.identifiers: list[str] = []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.addresses += [values[name] for name in ("src", "href") if values.get(name)]
        self.identifiers += [values["id"]] if "id" in values else []
        if tag == "img":
            self.images.append(values)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def parsed(text: str) -> Page:
    page = Page()
    page.feed(text)
    page.close()
    assert not page.open
    return page


@pytest.fixture(scope="module")
def comparison(trees):
    return compare(trees, reference="nuts")


@pytest.fixture(scope="module")
def text(comparison):
    return report.render(
        comparison, dict.fromkeys(FIGURES, PICTURE), command="binn-prob compare --config settings.yaml"
    )


def test_every_section_is_there(text):
    assert parsed(text).headings == [
        "Question", "Data and exclusions", "Methods and settings", "Verdicts", "Predictive skill", "Calibration",
        "Known truth", "Agreement with the reference", "Processes and maps", "Convergence", "Cost", "How to reproduce",
    ]  # fmt: skip


def test_nothing_comes_from_elsewhere(text):
    page = parsed(text)
    assert "http:" not in text
    assert "https:" not in text
    assert "<script" not in text
    assert "@import" not in text
    assert not re.search(r"url\(", text)
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert {address[1:] for address in page.addresses if address.startswith("#")} <= set(page.identifiers)


def test_every_figure_is_inside_with_words_for_it(text):
    page = parsed(text)
    assert len(page.images) == len(FIGURES)
    assert {f"figure-{name}" for name in FIGURES} <= set(page.identifiers)
    for image in page.images:
        assert image["src"].startswith("data:image/png;base64,")
        assert len(image["alt"]) > 30


def test_numbers_settings_and_provenance_are_there(text, comparison):
    assert f"{comparison.table.loc['vi', 'held_out_nse']:.3f}" in text
    assert f"{comparison.table.loc['nuts', 'r_hat_max']:.3f}" in text
    for words in ("zero SOC", "a formula", "method.draws", "jax 0.10.2", "f" * 64, "binn-prob compare --config"):
        assert words in text
    assert "2 × 50 (Markov chains)" in text
    assert "nan" not in re.sub(r"base64,[^\"]*", "", text).lower()


def test_wide_things_scroll_in_their_own_box(text):
    assert text.count("<table") == text.count('<div class="scroll" tabindex="0">\n<table')
    assert text.count("<img") == text.count('<div class="scroll" tabindex="0"><img')


def test_a_single_method_without_chains_or_reference(tree_of):
    text = report.render(compare({"vi": tree_of(draws=10)}), {})
    assert "No method was named as the reference" in text
    assert "<strong>VI</strong>: not converged: 50 training steps, too few" in text
    assert "Fit with the settings" in text
    parsed(text)


def test_text_of_the_data_is_not_markup(tree_of):
    tree = tree_of(draws=10)
    tree.children["observed_data"].attrs |= {"source": "<script>alert(1)</script>", "exclusions": "not JSON"}
    tree.attrs |= {"settings": "free text", "device": "<b>"}
    text = report.render(compare({"vi": tree}), {}, command="a && b > c")
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "a &amp;&amp; b &gt; c" in text
    assert "No exclusions are recorded" in text
    parsed(text)
