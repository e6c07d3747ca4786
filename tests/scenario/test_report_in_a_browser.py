"""The report of YOLOv3-608 as a person sees it: at two widths, in both themes, offline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver

from partition_core.report.figures import dims_text
from tests.browser import browser, keep_screenshot, show
from tests.projects import Scratch

pytestmark = pytest.mark.thorough

DESKTOP, PHONE = 1280, 390


@pytest.fixture(scope="module")
def driver() -> Iterator[WebDriver]:
    with browser() as opened:
        yield opened


@pytest.fixture
def page(driver: WebDriver, yolov3: Scratch) -> Path:
    return yolov3.folder / "build" / "yolov3" / "report.html"


def complaints(driver: WebDriver) -> list[str]:
    return [entry["message"] for entry in driver.get_log("browser")]


def brightness(driver: WebDriver) -> float:
    colour = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    red, green, blue = (int(one) for one in colour[colour.index("(") + 1 : -1].split(",")[:3])
    return (red + green + blue) / 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_it_fits_the_window_and_the_system_s_theme(
    driver: WebDriver, page: Path, width: int, scheme: str
) -> None:
    show(driver, page, width, scheme)
    assert complaints(driver) == []
    assert (brightness(driver) > 200) is (scheme == "light")
    wide = driver.execute_script("return document.documentElement.scrollWidth")
    assert wide <= width
    # Nothing hangs out of the window but what scrolls by itself.
    outside = driver.execute_script(
        """return [...document.querySelectorAll("body *")].filter((one) =>
             one.getBoundingClientRect().right > innerWidth + 1
             && !one.closest(".canvas, .scroll, pre, defs")).map((one) => one.outerHTML)"""
    )
    assert outside == []
    keep_screenshot(driver, f"report-{width}-{scheme}")


def test_the_map_shows_both_segments_and_the_three_maps_between(
    driver: WebDriver, page: Path
) -> None:
    show(driver, page, DESKTOP, "light")
    regions = [one.text for one in driver.find_elements(By.CSS_SELECTOR, "#canvas .region text")]
    assert regions == ["yolov3.onnx", "postprocess.onnx"]
    border = driver.find_element(By.XPATH, "//*[@id='canvas']//*[text()='yolo_head:input']/..")
    shown = [text.text for text in border.find_elements(By.TAG_NAME, "text")]
    for name, side, size in (("0", 19, "368.2 kB"), ("1", 38, "1.5 MB"), ("2", 76, "5.9 MB")):
        at = shown.index(f"pred_maps.{name}")
        assert shown[at + 1 : at + 3] == [f"float32 {dims_text((1, 255, side, side))}", size]
    boxes = driver.find_elements(By.CSS_SELECTOR, "#canvas .box")
    assert 10 <= len(boxes) <= 26
    # No letter of the map leaves its box, whatever fonts the machine has.
    overflowing = driver.execute_script(
        """return [...document.querySelectorAll("#canvas .box")].filter((box) => {
             const around = box.querySelector("path, polygon").getBoundingClientRect();
             return [...box.querySelectorAll("text")].some((text) => {
               const inside = text.getBoundingClientRect();
               return inside.left < around.left || inside.right > around.right;
             });
           }).map((box) => box.textContent)"""
    )
    assert overflowing == []


def test_a_box_tells_its_figures_by_mouse_and_by_keyboard(driver: WebDriver, page: Path) -> None:
    show(driver, page, DESKTOP, "light")
    details = driver.find_element(By.ID, "details")
    assert "Select a box" in details.text
    stem = driver.find_element(By.XPATH, "//*[@id='canvas']//*[text()='backbone.conv1']/..")
    stem.find_element(By.TAG_NAME, "text").click()
    # 3 x 3 of 3 channels to 32, with a bias: 896 weights; 2 * 27 + 1 for each of 32 * 608 * 608,
    # and one for each of them in the activation.
    assert "896" in details.text
    assert f"{32 * 608 * 608 * 56 / 1e6:.3g} M" in details.text
    border = driver.find_element(By.ID, "border-0")
    border.send_keys(Keys.ENTER)
    assert details.find_element(By.TAG_NAME, "h3").text == "detector_forward:input"
    assert len(driver.find_elements(By.CSS_SELECTOR, "#canvas .chosen")) == 1


def test_the_map_grows_shrinks_and_fits(driver: WebDriver, page: Path) -> None:
    show(driver, page, PHONE, "light")

    def width() -> float:
        return float(driver.find_element(By.CSS_SELECTOR, "#canvas svg").get_attribute("width"))

    before = width()
    driver.find_element(By.ID, "zoom-in").click()
    driver.find_element(By.ID, "zoom-in").click()
    assert width() > 1.4 * before
    assert driver.execute_script("return document.documentElement.scrollWidth") <= PHONE
    driver.find_element(By.ID, "zoom-out").click()
    driver.find_element(By.ID, "zoom-fit").click()
    assert width() <= driver.execute_script("return document.getElementById('canvas').clientWidth")
    assert complaints(driver) == []


def test_the_theme_can_be_chosen_and_is_remembered(driver: WebDriver, page: Path) -> None:
    show(driver, page, DESKTOP, "dark")
    try:
        driver.find_element(By.ID, "theme").click()
        assert brightness(driver) > 200
        show(driver, page, DESKTOP, "dark")
        assert brightness(driver) > 200
        driver.find_element(By.ID, "theme").click()
        assert brightness(driver) < 60
    finally:
        driver.execute_script("localStorage.clear()")


def test_detections_are_those_of_the_proof_and_obey_the_threshold(
    driver: WebDriver, page: Path
) -> None:
    manifest = json.loads((page.parent / "manifest.json").read_text())
    (proven,) = manifest["proof"]["samples"][0]["detections"]
    show(driver, page, DESKTOP, "light")
    figures = driver.find_elements(By.CSS_SELECTOR, '[data-picture="0"] figure')
    assert [one.find_element(By.TAG_NAME, "b").text for one in figures] == [
        "PyTorch, eager",
        "end2end.onnx",
        "segments in a chain",
    ]
    for figure in figures:
        assert len(figure.find_elements(By.CLASS_NAME, "detection")) == proven["end2end"] >= 50
    for threshold in ("0", "0.6", "1"):
        shown = driver.execute_script(
            """const score = document.getElementById("score");
               score.value = arguments[0];
               score.dispatchEvent(new Event("input"));
               return [...document.querySelectorAll('[data-picture="0"] figure')].map((one) => [
                 Number(one.querySelector(".shown").textContent),
                 [...one.querySelectorAll(".detection")].filter((d) =>
                   getComputedStyle(d).display !== "none").length,
                 [...one.querySelectorAll(".detection")].filter((d) =>
                   Number(d.dataset.score) >= Number(arguments[0])).length])""",
            threshold,
        )
        assert all(told == visible == right for told, visible, right in shown)
    assert shown[0][0] < proven["end2end"]
    driver.find_element(By.CSS_SELECTOR, '#picture option[value="1"]').click()
    assert not figures[0].is_displayed()
    assert complaints(driver) == []


def test_the_pictures_are_photographs_and_all_three_hold_the_same_boxes(
    driver: WebDriver, page: Path
) -> None:
    show(driver, page, DESKTOP, "light")
    loaded = driver.execute_async_script(
        """const done = arguments[0], image = new Image();
           image.onload = () => done([image.naturalWidth, image.naturalHeight]);
           image.onerror = () => done(null);
           image.src = document.getElementById("photo-0").getAttribute("href");"""
    )
    assert loaded == [608, 608]
    boxes = [
        [
            tuple(float(rect.get_attribute(side)) for side in ("x", "y", "width", "height"))
            for rect in figure.find_elements(By.TAG_NAME, "rect")[:10]
        ]
        for figure in driver.find_elements(By.CSS_SELECTOR, '[data-picture="0"] figure')
    ]
    for one, other in zip(boxes[0], boxes[1], strict=True):
        assert one == pytest.approx(other, abs=0.5)
    assert boxes[1] == boxes[2]
