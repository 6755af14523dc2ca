"""The report: one page that needs nothing else."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from binn_prob.results import plots, report
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
    for words in ("zero SOC", "a formula", "width 16", "jax 0.10.2", "f" * 64, "binn-prob compare --config"):
        assert words in text
    assert "2 × 50 (Markov chains)" in text
    assert "nan" not in re.sub(r"base64,[^\"]*", "", text).lower()


def test_wide_things_scroll_in_their_own_box(text):
    inside = re.findall(r'<div class="scroll" tabindex="0"[^>]*>\s*<(\w+)', text)
    assert inside.count("table") == text.count("<table")
    assert inside.count("img") == text.count("<img")


def test_who_has_not_converged_is_marked_wherever_numbers_stand(text, comparison):
    unconverged = [plots.label(name) for name, verdict in comparison.verdicts().items() if not verdict.converged]
    assert "NUTS" in unconverged
    headers = re.findall(r'<th scope="col">(NUTS.*?)</th>', text)
    assert len(headers) >= 6
    assert set(headers) == {'NUTS <span class="mark">not converged</span>'}
    for caption in re.findall(r"<figcaption>.*?</figcaption>", text):
        assert "Not converged:" in caption
    assert "NUTS has not converged: what follows" in text


def test_numbers_are_printed_as_in_a_paper(text):
    assert "RMSE (g\u00a0C\u00a0m⁻³)" in text
    assert "90\u00a0% intervals hold" in text
    words = re.sub(r"<style>.*?</style>|base64,[^\"]*|<[^>]*>", "", text, flags=re.DOTALL)
    assert not re.search(r"\s-\d|\d%|\w_\w", words.replace("binn_prob", ""))


def test_markdown_has_the_same_sections_aligned_tables_and_figures_beside_it(comparison, text):
    written = report.render(comparison, dict.fromkeys(FIGURES, PICTURE), template="report.md.jinja")
    assert re.findall(r"^## (.*)$", written, re.MULTILINE) == parsed(text).headings
    tables = re.findall(r"(?:^\|.*\n)+", written, re.MULTILINE)
    assert len(tables) == text.count("<table")
    for table in tables:
        header, rule, *rows = table.splitlines()
        assert re.fullmatch(r"\| -{3,}( \| -{2,}:)+ \|", rule)
        bars = [[place for place, letter in enumerate(line) if letter == "|"] for line in (header, rule, *rows)]
        assert all(found == bars[0] for found in bars)
    links = re.findall(r"!\[[^\]]{30,}\]\(figures/(\w+)\.png\)", written)
    assert sorted(links) == sorted(FIGURES)
    assert "NUTS (not converged)" in written


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
