import base64
import re
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from dface_hf.analysis import write_overlay, write_report
from dface_hf.analysis.report import MAX_PICTURED

VOID = {"meta", "link", "img", "br", "hr", "input", "line", "polyline"}


class Page(HTMLParser):
    """Tags with attributes, and the text a reader sees; fails on tags that do not nest."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.open, self.text = [], [], ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert self.open == [], f"left open: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += " " + data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def test_all_ids_and_numbers_appear(make_result, crops, tmp_path):
    result = make_result(events=2, warnings=["2 faces in view; the largest was followed"])
    path = write_report(
        tmp_path / "report", result, [crops, crops], title="Demo", model_name="dface-mini", notes=["A note."]
    )
    page = Page(path)
    assert path == tmp_path / "report" / "report.html"
    for text in (
        "Demo",
        "talk.mp4",
        "200 frames",
        "8.00 seconds",
        "dface-mini",
        "2 faces in view",
        "A note.",
    ):
        assert text in page.text
    for text in (
        "0.400 s",
        "0.560 s",
        "0.800 s",
        "frame 14",
        "confidence 0.71",
        "170, 60, 100, 120",
        "60.0 %",
    ):
        assert text in page.text
    for text in (
        "13.3 %",
        "+0.50",
        "+0.39",
        "shift px (0.31, -0.12)",
        "lie detector",
        "synthetic",
        "consent",
    ):
        assert text in page.text
    assert "nan" not in page.text.lower().split()
    assert sorted(p.name for p in path.parent.iterdir()) == ["report.html", "report.png"]


def test_tokens_in_raster_order_with_attention(make_result, crops, tmp_path):
    result = make_result()
    [event] = result["events"]
    page = Page(write_report(tmp_path, result, [crops]))
    cells = [attributes for tag, attributes in page.tags if tag == "li" and "title" in attributes]
    assert [cell["title"] for cell in cells] == [
        f"token {k}: code {code}, attention {weight:.4f}"
        for k, (code, weight) in enumerate(zip(event["action_ids"], event["attention"], strict=True))
    ]
    assert [cell.get("class") == "null" for cell in cells] == [code == 0 for code in event["action_ids"]]
    [grid] = page.all("ol")
    assert grid["style"] == "grid-template:repeat(4,1fr)/repeat(4,1fr)"  # fills rows first
    fills = [float(cell["style"].split(":")[1]) for cell in cells]
    assert fills == sorted(fills) and 0 < fills[0] < fills[-1] <= 1


def test_nothing_is_fetched(make_result, crops, tmp_path):
    page = Page(write_report(tmp_path, make_result(), [crops]))
    addresses = [
        value for _, attributes in page.tags for key, value in attributes.items() if key in ("src", "href")
    ]
    assert addresses and all(value.startswith(("data:image/png;base64,", "#event-")) for value in addresses)
    assert not page.all("script") and "http" not in page.source.replace("http-equiv", "")
    assert "url(" not in page.source and "@import" not in page.source
    assert "prefers-color-scheme: dark" in page.source


def test_pictures_are_the_crops_unchanged(make_result, crops, tmp_path):
    page = Page(write_report(tmp_path, make_result(), [crops]))
    images = {attributes["alt"]: attributes["src"] for attributes in page.all("img")}
    for alt, crop in zip(("Aligned onset frame", "Aligned apex frame"), crops, strict=True):
        data = base64.b64decode(images[alt].split(",")[1])
        assert np.array_equal(np.asarray(Image.open(BytesIO(data))), crop)
    assert {"Magnified difference", "Motion arrows"} <= set(images)


HOSTILE = '<script>alert("x")</script>'


def test_hostile_texts_are_escaped(make_event, make_result, crops, tmp_path):
    labels = [HOSTILE, '"><img src=x onerror=y>', "{{ 7 * 7 }}"]
    result = make_result(path=f"a/{HOSTILE}&.mp4", warnings=[HOSTILE])
    stabilisation = {"method": HOSTILE}
    result["events"] = [make_event(labels=labels, label=labels[1], stabilisation=stabilisation)]
    path = write_report(tmp_path, result, [crops], title=HOSTILE, model_name=HOSTILE, notes=[HOSTILE])
    page = Page(path)
    assert not page.all("script") and all("onerror" not in attributes for _, attributes in page.tags)
    assert page.text.count("{{ 7 * 7 }}") == 2 and " 49 " not in page.text
    assert page.text.count('alert("x")') >= 6


def test_undecodable_path(make_result, tmp_path):
    page = Page(write_report(tmp_path, make_result(events=0, path="clip_\udcff.mp4")))
    assert "clip_?.mp4" in page.text


def test_no_event(make_result, tmp_path):
    page = Page(write_report(tmp_path, make_result(events=0, warnings=["no face in 200 of 200 frames"])))
    assert "No event was found" in page.text and "no face in 200" in page.text
    assert not page.all("table") and not page.all("article")
    assert (tmp_path / "report.png").stat().st_size > 1000


def test_failed_clip(make_result, tmp_path):
    page = Page(write_report(tmp_path, make_result(events=0, fps=0.0, frames=0)))
    assert "no event found" in page.text and "%" not in "".join(a.get("title", "") for a in page.all("span"))


@pytest.mark.parametrize("count", [1, 16])
def test_any_number_of_classes_without_pictures(count, make_event, make_result, tmp_path):
    labels = [f"class {n}" for n in range(count)]
    result = make_result() | {"events": [make_event(labels=labels, label=labels[-1])]}
    page = Page(write_report(tmp_path, result))
    assert all(label in page.text for label in labels)
    assert not page.all("img") and len(page.all("ol")) == 1


def test_minimal_event(make_event, make_result, tmp_path):
    event = make_event()
    for key in ("similarities", "stabilisation", "confidence", "onset_s", "apex_s", "offset_s", "box"):
        del event[key]
    page = Page(write_report(tmp_path, make_result() | {"events": [event]}))
    assert "0.400 s" in page.text and "–" in page.text and "Similarity" not in page.text


def test_widths_match_numbers_and_stay_in_range(make_event, make_result, tmp_path):
    event = make_event(similarities={"a": -0.8, "b": 0.4})
    page = Page(write_report(tmp_path, make_result() | {"events": [event]}))
    styles = [attributes["style"] for attributes in page.all("i")]
    assert styles[0].startswith("left:0;width:60.00%") and styles[1] == "left:0;width:13.33%"
    assert styles[-2:] == ["left:0.00%;width:50.00%", "left:50.00%;width:25.00%"]
    assert all(0 <= float(n) <= 100 for style in styles for n in re.findall(r"(-?[\d.]+)%", style))


def test_curve_keeps_its_peaks_and_gaps(make_result, tmp_path):
    score = np.full(20000, 0.1)
    score[7001], score[9000:9100] = 5.0, np.nan
    page = Page(write_report(tmp_path, make_result(events=0, frames=20000), score=score, threshold=1.0))
    lines = [line["points"].split() for line in page.all("polyline")]
    assert len(lines) == 2 and sum(map(len, lines)) < 1600
    heights = [float(point.split(",")[1]) for line in lines for point in line]
    assert min(heights) == pytest.approx(100 * (1 - 1 / 1.08), abs=0.01) and max(heights) < 100
    assert len(page.all("line")) == 1


def test_many_events_are_all_listed_and_some_pictured(make_result, crops, tmp_path):
    count = MAX_PICTURED + 3
    result = make_result(events=count, frames=1000)
    small = tuple(crop[::8, ::8] for crop in crops)
    page = Page(write_report(tmp_path, result, [small] * count))
    assert len(page.all("tr")) == count + 1 and len(page.all("article")) == MAX_PICTURED
    assert "3 more events" in page.text


def test_video_lies_beside_the_page(make_result, tmp_path):
    video = tmp_path / "over lay#1.mp4"
    write_overlay((np.zeros((48, 64, 3), np.uint8) for _ in range(5)), make_result(events=0), video)
    page = Page(write_report(tmp_path / "report", make_result(events=0), video=video))
    assert [v["src"] for v in page.all("video")] == ["./over%20lay%231.mp4"]
    assert (tmp_path / "report" / video.name).read_bytes() == video.read_bytes()
    write_report(tmp_path, make_result(events=0), video=video)  # already there: left alone
    with pytest.raises(FileNotFoundError, match="missing"):
        write_report(tmp_path, make_result(events=0), video=tmp_path / "missing.mp4")


def test_images_must_match_events(make_result, crops, tmp_path):
    with pytest.raises(ValueError, match="1 pairs of images for 2 events"):
        write_report(tmp_path, make_result(events=2), [crops])


def test_events_are_not_changed(make_result, crops, tmp_path):
    result = make_result()
    write_report(tmp_path, result, [crops])
    assert "onset_image" not in result["events"][0]


def test_explanations_have_a_place_of_their_own(make_result, crops, explained, tmp_path):
    result = make_result(events=2)
    result["events"][0] |= explained
    page = Page(write_report(tmp_path, result, [crops, crops]))
    for text in (
        "inner brow raiser and outer brow raiser (left only)",
        "AU1 inner brow raiser",
        "1.51",
        "left inner brow",
        "+1.234",
        "-0.345",
        "agreement with the measured motion 0.81",
    ):
        assert text in page.text
    assert page.source.count('class="why"') == 1 and page.source.count("decoded motion") == 1
    result["events"][0] |= {"decoded_motion": None, "explanation": {
        "tokens": [], "action_units": {}, "sentence": "no clear action unit", "agreement": None}}  # fmt: skip
    page = Page(write_report(tmp_path, result, [crops, crops]))
    assert "no clear action unit" in page.text and "decoded motion" not in page.text
