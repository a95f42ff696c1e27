"""The report as a file, and in a real browser."""

import re
import shutil

import pytest
from playwright.sync_api import sync_playwright

from benchmarks import report
from keras_multi.errors import ResultsError
from tests.benchmarks import fake

HOSTILE = "</script><img src=x onerror=\"alert('x')\"> & {{ 7 * 7 }}"

# A made-up run and its charts, without those that are folded away.
CHARTS = {"run": 19, "full": 31}
FOLDED = {"run": 5, "full": 6}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    runs = {"run": fake.run(reason=HOSTILE), "full": fake.full()}
    for name, run in runs.items():
        report.write(run, folder / f"{name}.html")
    return {name: folder / f"{name}.html" for name in runs}


@pytest.fixture(scope="module")
def path(paths):
    return paths["run"]


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
def open_report(browser, paths):
    """Opens a report; afterwards, nothing was fetched and nothing failed."""
    events, opened, contexts = [], [], []

    def open_(width=1280, scheme="light", name="run"):
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: events.append(message.text))
        page.on("pageerror", lambda error: events.append(str(error)))
        page.on("dialog", lambda dialog: events.append(dialog.message))
        page.on("request", lambda request: events.append(request.url))
        opened.append(paths[name].as_uri())
        page.goto(opened[-1])
        wait_for(page, CHARTS[name])
        return page

    yield open_
    for context in contexts:
        context.close()
    assert events == opened


def wait_for(page, count: int) -> None:
    page.wait_for_function(
        "count => document.querySelectorAll('.plot svg.marks').length "
        "=== count",
        arg=count,
    )


def open_samples(page, name: str) -> None:
    page.locator("#samples summary h2").click()
    wait_for(page, CHARTS[name] + FOLDED[name])


def column(page, place: int) -> list[str]:
    cells = page.locator(f"#table tbody tr:visible td:nth-child({place})")
    return cells.all_inner_texts()


@pytest.mark.parametrize("name", ["run", "full"])
@pytest.mark.parametrize("width", [390, 1280])
def test_every_chart_has_marks_and_fits(open_report, name, width):
    page = open_report(width=width, name=name)
    open_samples(page, name)
    plots = page.locator(".plot")
    assert plots.count() == CHARTS[name] + FOLDED[name]
    for plot in plots.all():
        drawn = plot.locator("svg .role-mark path, svg .role-mark line")
        assert drawn.count() > 0
        widths = plot.evaluate(
            "p => [p.clientWidth, p.querySelector('svg').clientWidth]"
        )
        assert 0.8 * widths[0] < widths[1] <= widths[0] + 1
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_no_text_of_a_chart_is_cut_or_overlaps(open_report):
    page = open_report(width=390, name="full")
    open_samples(page, "full")
    found = page.evaluate(
        """() => {
          const bad = [];
          for (const svg of document.querySelectorAll(".plot svg.marks")) {
            const frame = svg.getBoundingClientRect();
            const texts = Array.from(svg.querySelectorAll("text"))
              .filter((text) => text.getAttribute("opacity") !== "0")
              .map((text) => [text.textContent, text.getBoundingClientRect()])
              .filter(([text, box]) => text && box.width > 0);
            texts.forEach(([text, a], i) => {
              if (a.left < frame.left - 1 || a.right > frame.right + 1)
                bad.push(`cut: ${text}`);
              for (const [other, b] of texts.slice(i + 1)) {
                const [left, top] = [a.left, a.top].map((x, i) =>
                  Math.max(x, [b.left, b.top][i]));
                if (Math.min(a.right, b.right) - left > 1 &&
                    Math.min(a.bottom, b.bottom) - top > 3)
                  bad.push(`${text} over ${other}`);
              }
            });
          }
          return bad;
        }"""
    )
    assert found == []


def test_marks_are_those_of_the_cells(open_report):
    page = open_report()
    # A mark per cell: six medians and six intervals.
    first = page.locator(".plot").first
    assert first.locator(".mark-symbol.role-mark path").count() == 6
    assert first.locator(".mark-rule.role-mark line").count() == 6


def test_table_sorts_by_number_with_failed_cells_last(open_report):
    page = open_report()
    heading = page.locator("#table").get_by_role(
        "columnheader", name="ms per step"
    )
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


def test_selects_narrow_the_table_beside_the_filter(open_report):
    page = open_report()
    page.get_by_role("combobox", name="Workload").select_option("dcn_train")
    assert set(column(page, 1)) == {"dcn_train"}
    page.get_by_role("combobox", name="Backend").select_option("torch")
    page.get_by_role("combobox", name="Precision").select_option(
        "mixed_bfloat16"
    )
    page.get_by_label("Filter").fill("4096")
    assert page.get_by_role("status").inner_text() == "1 of 30 rows"
    assert column(page, 3) == ["torch"]
    page.get_by_role("combobox", name="Backend").select_option("all")
    assert len(column(page, 3)) == 3


def test_a_select_with_nothing_to_select_is_left_out(tmp_path):
    path = tmp_path / "report.html"
    report.write(fake.interrupted(), path)
    text = path.read_text()
    assert re.findall(r'<select data-column="(\d)"', text) == ["2", "3"]


def test_print_is_black_on_white_and_fits_the_page(open_report):
    page = open_report(scheme="dark", name="full")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 720, "height": 1000})
    assert (
        page.evaluate("getComputedStyle(document.body).backgroundColor")
        == "rgb(255, 255, 255)"
    )
    assert not page.locator("label.filter").first.is_visible()
    for plot in page.locator(".plot:visible").all():
        right = plot.locator("svg.marks").evaluate(
            "svg => svg.getBoundingClientRect().right"
        )
        assert right <= 720
    assert page.pdf()[:5] == b"%PDF-"


def test_an_incomplete_run_says_so_at_the_top(tmp_path):
    path = tmp_path / "report.html"
    report.write(fake.interrupted(), path)
    text = path.read_text()
    told = text.index("This run is not complete")
    assert told < text.index("<h2>Summary</h2>")
    assert (
        "1 of 3 workloads are finished; missing: dcn_predict, cnn.py:build."
        in text
    )
    report.write(fake.full(), path)
    assert "not complete" not in path.read_text()


def test_environment_tells_what_is_known_of_the_machine(paths):
    full, plain = paths["full"].read_text(), paths["run"].read_text()
    for part in (
        "2,600 MHz",
        "0, 1 (2 threads)",
        "NVIDIA A10G",
        "550.54",
        "1,710 MHz",
        "RAPL + NVML",
    ):
        assert part in full
    assert "not available on this machine" in plain
    assert "accelerator clock" not in plain


def test_reasons_are_text(open_report):
    page = open_report()
    assert page.locator("img").count() == 0
    assert HOSTILE in page.locator("#failures").inner_text()
    assert HOSTILE in page.locator("#table .failed").inner_text()


@pytest.mark.parametrize("width", [390, 1280])
def test_page_never_scrolls_sideways(open_report, width):
    page = open_report(width=width)
    page.locator("#samples summary h2").click()
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
