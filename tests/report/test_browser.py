"""The gallery in a real Chromium: what a person does with it, and what hostile answers cannot do."""

import importlib.resources
import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from PIL import Image

from qubrid_cli.report.gallery import Gallery
from qubrid_cli.report.pictures import PictureStore, name_folder
from qubrid_cli.report.results import Results

from ..conftest import Qvision, command, environment
from ..support.results import line, write

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, Request
    from playwright.sync_api._generated import LocatorAssertions

COUNT = 200
HOSTILE = [
    '<img src=x onerror="window.harmed = 1">',
    "[x](javascript:window.harmed=1) [y](https://example.org/) ![z](http://evil.example/z.png)",
    "</script><script>window.harmed = 1</script><!--",
    '<svg onload="window.harmed = 1"><style>@import url(http://evil.example/x.css)</style>',
    '"><iframe srcdoc="<script>parent.harmed = 1</script>"></iframe>{{ 7 * 7 }}',
]
BOXES = {"objects": [{"label": HOSTILE[0], "box": [0, 0, 32, 24]}, {"label": "half", "box": [32, 0, 64, 48]}]}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
#: What no page may do: each is recorded by the browser.
WATCH = "window.violations = []; addEventListener('securitypolicyviolation', (event) => violations.push(event.violatedDirective));"


def expect(locator: "Locator") -> "LocatorAssertions":
    """Playwright's own, which takes half a second to load: not in each process that collects tests."""
    from playwright.sync_api import expect

    return expect(locator)


def make_results(folder: Path) -> Path:
    """200 images with 204 answers: hostile ones, a failure, a cut-off one, boxes, verdicts, two models."""
    lines = []
    for number in range(COUNT):
        name = f"{number:03}.png"
        if number < len(HOSTILE):
            name = HOSTILE[number].replace("/", "") + name
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (64, 48), (number, 100, 150)).save(folder / name)
        figures = {"ttft_seconds": 0.1 + number / 1000, "tps": 40.0, "total_time_seconds": 1.0 + number / 100}
        changes = {"usage": {"prompt_tokens": 100, "completion_tokens": number}, "x_metrics": figures}
        image = [{"source": name, "sha256": None, "format": "PNG", "width": 64, "height": 48, "bytes": 9, "page": None}]
        common = {**changes, "images": image, "created": f"2026-11-01T10:{number // 60:02}:{number % 60:02}Z"}
        lines.append(line(name, index=number, **{"text": make_text(number), **common, **make_special(number)}))
        if number in {20, 21, 22, 23}:
            lines.append(line(name, text="another", model="other", key=f"other {number}", index=number, **common))
    return write(folder / "results.jsonl", *lines)


def make_text(number: int) -> str:
    return HOSTILE[number] if number < len(HOSTILE) else f"A **café** by the sea, number {number}."


def make_special(number: int) -> dict[str, object]:
    match number:
        case 10:
            return {"error": "the endpoint is <b>gone</b>", "text": ""}
        case 11:
            return {"ok": False, "complete": False, "error": None}
        case 12:
            return {"data": BOXES, "text": json.dumps(BOXES)}
        case 13 | 14:
            verdict = {
                "answer": "yes" if number == 13 else "no",
                "probability": number / 20,
                "reason": "r",
                "by": "logprobs",
            }
            return {"data": verdict, "text": json.dumps(verdict)}
        case 15:
            return {"data": {"tags": ["sea", HOSTILE[0]]}, "text": "{}"}
    return {}


@dataclass
class Watched:
    """A page, and what it did that it must not do."""

    page: "Page"
    faults: list[str] = field(default_factory=list)

    def check(self) -> None:
        assert self.faults == []
        assert self.page.evaluate("[window.harmed ?? null, violations]") == [None, []]


@contextmanager
def watched(browser: "Browser", url: str) -> Iterator[Watched]:
    """Open a page; it may load only itself, and what is beside it."""
    # Without animations: a dialog that appears has less contrast.
    context = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    page = context.new_page()
    page.add_init_script(WATCH)
    result = Watched(page)

    def check_request(request: "Request") -> None:
        if not request.url.startswith(("data:", url.rpartition("/")[0] + "/")):
            result.faults.append(request.url)

    page.on("console", lambda message: result.faults.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: result.faults.append(str(error)))
    page.on("dialog", lambda dialog: dialog.dismiss())
    page.on("request", check_request)
    page.goto(url)
    yield result
    result.check()
    context.close()


@pytest.fixture(scope="module")
def gallery_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with its pictures in it."""
    return make_page(tmp_path_factory.mktemp("gallery"), limit=1e9)


def make_page(folder: Path, *, limit: float) -> Path:
    path = folder / "gallery.html"
    with Results([str(make_results(folder))], in_list_order=True) as results:
        store = PictureStore(name_folder(path), limit)
        path.write_bytes(Gallery(results, store, title="results.jsonl").render())
    return path


@pytest.fixture
def opened(browser: "Browser", gallery_file: Path) -> "Iterator[Page]":
    with watched(browser, gallery_file.as_uri()) as result:
        yield result.page


def test_search_filters_and_order_narrow_and_arrange_the_cards(opened: "Page") -> None:
    cards, count = opened.locator(".card"), opened.locator("#count")
    expect(cards).to_have_count(COUNT)
    opened.keyboard.press("/")
    opened.keyboard.type("CAFE 177")
    expect(count).to_have_text("1 of 200 images")
    expect(cards).to_have_count(1)
    opened.keyboard.press("Escape")
    expect(count).to_have_text("200 images")
    for name, value, hits in (
        ("State", "failed", 1),
        ("State", "incomplete", 1),
        ("Answer", "yes", 1),
        ("Model", "other", 4),
        ("Tag", "sea", 1),
    ):
        opened.get_by_role("combobox", name=name).select_option(value)
        expect(cards).to_have_count(hits)
        opened.get_by_role("combobox", name=name).select_option("")
    opened.get_by_role("combobox", name="Sort by").select_option(label="tokens")
    expect(cards.first.locator(".name")).to_have_text("199.png")
    opened.get_by_role("button", name="Reverse the order").click()
    expect(cards.first.locator(".name")).to_contain_text(HOSTILE[0].replace("/", ""))


def test_a_card_opens_and_closes_by_the_keyboard_alone(opened: "Page") -> None:
    opened.keyboard.press("ArrowRight")
    for _ in range(2):
        opened.keyboard.press("ArrowDown")
    opened.keyboard.press("ArrowUp")
    opened.keyboard.press("Enter")
    viewer = opened.get_by_role("dialog")
    expect(viewer.get_by_role("heading", level=2)).to_have_text("005.png")
    expect(viewer.locator(".text strong")).to_have_text("café")
    expect(viewer.locator(".pairs")).to_contain_text("Time to first token0.105 s (by the server)")
    opened.keyboard.press("ArrowRight")
    expect(viewer.get_by_role("heading", level=2)).to_have_text("006.png")
    opened.keyboard.press("Escape")
    expect(viewer).to_have_count(0)
    expect(opened.locator(".card:focus-within .name")).to_have_text("006.png")


def test_the_answer_is_the_alternative_text_of_its_thumbnail(opened: "Page") -> None:
    expect(opened.get_by_role("img", name="A café by the sea, number 30.", exact=True)).to_be_visible()
    expect(opened.get_by_role("img", name="m: A café by the sea, number 20. other: another", exact=True)).to_have_count(
        1
    )


def test_answers_of_two_models_stand_side_by_side(opened: "Page") -> None:
    opened.locator(".card", has_text="020.png").click()
    first, second = opened.get_by_role("article").all()
    left, right = measure(first), measure(second)
    assert left[1] == right[1]
    assert left[0] + left[2] <= right[0]
    expect(second.get_by_role("heading")).to_have_text("other")


def measure(element: "Locator") -> tuple[float, float, float, float]:
    """Left, top, width and height."""
    box = element.bounding_box()
    assert box is not None
    return box["x"], box["y"], box["width"], box["height"]


def test_boxes_are_drawn_where_the_data_says(opened: "Page") -> None:
    opened.locator(".card", has_text="012.png").click()
    x, _, width, height = measure(opened.locator(".shown img"))
    box = measure(opened.locator(".box").nth(1))
    shares = [(box[0] - x) / width, box[2] / width, box[3] / height]
    assert shares == pytest.approx([0.5, 0.5, 1], abs=0.02)
    opened.get_by_role("button", name="2 boxes").click()
    expect(opened.locator(".box").first).to_be_hidden()


def test_hostile_texts_are_only_shown(opened: "Page") -> None:
    for number, text in enumerate([*HOSTILE, *HOSTILE[:1] * 2], 1):
        place = {6: 12, 7: 15}.get(number, number - 1)
        opened.locator(".card .open").nth(place).click()
        dialog = opened.get_by_role("dialog")
        assert text.split("(")[0] in dialog.inner_text()
        links = dialog.locator(".answers a").evaluate_all("(all) => all.map((a) => [a.href, a.rel])")
        assert links == ([["https://example.org/", "noopener noreferrer"]] if "example.org" in text else [])
        opened.keyboard.press("Escape")
    opened.get_by_role("combobox", name="Tag").select_option(HOSTILE[0])


def test_axe_finds_nothing_that_keeps_people_out(opened: "Page") -> None:
    load_axe(opened)
    opened.get_by_label("Search").fill("1")
    opened.get_by_role("combobox", name="Answer").select_option("yes")
    for scheme in SCHEMES:
        opened.emulate_media(color_scheme=scheme)
        assert find_violations(opened) == []
        opened.keyboard.press("Escape")
        opened.locator(".card .open").first.click()
        assert find_violations(opened) == []
        opened.keyboard.press("Escape")


def test_the_page_of_a_benchmark_runs_nothing_and_keeps_no_one_out(
    browser: "Browser", qvision: Qvision, tmp_path: Path
) -> None:
    name = f"{HOSTILE[0]}.png"
    Image.new("RGB", (64, 48), "teal").save(tmp_path / name)
    (tmp_path / "labels.jsonl").write_text(json.dumps({"image": name, "expected": HOSTILE[2]}))
    asking = ("bench", "--labels", "labels.jsonl", HOSTILE[3], "--offline", "-n", 1)
    assert qvision(*asking, "-o", "bench.html").exit_code == 0
    with watched(browser, (tmp_path / "bench.html").as_uri()) as result:
        load_axe(result.page)
        expect(result.page.get_by_role("heading", name=name)).to_be_visible()
        for scheme in SCHEMES:
            result.page.emulate_media(color_scheme=scheme)
            assert find_violations(result.page) == []


def load_axe(page: "Page") -> None:
    page.evaluate((importlib.resources.files("axe_playwright_python") / "axe.min.js").read_text("utf-8"))


def find_violations(page: "Page") -> list[str]:
    run = "axe.run().then((found) => found.violations.map((it) => `${it.id}: ${it.nodes.map((node) => node.html).slice(0, 3)}`))"
    violations: list[str] = page.evaluate(run)
    return violations


def test_a_phone_shows_the_page_without_scrolling_it_sideways(opened: "Page") -> None:
    opened.set_viewport_size({"width": 390, "height": 844})
    assert opened.evaluate("document.documentElement.scrollWidth") == 390


def test_all_cards_are_printed(opened: "Page") -> None:
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened.evaluate("document.querySelectorAll('.card img[loading=eager]').length") == COUNT


def test_pictures_beside_the_page_are_shown(browser: "Browser", tmp_path: Path) -> None:
    path = make_page(tmp_path, limit=0)
    assert len(list((tmp_path / "gallery_files").iterdir())) >= COUNT
    with watched(browser, path.as_uri()) as result:
        image = result.page.locator(".card img").first
        expect(image).to_have_js_property("complete", value=True)
        expect(image).to_have_js_property("naturalWidth", value=64)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Starts ``report --serve``; returns the address."""
    running: list[subprocess.Popen[str]] = []

    def start() -> str:
        results = make_results(tmp_path)
        argv = command("report", results, "--serve", "--list-order", "--quiet")
        running.append(
            subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment(), start_new_session=True)
        )
        assert running[0].stdout is not None
        return running[0].stdout.readline().strip()

    yield start
    for process in running:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stdout is not None
        process.stdout.close()


def test_a_correction_is_saved_beside_the_results(
    browser: "Browser", served: Callable[[], str], tmp_path: Path
) -> None:
    url = served()
    before = (tmp_path / "results.jsonl").read_bytes()
    with watched(browser, url) as result:
        page = result.page
        page.locator(".card", has_text="005.png").first.click()
        page.get_by_label("Correction").fill("A café, corrected.")
        page.get_by_label("Mark as bad").check()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_text("Saved", exact=True)).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator(".card:focus-within")).to_contain_text("A café, corrected.")
        page.reload()
        page.get_by_role("combobox", name="State").select_option("marked as bad")
        expect(page.locator(".card")).to_have_count(1)
    (correction,) = map(json.loads, (tmp_path / "corrections.jsonl").read_text("utf-8").splitlines())
    assert {name: correction[name] for name in ("key", "text", "bad")} == {
        "key": "key of 005.png",
        "text": "A café, corrected.",
        "bad": True,
    }
    assert (tmp_path / "results.jsonl").read_bytes() == before
