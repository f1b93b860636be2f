"""The review page in a real browser: keys, views, crosshair, marks and their export; and that it asks for nothing."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from browsing import Tab, browser_tab
from lichen.audit import Finding
from lichen.audit.reviewed import Marked, audit_digest, read_marks
from lichen.palette import class_colours
from lichen.report.review import Pair, packed, review_page, write_review

EVIL = "<img src=x onerror='window.wasHere=1'></script><script>window.wasHere=1</script><!-- \ud800"
ARROWS = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}


def images(shape: tuple[int, ...], seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def pairs(shape: tuple[int, ...], count: int = 4) -> list[Pair]:
    return [
        Pair(
            number=number,
            file=f"sample-{number}.png",
            patient=f"patient-{number:012x}",
            image=f"image-{number:012x}",
            scores={"aligned": 0.5, "pearson": None},
            p_value=0.01 * number,
            is_flagged=number < 3,
            is_identical=False,
            transform="mirrored",
            synthetic=images(shape, number),
            training=images(shape, 100 + number),
            aligned=images(shape, 200 + number),
        )
        for number in range(1, count + 1)
    ]


def findings(shown: list[Pair]) -> list[Finding]:
    return [
        Finding(pair.file, pair.scores, pair.p_value, pair.is_flagged, False, "aligned", f"t{pair.number}", "p")
        for pair in shown
    ]


def digest(shown: list[Pair]) -> str:
    return audit_digest(findings(shown), {"train": "x"})


def page_of(folder: Path, shown: list[Pair], **options: Any) -> Path:
    return write_review(folder, review_page(shown, digest(shown), **options))


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    folder = tmp_path_factory.mktemp("review")
    with browser_tab(folder / "profile") as opened:
        opened.send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        yield opened


def press(tab: Tab, *keys: str) -> None:
    for key in keys:
        text = {"text": key} if len(key) == 1 else {}
        for kind in ("keyDown", "keyUp"):
            code = ARROWS.get(key, ord(key[0].upper()))
            tab.send("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text)


def until(tab: Tab, condition: str) -> None:
    before = time.monotonic()
    while not tab.run(condition):
        assert time.monotonic() - before < 20, condition
        time.sleep(0.02)


def opened(tab: Tab, page: Path) -> None:
    tab.open(page)
    until(tab, "document.querySelector('canvas').width > 1 && !document.getElementById('review').hidden")
    until(tab, f"{pixels(0)}.some((value) => value > 0)")


def pixels(number: int) -> str:
    """JavaScript for all bytes of a canvas: red, green, blue and opacity of each pixel."""
    return (
        f"(() => {{ const canvas = document.querySelectorAll('canvas')[{number}]; return Array.from("
        "canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data); })()"
    )


def canvas(tab: Tab, number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """(H, W, 4)."""
    width, height = tab.run(f"(({{width, height}}) => [width, height])(document.querySelectorAll('canvas')[{number}])")
    return np.array(tab.run(pixels(number)), np.uint8).reshape(height, width, 4)


def grey(image: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> np.ndarray[Any, Any]:
    return (image + 1) * 127.5


def test_the_page_shows_the_very_pixels_and_hides_what_the_synthetic_image_does_not_reach(
    tab: Tab, tmp_path: Path
) -> None:
    shown = pairs((1, 12, 9))
    shown[0].aligned[0, :3] = np.nan
    opened(tab, page_of(tmp_path, shown))
    for number, image in ((0, shown[0].synthetic), (1, shown[0].training)):
        np.testing.assert_allclose(canvas(tab, number)[..., 0], grey(image[0]), atol=1.1)
        assert (canvas(tab, number)[..., 3] == 255).all()
    press(tab, "2")
    np.testing.assert_allclose(canvas(tab, 0)[3:, :, 1], grey(shown[0].aligned[0, 3:]), atol=1.1)
    assert (canvas(tab, 0)[:3, :, 3] == 0).all()
    press(tab, "n")
    until(tab, "document.getElementById('pair-number').innerText === 'Pair 2 of 4'")
    until(tab, f"Math.abs({pixels(1)}[0] - {grey(shown[1].training[0, 0, 0])}) < 1.1")
    np.testing.assert_allclose(canvas(tab, 0)[..., 2], grey(shown[1].aligned[0]), atol=1.1)


def test_the_difference_is_black_where_both_are_equal_and_coloured_by_who_is_brighter(tab: Tab, tmp_path: Path) -> None:
    shown = pairs((1, 6, 6), 1)
    shown[0].training[:] = 0.0
    shown[0].aligned[:] = 0.0
    shown[0].aligned[0, 0], shown[0].aligned[0, 1] = 0.3, -0.3
    opened(tab, page_of(tmp_path, shown))
    press(tab, "3")
    drawn = canvas(tab, 0)
    assert (drawn[2:, :, :3] == 0).all()
    assert (drawn[0, :, 0] > drawn[0, :, 2]).all()
    assert (drawn[1, :, 2] > drawn[1, :, 0]).all()
    assert (drawn[0, :, 0] == 76).all()  # 2 * 38 of 127 steps


def test_blinking_changes_between_the_two_images_by_itself_and_by_hand(tab: Tab, tmp_path: Path) -> None:
    shown = pairs((1, 8, 8), 1)
    opened(tab, page_of(tmp_path, shown))
    press(tab, "b")
    aligned, training = (round(float(grey(image[0, 0, 0]))) for image in (shown[0].aligned, shown[0].training))
    assert abs(aligned - training) > 4
    for expected in (training, aligned):
        until(tab, f"Math.abs({pixels(0)}[0] - {expected}) < 2")
    press(tab, " ")  # from now on by hand
    before = canvas(tab, 0)
    time.sleep(0.9)
    assert (canvas(tab, 0) == before).all()
    press(tab, " ")
    assert (canvas(tab, 0) != before).any()
    press(tab, " ")
    assert (canvas(tab, 0) == before).all()


def test_marks_made_by_keys_are_exported_and_read_back(tab: Tab, tmp_path: Path) -> None:
    shown = pairs((1, 8, 8))
    shown[1] = replace(shown[1], file=EVIL)
    opened(tab, page_of(tmp_path, shown))
    press(tab, "c", "n", "x", "n", "u", "n", "c", "c")
    assert tab.text("progress-words") == "3 of 4 marked: 1 copy, 1 not a copy, 1 unsure"
    assert tab.run("document.querySelectorAll('.marks [aria-pressed=true]').length") == 0
    press(tab, "p")
    tab.run("document.getElementById('note').focus()")
    press(tab, "c", "x")  # letters of a note are no marks
    assert tab.run("document.getElementById('note').value") == "cx"
    tab.enter("reviewer", "Dr Who")
    tab.run("document.activeElement.blur()")
    press(tab, "e")
    name = f"review-marks-{digest(shown)[:12]}.json"
    folder = tmp_path / "downloads"
    folder.mkdir()
    tab.send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    press(tab, "e")
    exported = folder / name
    before = time.monotonic()
    while not exported.exists() or not exported.read_bytes().endswith(b"}\n"):
        assert time.monotonic() - before < 20
        time.sleep(0.05)
    marks = read_marks(exported, findings(shown), digest(shown))
    assert marks.reviewer == "Dr Who"
    assert marks.marked == (
        Marked("sample-1.png", "copy"),
        Marked(EVIL, "not-a-copy"),
        Marked("sample-3.png", "unsure", "cx"),
    )


def test_marks_outlive_a_closed_page_and_those_of_another_audit_are_not_taken(tab: Tab, tmp_path: Path) -> None:
    shown = pairs((1, 7, 7), 2)
    page = page_of(tmp_path, shown)
    opened(tab, page)
    press(tab, "u")
    opened(tab, page)
    assert tab.text("progress-words").startswith("1 of 2 marked")
    other = page_of(tmp_path, [replace(pair, file=f"other-{pair.file}") for pair in shown])
    opened(tab, other)
    assert tab.text("progress-words") == "0 of 2 marked"


def test_where_the_browser_keeps_nothing_the_page_says_so_and_still_exports(tab: Tab, tmp_path: Path) -> None:
    broken = "Storage.prototype.getItem = Storage.prototype.setItem = () => { throw new Error('no') }"
    script = tab.send("Page.addScriptToEvaluateOnNewDocument", source=broken)["identifier"]
    try:
        opened(tab, page_of(tmp_path, pairs((1, 8, 8), 2)))
    finally:
        tab.send("Page.removeScriptToEvaluateOnNewDocument", identifier=script)
    press(tab, "c")
    assert tab.text("progress-words").startswith("1 of 2 marked")
    assert tab.run("document.getElementById('unkept').hidden") is False
    assert tab.complaints == []


def test_the_crosshair_moves_in_both_volumes(tab: Tab, tmp_path: Path) -> None:
    shape = (1, 10, 12, 8)
    shown = pairs(shape, 1)
    opened(tab, page_of(tmp_path, shown, spacing=(1.0, 1.0, 2.0)))
    one, other = shown[0].synthetic[0], shown[0].training[0]

    def planes_at(x: int, y: int, z: int) -> None:
        for first, volume in ((0, one), (3, other)):
            expected = (volume[:, :, z], volume[:, y, :], volume[x])
            for number, plane in enumerate(expected, first):
                # the patient's right on the left, front and head up
                np.testing.assert_allclose(canvas(tab, number)[..., 0], grey(plane.T[::-1, ::-1]), atol=1.1)

    planes_at(5, 6, 4)
    press(tab, "ArrowRight", "ArrowUp", "ArrowUp", "]")
    planes_at(4, 8, 5)
    coronal = "document.querySelectorAll('.plane')[4]"
    tab.run(f"{coronal}.scrollIntoView({{block: 'center'}})")
    box = tab.run(f"(({{x, y, width, height}}) => [x, y, width, height])({coronal}.getBoundingClientRect())")
    at = {"x": box[0] + box[2] * 0.05, "y": box[1] + box[3] * 0.95}  # the patient's right, low
    tab.send("Input.dispatchMouseEvent", type="mousePressed", button="left", buttons=1, clickCount=1, **at)
    tab.send("Input.dispatchMouseEvent", type="mouseReleased", button="left", clickCount=1, **at)
    planes_at(9, 8, 0)
    tab.send("Input.dispatchMouseEvent", type="mouseWheel", deltaX=0, deltaY=120, **at)
    until(tab, "document.querySelectorAll('.slice')[1].textContent === 'coronal 10/12'")
    planes_at(9, 9, 0)
    lines = tab.run("Array.from(document.querySelectorAll('.line'), ({style}) => style.left + style.top)")
    assert lines[:6] == lines[6:]
    assert lines[0] == "5%"
    ratios = tab.run("Array.from(document.querySelectorAll('.plane'), (box) => box.clientWidth / box.clientHeight)")
    np.testing.assert_allclose(ratios[:3], (10 / 12, 10 / 16, 12 / 16), rtol=0.03)


def test_a_browser_without_decompression_shows_the_same(tab: Tab, tmp_path: Path) -> None:
    shown = pairs((1, 9, 8, 7), 2)
    smooth = np.linspace(-1, 1, 9 * 8 * 7, dtype=np.float32).reshape(1, 9, 8, 7)
    shown[1] = replace(shown[1], synthetic=smooth, training=-smooth, aligned=np.zeros_like(smooth))
    opened(tab, page_of(tmp_path, shown))
    for pair in shown:
        keep = "(all) => { window.got = all.map((image) => Array.from(image)) }"
        script = f"Pixels.unpack({json.dumps(packed(pair))}, 504, 3).then({keep})"
        results = []
        for way in ("delete window.got; ", "delete window.got; window.DecompressionStream = undefined; "):
            tab.run(way + script)
            until(tab, "window.got !== undefined")
            results.append(tab.run("window.got"))
        assert results[0] == results[1]
        assert results[0][0][:5] == [1 + round((float(v) + 1) * 127) for v in pair.synthetic.ravel()[:5]]


def test_colour_and_single_channels_can_be_seen(tab: Tab, tmp_path: Path) -> None:
    shown = pairs((3, 6, 5), 1)
    opened(tab, page_of(tmp_path, shown))
    np.testing.assert_allclose(canvas(tab, 0)[..., :3], np.moveaxis(grey(shown[0].synthetic), 0, -1), atol=1.1)
    tab.enter("channel", "2")
    for colour in range(3):
        np.testing.assert_allclose(canvas(tab, 0)[..., colour], grey(shown[0].synthetic[2]), atol=1.1)


def test_every_channel_has_a_strip_and_a_label_map_the_colours_of_its_classes(tab: Tab, tmp_path: Path) -> None:
    shown = pairs((3, 6, 5), 1)
    for image in (shown[0].synthetic, shown[0].training, shown[0].aligned):
        image[2] = np.random.default_rng(1).integers(0, 3, (6, 5)) - 1
    shown[0].aligned[2, 0] = -shown[0].training[2, 0]
    opened(tab, page_of(tmp_path, shown, classes=(0, 1, 4)))
    assert tab.run("document.querySelectorAll('canvas').length") == 6
    for pane, image in enumerate((shown[0].synthetic, shown[0].training)):
        for channel in range(2):
            np.testing.assert_allclose(canvas(tab, 3 * pane + channel)[..., 0], grey(image[channel]), atol=1.1)
        wanted = class_colours((0, 1, 4))[(image[2] + 1).astype(int)]
        np.testing.assert_array_equal(canvas(tab, 3 * pane + 2)[..., :3], wanted)
    press(tab, "3")
    drawn = canvas(tab, 2)[..., :3].astype(int).max(axis=2)
    np.testing.assert_array_equal(drawn == 255, shown[0].aligned[2] != shown[0].training[2])
    tab.enter("channel", "2")
    visible = "[...document.querySelectorAll('canvas')].filter((canvas) => canvas.offsetParent).length"
    until(tab, f"{visible} === 2")


def test_a_name_with_markup_is_text_and_nothing_is_asked_of_any_network(tab: Tab, tmp_path: Path) -> None:
    shown = [replace(pair, file=EVIL, patient=EVIL, transform=EVIL) for pair in pairs((1, 8, 8), 2)]
    page = page_of(tmp_path, shown)
    opened(tab, page)
    press(tab, "n", "b", "h", "c")
    assert "<img src=x onerror='window.wasHere=1'>" in tab.text("pair-file")
    assert tab.run("window.wasHere") is None
    assert tab.run("document.images.length") == 0
    assert tab.complaints == []
    assert set(tab.requests) == {page.as_uri()}
    html = page.read_text("utf-8")
    assert "http:" not in html
    assert "https:" not in html
    blocked = "fetch('https://example.org').then(() => { window.out = 'sent' }, () => { window.out = 'refused' })"
    tab.run(f"{blocked}; undefined")
    until(tab, "window.out !== undefined")
    assert tab.run("window.out") == "refused"
    assert any("Content Security Policy" in complaint for complaint in tab.complaints)


def test_the_policy_names_one_script_and_one_style_and_the_page_says_what_it_holds(tmp_path: Path) -> None:
    html = page_of(tmp_path, pairs((1, 8, 8), 2)).read_text("utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    assert re.fullmatch(
        r"default-src 'none'; script-src 'sha256-[^' ]*'; style-src 'sha256-[^' ]*'; base-uri 'none'; "
        "form-action 'none'",
        policy[1],
    )
    assert "unsafe" not in policy[1]
    assert "This file contains images of patients." in html
    assert re.search(r"<title>CONTAINS PATIENT IMAGES", html)
    assert len(re.findall("<script>", html)) == 1
    empty = review_page([], "ab" * 32)
    assert "There is no pair to look at" in empty


def test_what_the_audit_says_can_be_hidden(tab: Tab, tmp_path: Path) -> None:
    opened(tab, page_of(tmp_path, pairs((1, 8, 8), 2)))
    assert "0.0100" in tab.text("facts")
    assert "flagged" in tab.text("list")
    press(tab, "h")
    assert "0.0100" not in tab.text("facts")
    assert "flagged" not in tab.text("facts") + tab.text("list")
    assert "patient-000000000001" in tab.text("facts")


@pytest.mark.parametrize("width", [1200, 420])
@pytest.mark.parametrize("shape", [(1, 16, 16), (1, 10, 12, 8)])
def test_the_page_fits_its_window(tab: Tab, tmp_path: Path, width: int, shape: tuple[int, ...]) -> None:
    tab.send("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
    try:
        opened(tab, page_of(tmp_path, pairs(shape, 30)))
        assert tab.run("document.documentElement.scrollWidth <= innerWidth")
        assert tab.run("document.querySelector('canvas').getBoundingClientRect().width") > 100
    finally:
        tab.send("Emulation.clearDeviceMetricsOverride")
