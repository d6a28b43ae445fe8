"""The Space, asked by `gradio_client` as any program would: its endpoints, its limits, what it refuses."""

import html
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio", reason="the extra [space] is not installed")

from dface_hf.spaces_demo import app, engine, limits, recognise, samples, units  # noqa: E402
from gradio.route_utils import delete_files_created_by_app  # noqa: E402
from gradio_client import Client, handle_file  # noqa: E402
from gradio_client.exceptions import AppError  # noqa: E402

import dface_hf  # noqa: E402
from dface_hf.faces import write_video  # noqa: E402

from ..scripts import run  # noqa: E402
from .serving import running, write_clip, write_face  # noqa: E402

SPACE = Path(app.__file__).parent
NULL = "0 " * 15 + "0"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Where the server keeps uploads."""
    folder = tmp_path_factory.mktemp("gradio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        yield folder


@pytest.fixture(scope="module")
def url(cache):
    with running(app) as url:
        yield url


@pytest.fixture(scope="module")
def client(url, tmp_path_factory):
    return Client(url, verbose=False, analytics_enabled=False, download_files=tmp_path_factory.mktemp("got"))


@pytest.fixture(scope="module")
def face(portrait, tmp_path_factory) -> str:
    return write_face(tmp_path_factory.mktemp("faces") / "face.png", portrait[0][0])


@pytest.fixture(scope="module")
def recognised(client, clip):
    """JSON, page and tokens of the clip in which brows rise."""
    return client.predict(handle_file(str(clip)), 1, True, api_name="/recognise")


def ask(client, endpoint, *inputs):
    """What the visitor is told of a request that is refused."""
    with pytest.raises(AppError) as refused:
        client.predict(*inputs, api_name=endpoint)
    told = str(refused.value)
    assert told.count("\n") == 0 and "Traceback" not in told and "/tmp" not in told
    return told


def test_every_endpoint_is_documented(client):
    endpoints = set(client.view_api(return_format="dict")["named_endpoints"])
    written = set(re.findall(r"^### `(/\w+)", (SPACE / "README.md").read_text(), flags=re.MULTILINE))
    assert endpoints == written and "/recognise" in endpoints


def test_recognise(recognised, portrait):
    record, page, tokens = recognised
    (event,) = record["events"]
    assert record["model"] == "dface-mini" and record["frames"] == len(portrait[0])
    assert abs(event["apex"] - portrait[1][1]) <= 3 and event["label"] == "surprise"
    assert tokens == " ".join(map(str, event["action_ids"])) and len(event["action_ids"]) == 16
    assert record["clip"] == "portrait.mp4"  # no folder of the server
    assert "<b>1 event</b>" in page and page.count("<li ") == 16 and page.count("data:image/png") >= 6
    assert "http" not in page and "<script" not in page


def test_the_page_tells_the_explanation_where_there_is_one(clip):
    result = engine.recogniser()(str(clip), return_images=True)
    (event,) = result["events"]
    told = event["explanation"]
    page = recognise.show(result)
    assert html.escape(told["sentence"]) in page and "AU1 " in page
    assert f"{told['tokens'][0]['weight']:+.2f}" in page
    told["sentence"] = "Brows <rise>"
    assert '<p class="sentence">What moves: Brows &lt;rise&gt;.</p>' in recognise.show(result)
    told["sentence"] = "brow lowerer, left only"
    assert ">What moves: brow lowerer, left only. <span" in recognise.show(result)
    del event["explanation"]
    assert "Why:" not in recognise.show(result)


def test_a_face_at_rest_has_no_event(client, portrait, tmp_path):
    rng = np.random.default_rng(0)
    still = np.clip(portrait[0][:1] + rng.normal(0, 1, (60, 1, 1, 3)), 0, 255).astype(np.uint8)
    path = write_clip(tmp_path / "still.mp4", still)
    record, page, tokens = client.predict(handle_file(path), 1, True, api_name="/recognise")
    assert record["events"] == [] and tokens == "" and "No event found" in page
    face = write_face(tmp_path / "face.png", still[0])
    assert "No event found" in ask(client, "/transfer", handle_file(path), handle_file(face), 1, False)


def test_describe(client, recognised):
    page = client.predict(recognised[2], "the brows are raised\na <b>smile</b>", api_name="/describe")
    assert page.index("the brows are raised") < page.index("a &lt;b&gt;smile") and "<b>smile" not in page
    assert "analyse a clip first" in ask(client, "/describe", "", "a smile")
    assert "Write a description" in ask(client, "/describe", NULL, " \n ")
    assert "up to 8 lines of up to 200" in ask(client, "/describe", NULL, "a\n" * 9)
    assert "16 whole numbers from 0 to 31" in ask(client, "/describe", "1 2 3", "a smile")
    assert "no code 99" in ask(client, "/describe", "99 " * 16, "a smile")


def test_without_the_text_encoder_that_is_said(monkeypatch):
    monkeypatch.setattr(engine.classifier().config, "text_encoder", "no-such-encoder")
    engine.text_encoder.cache_clear()
    with pytest.raises(Exception, match=r"no-such-encoder is not installed here.*dface-hf\[text\]"):
        recognise.describe(NULL, "a smile")
    assert any(recognise.NO_TEXT == block.value for block in app.build_demo().blocks.values()
               if hasattr(block, "value"))  # fmt: skip
    engine.text_encoder.cache_clear()


def test_explore(client, face):
    still, page, grid, palette, told = client.predict(handle_file(face), "", 5, 1, api_name="/act")
    original = np.asarray(Image.open(face)).astype(int)
    assert "Nothing" in told or "nothing moves" in told
    assert np.abs(np.asarray(Image.open(still)).astype(int) - original).mean() < 3  # but for compression
    assert grid.count("<button") == 16 and palette.count("<button") == 32
    assert 'data-number="5" class="null" aria-pressed="true"' in grid
    tokens = client.predict(handle_file(face), "Brows up", api_name="/start_from")
    acted, _, grid, palette, told = client.predict(handle_file(face), tokens, 6, 2, api_name="/act")
    change = np.abs(np.asarray(Image.open(acted)).astype(int) - original).mean(-1)
    rows = change.mean(1)
    assert "positions act" in told and re.search(r"(brow|forehead|eyelid): up", told)
    assert rows[: len(rows) // 2].max() > 3 * rows[-len(rows) // 4 :].max()
    code = tokens.split()[6]
    assert f'data-number="{code}" aria-pressed="true"' in palette


def test_transfer(client, clip, face, tmp_path):
    picture, video, told = client.predict(
        handle_file(str(clip)), handle_file(face), 1.5, False, api_name="/transfer"
    )
    moved = np.abs(np.asarray(Image.open(picture)).astype(int) - np.asarray(Image.open(face))).max(-1) > 12
    assert moved.any() and "surprise" in told
    path = video["video"] if isinstance(video, dict) else video
    assert Path(path).suffix == ".mp4" and Path(path).stat().st_size > 2_000
    assert not list(Path("/tmp").glob("dface-transfer-*/*"))  # the server's own copy only


def test_action_units(client):
    example = client.predict("Brows up", api_name="/example_clip")
    path = example["video"] if isinstance(example, dict) else example
    record, page = client.predict(handle_file(path), 1, api_name="/action_units")
    (event,) = record["events"]
    assert record["model"] == "ac4au-mini" and record["clip"] == "brows-up.mp4"
    shown = set(samples.CLIPS["Brows up"][1])
    scores = event["action_units"]
    assert len(scores) == 12 and all(0 <= score <= 1 for score in scores.values())
    assert {f"AU{unit}" for unit in shown} & set(event["active"])
    assert set(event["active"]) == {unit for unit in scores if scores[unit] >= record["unit_threshold"]}
    flow = event["explanation"]["action_units"]
    assert {f"AU{unit}" for unit in shown} & set(flow)
    bars = dict(re.findall(r"<dt>(AU\d+) [\w ]+</dt>.*?%\">.*?>([^<>]*%)</span>", page))
    assert bars == {u: f"{'✓ ' * (u in event['active'])}{100 * s:.0f} %" for u, s in scores.items()}
    assert page.count('class="best"') == len(event["active"]) and page.count("<dt>") == 12 + 2 * len(flow)
    assert page.count("data:image/webp") == len(event["frames_read"]) == 8
    assert html.escape(event["explanation"]["sentence"]) in page and "http" not in page
    assert "no video yet" in ask(client, "/action_units", None, 1)
    assert "99" in ask(client, "/action_units", handle_file(path), 99)


def test_the_page_tells_how_far_action_units_can_be_trusted():
    report = json.loads(Path(dface_hf.AC4AU_CHECKPOINT, "report.json").read_text())
    told = units.caveat()
    assert "Unreliable on real faces" in told and len(report["units"]) >= 2
    for what, scores in report["units"].items():
        assert f"{100 * scores['f1']:.0f} % on {html.escape(what)}" in told


def test_examples(client):
    for endpoint, names, suffix in (
        ("/example_clip", samples.CLIPS, ".mp4"),
        ("/example_face", samples.FACES, ""),
    ):
        name = list(names)[0]
        got = client.predict(name, api_name=endpoint)
        got = got["video"] if isinstance(got, dict) else got
        assert got.endswith(suffix) and Path(got).stat().st_size > 1_000
        assert f"There is no example '../x'; there are {name}" in ask(client, endpoint, "../x")


def test_missing_and_broken_files_are_told_plainly(client, clip, face, tmp_path):
    broken, text, blank = tmp_path / "broken.mp4", tmp_path / "text.png", tmp_path / "blank.png"
    broken.write_bytes(clip.read_bytes()[:900])
    text.write_text("no picture")
    Image.new("RGB", (200, 200), (90, 90, 90)).save(blank)
    noface = write_clip(tmp_path / "noface.mp4", np.full((20, 120, 120, 3), 90, np.uint8))
    assert "no video yet" in ask(client, "/recognise", None, 1, True)
    assert "video" in ask(client, "/recognise", handle_file(str(broken)), 1, True).lower()
    assert "No face found in 20 frames" in ask(client, "/recognise", handle_file(noface), 1, True)
    assert "no picture of a face" in ask(client, "/act", None, "", 5, 1)
    assert "not a picture" in ask(client, "/act", handle_file(str(text)), "", 5, 1)
    assert "No face found in the picture" in ask(client, "/act", handle_file(str(blank)), "", 5, 1)
    assert "no position 16" in ask(client, "/act", handle_file(face), "", 16, 1)
    assert "no expression 'Yawn'" in ask(client, "/start_from", handle_file(face), "Yawn")
    assert "no picture of a face" in ask(client, "/transfer", handle_file(str(clip)), None, 1, False)


def test_numbers_out_of_range_are_refused(client, clip, face):
    for endpoint, inputs in (
        ("/recognise", (handle_file(str(clip)), 99, True)),
        ("/act", (handle_file(face), "", 5, 99)),
        ("/transfer", (handle_file(str(clip)), handle_file(face), 99, False)),
    ):
        assert "99" in ask(client, endpoint, *inputs)


def test_what_is_too_long_or_too_large_is_refused(client, url, tmp_path):
    frame = np.zeros((1, 32, 32, 3), np.uint8)
    slow, many = tmp_path / "slow.mp4", tmp_path / "many.mp4"
    write_video(slow, np.repeat(frame, 25, 0), 1)
    write_video(many, np.repeat(frame, limits.MAX_FRAMES + 10, 0), 200)
    wide = write_clip(tmp_path / "wide.mp4", np.zeros((2, 1600, 2400, 3), np.uint8))
    assert "lasts 24 s; cut it to 20 s" in ask(client, "/recognise", handle_file(str(slow)), 1, True)
    assert "cut it to 20 s and 1500 frames" in ask(client, "/recognise", handle_file(str(many)), 1, True)
    assert "3.8 million pixels" in ask(client, "/recognise", handle_file(wide), 1, True)
    Image.new("L", (6000, 5000)).save(tmp_path / "large.png")
    assert "30 million pixels" in ask(client, "/act", handle_file(str(tmp_path / "large.png")), "", 5, 1)
    with open(tmp_path / "heavy.mp4", "wb") as heavy:
        heavy.truncate(33_000_000)
    with open(tmp_path / "heavy.mp4", "rb") as heavy:
        answer = httpx.post(f"{url.rstrip('/')}/gradio_api/upload", files={"files": heavy})
    assert answer.status_code == 413 and "maximum allowed size" in answer.text


def test_no_file_of_the_server_can_be_read(client, url, cache):
    secrets = ["/etc/passwd", str(SPACE / "app.py"), f"{dface_hf.DEFAULT_CHECKPOINT}/config.json"]
    for path in [*secrets, f"{cache}/../../../../etc/passwd", "../../../etc/passwd"]:
        answer = httpx.get(f"{url.rstrip('/')}/gradio_api/file={path}")
        assert answer.status_code in (403, 404) and "root:" not in answer.text, path
    for path in [*secrets, str(cache)]:
        data = {"path": path, "meta": {"_type": "gradio.FileData"}}
        for endpoint, inputs in (("/recognise", (data, 1, True)), ("/act", (data, "", 5, 1))):
            with pytest.raises(Exception) as refused:  # noqa: PT011
                client.predict(*inputs, api_name=endpoint)
            assert "root:" not in str(refused.value)


def test_uploads_are_deleted(cache, clip, tmp_path):
    demo = app.build_demo()
    assert demo.delete_cache == (limits.DELETE_EVERY, 3600)
    _, url, _ = app.launch(demo, prevent_thread_lock=True, quiet=True)
    try:
        client = Client(url, verbose=False, analytics_enabled=False, download_files=False)
        mine = tmp_path / "mine.mp4"
        shutil.copy(clip, mine)
        client.predict(handle_file(str(mine)), 1, True, api_name="/recognise")
        assert list(cache.rglob("mine.mp4"))
        delete_files_created_by_app(demo, age=0)
        assert not list(cache.rglob("mine.mp4"))
    finally:
        demo.close()


def test_who_finds_the_queue_full_is_told_so(clip, cache, monkeypatch):
    monkeypatch.setattr(limits, "QUEUE", 1)
    with running(app) as url:
        client = Client(url, verbose=False, analytics_enabled=False, download_files=False)
        jobs = [client.submit(handle_file(str(clip)), 1, True, api_name="/recognise") for _ in range(8)]
        errors = [job.exception(timeout=60) for job in jobs]
    told = {str(error) for error in errors if error is not None}
    assert told and all("Queue is full" in one for one in told)
    assert sum(error is None for error in errors) >= 1


def test_the_load_script_counts_what_clients_get(url, monkeypatch, capsys):
    run("benchmarks/space_load.py", "--url", url, "--clients", "2", "--seconds", "1", monkeypatch=monkeypatch)
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| `/")]
    assert sum(int(row[1]) for row in rows) >= 2 and all(row[3] == "0" for row in rows)


def test_it_runs_flat_and_with_a_borrowed_gpu_as_on_a_space(tmp_path):
    """As uploaded: the folder without `__init__.py`, and a stand-in for the package of ZeroGPU."""
    flat = tmp_path / "space"
    shutil.copytree(SPACE, flat, ignore=shutil.ignore_patterns("__init__.py", "__pycache__"))
    lent = tmp_path / "lent.txt"
    (flat / "spaces.py").write_text(
        "def GPU(duration):\n    def lend(function):\n"
        f"        open({str(lent)!r}, 'a').write(function.__name__ + ' ')\n"
        "        return function\n    return lend\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": str(tmp_path / "cache")}
    log = tmp_path / "log.txt"
    with open(log, "w") as out:
        server = subprocess.Popen(
            [sys.executable, "app.py"], cwd=flat, env=environment, stdout=out, stderr=out
        )
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 100
        while "Running on" not in log.read_text():
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        client = Client(url, verbose=False, analytics_enabled=False, download_files=tmp_path / "got")
        assert client.predict("Astronaut", api_name="/example_face").endswith((".png", ".webp"))
        heavy = {"_analyse", "_act", "_transfer", "_detect", "_similarities", "act_out"}
        assert set(lent.read_text().split()) == heavy
    finally:
        server.terminate()
        server.wait(timeout=20)


def test_the_card_names_what_is_installed():
    head = (SPACE / "README.md").read_text().split("---")[1]
    import gradio

    assert (
        f"sdk_version: {gradio.__version__}" in head and "app_file: app.py" in head and "sdk: gradio" in head
    )
    version = ".".join(dface_hf.__version__.split(".")[:2])
    assert (SPACE / "requirements.txt").read_text().startswith(f"dface-hf[text]>={version}")
    assert json.dumps(limits.MAX_FILE)  # a text such as 30mb, told in the card:
    assert limits.MAX_FILE.upper().replace("MB", " MB") in (SPACE / "README.md").read_text()
