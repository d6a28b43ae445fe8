"""The Space in a real browser: what a visitor does, at the width of a desk and of a phone."""

import re
import shutil

import av
import pytest

pytest.importorskip("gradio", reason="the extra [space] is not installed")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from dface_hf.spaces_demo import app  # noqa: E402

from ..space.serving import running  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH (apt-get install chromium)")
PATIENCE = 40_000  # ms


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        with running(app) as url:
            yield url


@pytest.fixture(scope="module")
def playwright():
    with sync_api.sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(playwright):
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
    yield browser
    browser.close()


@pytest.fixture
def visit(browser, url):
    """Opens the page at a width, and finds fault with what it logs and where it asks."""
    faults, contexts = [], []

    def open_page(width: int, scheme: str):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda told: faults.append(told.text) if told.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda asked: faults.append(asked.url) if _leaves(asked.url, url) else None)
        page.goto(url)
        page.locator("#analyse").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def _leaves(address: str, url: str) -> bool:
    return not address.startswith((url, "data:", "blob:"))


def fits(page) -> bool:
    """Whether nothing reaches beyond the right edge of the window."""
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def tabs(page) -> list[str]:
    """All tabs; where letters are wide, the bar of a phone keeps the last ones behind "More tabs"."""
    behind = page.locator(".overflow-menu:not(.hide) .overflow-dropdown button").all_text_contents()
    return page.get_by_role("tab").all_inner_texts() + behind


def open_tab(page, name: str) -> None:
    """Opens a tab, from the bar or from behind "More tabs"."""
    if name not in page.get_by_role("tab").all_inner_texts():
        page.get_by_label("More tabs").click()
    page.get_by_role("button", name=name, exact=True).or_(page.get_by_role("tab", name=name)).first.click()


def unnamed(page) -> list[str]:
    """Controls that are seen and that a screen reader could not name."""
    return page.evaluate("""() => [...document.querySelectorAll('button, input, textarea, select, img')]
        .filter(one => one.offsetParent && one.type !== 'file' && !one.hasAttribute('alt'))
        .filter(one => !(one.ariaLabel || one.innerText || one.title || one.labels?.length))
        .map(one => one.outerHTML.slice(0, 120))""")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_clip_is_uploaded_and_its_event_shown(visit, clip, width, scheme):
    page = visit(width, scheme)
    notice = page.get_by_role("complementary", name="Consent and limits")
    assert "Only faces of people who agreed" in notice.inner_text()
    assert notice.bounding_box()["y"] + notice.bounding_box()["height"] < 900  # on the first screen
    assert tabs(page) == ["Recognise", "Explore", "Transfer", "Action units"]
    page.locator("#clip input[type=file]").set_input_files(str(clip))
    page.locator("#clip video").wait_for()
    page.locator("#analyse").click()
    result = page.locator("#result")
    result.locator("article").wait_for()
    assert "surprise" in result.locator(".lead").inner_text()
    assert result.locator(".tokens li").count() == 16 and result.locator("figure:visible").count() == 6
    assert result.get_by_role("img", name="Timeline: motion score").count() == 1
    page.locator("#compare").click()
    page.locator("#similar .bars").wait_for()
    assert page.locator("#similar dt").count() == 3
    assert fits(page) and unnamed(page) == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (390, "light")])
def test_action_units_of_an_example(visit, width, scheme):
    page = visit(width, scheme)
    open_tab(page, "Action units")
    page.get_by_role("complementary", name="How reliable").get_by_text("Unreliable on real faces").wait_for()
    page.get_by_role("button", name="Frown").locator("visible=true").click()
    result = page.locator("#units")
    result.locator("article").wait_for()
    scores = result.locator(".columns > section").first
    assert scores.locator("dt").count() == 12 and "✓" in scores.locator(".best").first.inner_text()
    assert result.get_by_role("img", name="8 frames").count() == 1
    assert fits(page) and unnamed(page) == []


def test_a_recording_of_the_camera_is_analysed(playwright, url, portrait, tmp_path):
    """A browser's recordings tell neither length nor frame rate. The camera shows the portrait."""
    film = tmp_path / "camera.mjpeg"
    with av.open(str(film), "w", format="mjpeg") as out:
        stream = out.add_stream("mjpeg", rate=30, width=256, height=256, pix_fmt="yuvj420p")
        for frame in portrait[0]:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame).reformat(format="yuvj420p")))
        out.mux(stream.encode())
    camera = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", "--no-sandbox"]
    camera.append(f"--use-file-for-fake-video-capture={film}")
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=camera)
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(url)
    page.locator("#clip").get_by_label("Capture from camera").click()
    page.locator("#clip").get_by_text("Click to Access Webcam").click()
    page.locator("#clip").get_by_text("Record").click()
    page.wait_for_timeout(3000)
    page.locator("#clip").get_by_text("Stop").click()
    page.locator("#clip video[src]").wait_for()
    page.locator("#analyse").click()
    told = page.locator("#result .lead")
    told.wait_for()
    assert 1 < float(re.search(r"in ([\d.]+) s", told.inner_text())[1]) < 20
    browser.close()


def test_an_error_is_a_plain_sentence(visit):
    page = visit(390, "light")
    page.locator("#analyse").click()
    toast = page.locator(".toast-body").first
    toast.wait_for()
    assert "There is no video yet" in toast.inner_text()


@pytest.mark.parametrize("width", [1280, 390])
def test_a_token_is_changed_by_keyboard(visit, width):
    page = visit(width, "dark")
    open_tab(page, "Explore")
    told = page.locator("#action .lead")
    told.filter(has_text="positions act").wait_for()
    page.get_by_role("button", name="Null action").click()
    told.filter(has_text="null action").wait_for()
    cell = page.locator('#grid button[data-number="14"]')
    cell.focus()
    page.keyboard.press("Enter")
    page.locator('#palette [aria-label*="position 14"]').wait_for()
    assert cell.get_attribute("aria-pressed") == "true"
    page.locator('#palette button[data-number="31"]').focus()
    page.keyboard.press("Enter")
    told.filter(has_text="1 of 16 positions act").wait_for()
    assert re.search("chin|lip|jaw", told.inner_text())
    assert "code 31" in cell.get_attribute("aria-label")
    assert page.locator("#tokens textarea, #tokens input").input_value().split()[14] == "31"
    page.get_by_role("button", name="Reset", exact=True).click()
    told.filter(has_text="null action").wait_for()
    assert fits(page) and unnamed(page) == []
