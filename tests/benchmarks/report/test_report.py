"""The report as a file, and in a real browser."""

import re
import shutil

import pytest
from playwright.sync_api import sync_playwright

from benchmarks import report
from keras_multi.errors import ResultsError
from tests.benchmarks import fake

HOSTILE = "</script><img src=x onerror=\"alert('x')\"> & {{ 7 * 7 }}"
CHARTS = 12


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    report.write(fake.run(reason=HOSTILE), path)
    return path


@pytest.fixture(scope="module")
def browser():
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next(filter(None, map(shutil.which, names)), None)
    if executable is None:
        pytest.skip("needs Chromium: apt-get install -y chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable,
            args=["--no-sandbox", "--disable-gpu"],
        )
        yield browser
        browser.close()


@pytest.fixture
def open_report(browser, path):
    """Opens the report; afterwards, nothing was fetched and nothing failed."""
    events, contexts = [], []

    def open_(width=1280, scheme="light"):
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: events.append(message.text))
        page.on("pageerror", lambda error: events.append(str(error)))
        page.on("dialog", lambda dialog: events.append(dialog.message))
        page.on("request", lambda request: events.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_function(
            "count => document.querySelectorAll('.plot svg.marks').length "
            "=== count",
            arg=CHARTS,
        )
        return page

    yield open_
    for context in contexts:
        context.close()
    assert events == [path.as_uri()] * len(contexts)


def column(page, place: int) -> list[str]:
    cells = page.locator(f"#table tbody tr:visible td:nth-child({place})")
    return cells.all_inner_texts()


def test_charts_are_drawn(open_report):
    page = open_report()
    assert page.locator(".plot").count() == CHARTS
    # A mark per cell: six medians and six intervals.
    first = page.locator(".plot").first
    assert first.locator(".mark-symbol.role-mark path").count() == 6
    assert first.locator(".mark-rule.role-mark line").count() == 6


def test_table_sorts_by_number_with_failed_cells_last(open_report):
    page = open_report()
    heading = page.get_by_role("columnheader", name="ms per step")
    for direction, reverse in (("ascending", False), ("descending", True)):
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == direction
        texts = column(page, 6)
        assert texts.pop().startswith("failed")
        values = [float(text.split()[0].replace(",", "")) for text in texts]
        assert values == sorted(values, reverse=reverse)
    page.get_by_role("button", name="backend").click()
    assert heading.get_attribute("aria-sort") is None
    assert column(page, 3) == sorted(column(page, 3))


def test_table_filters_by_every_word(open_report):
    page = open_report()
    box = page.get_by_label("Filter")
    box.fill("torch  FLOAT32 4096")
    assert set(column(page, 3)) == {"torch"}
    assert set(column(page, 4)) == {"float32"}
    assert set(column(page, 2)) == {"4096"}
    assert page.get_by_role("status").inner_text() == "2 of 30 rows"
    box.fill("no such cell")
    assert column(page, 1) == []
    box.fill("")
    assert len(column(page, 1)) == 30


def test_reasons_are_text(open_report):
    page = open_report()
    assert page.locator("img").count() == 0
    assert HOSTILE in page.locator("#failures").inner_text()
    assert HOSTILE in page.locator("#table .failed").inner_text()


@pytest.mark.parametrize("width", [390, 1280])
def test_page_never_scrolls_sideways(open_report, width):
    page = open_report(width=width)
    page.locator("#samples summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_dark_and_light_follow_the_reader(open_report):
    page = open_report(scheme="dark")
    label = page.locator(".plot .role-axis-label text").first

    def colours() -> list[str]:
        return [
            page.evaluate("getComputedStyle(document.body).backgroundColor"),
            label.evaluate("element => getComputedStyle(element).fill"),
        ]

    def light(colour: str) -> bool:
        return sum(map(int, re.findall(r"\d+", colour)[:3])) > 3 * 127

    assert [light(colour) for colour in colours()] == [False, True]
    page.emulate_media(color_scheme="light")
    assert [light(colour) for colour in colours()] == [True, False]


def test_file_holds_the_libraries_once_and_no_address_to_load(path):
    text = path.read_text()
    assert text.count("window.vegaEmbed=") == 1
    assert text.count("</script>") == text.count("<script>") == 2
    markup = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"<[^>]*\b(src|href)=|url\(|@import", markup)


def test_file_holds_samples_and_environment(path):
    text = path.read_text()
    run = fake.run()
    sample = run.cells[0].measurements[0].timing.samples[3]
    assert f"{sample * 1000:.4g} " in text
    for part in ("AMD EPYC 9R14", "16.0 GiB", "3.15.1", "0123abc"):
        assert part in text


def test_a_run_without_figures_still_makes_a_report(tmp_path):
    run = fake.run()
    for cells in (
        [],
        [
            cell.model_copy(update={"status": "failed", "measurements": []})
            for cell in run.cells
        ],
    ):
        path = tmp_path / "report.html"
        report.write(run.model_copy(update={"cells": cells}), path)
        assert "<h1>keras-multi benchmark</h1>" in path.read_text()


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match="cannot write"):
        report.write(fake.run(), tmp_path / "file" / "report.html")
