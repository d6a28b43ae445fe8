"""`dface push` to a local Hub in one process, `from_pretrained` in another."""

import hashlib
import shutil

import pytest

from ..hub_server import Fault

REPO = ("model", "ada/tiny")
LOAD = """
import dface_hf, hashlib
from huggingface_hub import hf_hub_download
from transformers import AutoImageProcessor, AutoModelForVideoClassification
options = dict({options})
model = AutoModelForVideoClassification.from_pretrained({name!r}, **options)
AutoImageProcessor.from_pretrained({name!r}, **options)
path = hf_hub_download({name!r}, "model.safetensors", **options)
print(hashlib.sha256(open(path, "rb").read()).hexdigest(), model.config.num_labels)
"""


@pytest.fixture
def folder(checkpoint, tmp_path):
    """A checkpoint that a test may change."""
    return shutil.copytree(checkpoint, tmp_path / "tiny")


def digest(folder) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def load(name: str, options: str = "") -> str:
    return LOAD.format(name=name, options=options)


def one_line(answer) -> str:
    assert answer.code == 2 and answer.out == ""
    assert answer.err.startswith("error: ") and len(answer.err.strip().splitlines()) == 1, answer.err
    return answer.err


def test_what_one_process_pushes_another_loads(hub, pusher, loader, folder):
    done = pusher.dface("push", folder, "tiny")
    assert done.code == 0, done.err
    assert done.out.strip() == f"{hub.url}/ada/tiny" and "pushed" in done.err
    repo = hub.state.repos[REPO]
    assert repo.history == ["dface by dface push", "initial commit"] and not repo.private
    assert set(repo.resolve("main").files) == {
        ".gitattributes", "README.md", "config.json", "model.safetensors", "preprocessor_config.json"
    }  # fmt: skip
    card = repo.resolve("main").files["README.md"].content.decode()
    assert "pip install dface-hf" in card and 'from_pretrained("ada/tiny")' in card
    loaded = loader.run(load("ada/tiny"))
    assert loaded.out.split() == [digest(folder), "4"], loaded.err
    stored = [asked for asked in hub.asked if asked.origin == "storage"]
    assert {asked.method for asked in stored} == {"PUT", "GET"} and not any(asked.token for asked in stored)
    assert any(asked.token for asked in hub.asked if asked.origin == "hub")


def test_an_unchanged_push_makes_no_commit_and_a_changed_one_sends_what_changed(hub, pusher, folder):
    assert pusher.dface("push", folder, "ada/tiny").code == 0
    before, sent = hub.state.repos[REPO].history, hub.count("PUT", "/")
    again = pusher.dface("push", folder, "ada/tiny")
    assert again.code == 0 and "no commit was made" in again.err
    assert hub.state.repos[REPO].history == before
    (folder / "README.md").write_text("Another card.\n")
    changed = pusher.dface("push", folder, "ada/tiny")
    assert changed.code == 0 and len(hub.state.repos[REPO].history) == len(before) + 1
    assert hub.count("PUT", "/") == sent == 1


def test_a_private_model_needs_the_token_of_its_owner(hub, pusher, loader, folder):
    assert pusher.dface("push", folder, "ada/secret", "--private").code == 0
    assert hub.state.repos["model", "ada/secret"].private
    for token in (None, "hf_bob"):
        refused = loader.run(load("ada/secret"), token)
        assert refused.code == 1 and "ada/secret" in refused.err
    assert loader.run(load("ada/secret"), "hf_ada").out.split()[0] == digest(folder)
    assert not any(asked.token for asked in hub.asked if asked.origin == "storage")


def test_private_is_not_ignored_for_a_repository_that_is_public(hub, pusher, folder):
    hub.state.create(*REPO)
    assert "is public already" in one_line(pusher.dface("push", folder, "ada/tiny", "--private"))
    assert hub.state.repos[REPO].history == ["initial commit"]


def test_revisions_and_tags(hub, pusher, loader, folder):
    assert pusher.dface("push", folder, "ada/tiny").code == 0
    tag = "from huggingface_hub import HfApi; HfApi().create_tag('ada/tiny', tag='v1')"
    assert pusher.run(tag, "hf_ada").code == 0
    first = digest(folder)
    change = f"""
import torch
from dface_hf import DFaceForVideoClassification
model = DFaceForVideoClassification.from_pretrained({str(folder)!r})
torch.nn.init.ones_(next(model.parameters()))
model.save_pretrained({str(folder)!r})
"""
    assert pusher.run(change).code == 0
    second = digest(folder)
    assert second != first
    done = pusher.dface("push", folder, "ada/tiny", "--revision", "next/try")
    assert done.code == 0 and len(hub.state.repos[REPO].history) == 2, done.err
    for revision, expected in (("main", first), ("v1", first), ("next/try", second)):
        answer = loader.run(load("ada/tiny", f"revision={revision!r}"))
        assert answer.out.split()[0] == expected, answer.err
    missing = loader.run(load("ada/tiny", "revision='nosuch'"))
    assert missing.code == 1 and "nosuch" in missing.err


def test_a_pull_request_leaves_the_main_branch_alone(hub, pusher, loader, folder):
    hub.state.create(*REPO)
    done = pusher.dface("push", folder, "ada/tiny", "--create-pr", token="hf_bob")
    assert done.code == 0 and done.out.strip().endswith("/ada/tiny/discussions/1"), done.err
    assert hub.state.repos[REPO].history == ["initial commit"]
    assert loader.run(load("ada/tiny", "revision='refs/pr/1'")).out.split()[0] == digest(folder)
    both = pusher.dface("push", folder, "ada/tiny", "--create-pr", "--revision", "next")
    assert "either --revision or --create-pr" in one_line(both)


@pytest.mark.parametrize(
    ("token", "repo", "told"),
    [
        (None, "ada/tiny", "no token for http://localhost"),
        ("hf_wrong", "ada/tiny", "refuses the token (401: Invalid credentials"),
        ("hf_ada_reads", "ada/tiny", "may only read"),
        ("hf_bob", "ada/tiny", "bob has no right to write to ada/tiny"),
        ("hf_ada", "ada/has spaces", "ada/has spaces"),
    ],
)
def test_who_may_not_push_is_told_before_anything_is_sent(hub, pusher, folder, token, repo, told):
    assert told in one_line(pusher.dface("push", folder, repo, token=token))
    assert not hub.state.repos and hub.count("PUT", "/") == 0


def test_a_name_that_is_taken(hub, pusher, folder):
    hub.state.create(*REPO)
    other = "from huggingface_hub import HfApi; HfApi().upload_file(repo_id='ada/tiny', "
    other += "path_or_fileobj=b'{\"model_type\": \"bert\"}', path_in_repo='config.json')"
    assert pusher.run(other, "hf_ada").code == 0
    assert "taken by a 'bert' model" in one_line(pusher.dface("push", folder, "ada/tiny"))
    hub.faults.append(Fault("POST", "/api/repos/create", 409))
    assert "ada/new: the name is taken" in one_line(pusher.dface("push", folder, "ada/new"))


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault("GET", "whoami", 500), "out of order (500"),
        (Fault("POST", "repos/create", 403), "no right to write to ada/tiny"),
        (Fault("POST", "validate-yaml", 502), "answered with something that is no JSON"),
        (Fault("POST", "/commit/", 500), "out of order (500"),
        (Fault("POST", "/commit/", "cut"), "no connection to http://localhost"),
        (Fault("POST", "/commit/", "hang"), "was silent for 1 s"),
    ],
)
def test_a_hub_out_of_order_is_one_line_and_nothing_is_lost(hub, pusher, folder, fault, told):
    hub.faults.append(fault)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    failed = pusher.dface("push", folder, "ada/tiny", HF_HUB_DOWNLOAD_TIMEOUT="1")
    assert told in one_line(failed)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    assert all(repo.history == ["initial commit"] for repo in hub.state.repos.values())
    sent = hub.count("PUT", "/")
    hub.faults.clear()
    assert pusher.dface("push", folder, "ada/tiny").code == 0
    assert len(hub.state.repos[REPO].history) == 2 and hub.count("PUT", "/") == 1
    if fault.part == "/commit/":
        assert sent == 1 and "push it again" in failed.err


def test_an_upload_that_is_cut_goes_on(hub, pusher, folder):
    hub.faults.append(Fault("PUT", "/", "cut", times=1))
    done = pusher.dface("push", folder, "ada/tiny")
    assert done.code == 0 and hub.count("PUT", "/") == 2, done.err
    assert hub.state.repos[REPO].resolve("main").files["model.safetensors"].oid == digest(folder)


def test_shards_and_half_precision(hub, pusher, loader, folder):
    shard = f"""
import torch
from dface_hf import DFaceForVideoClassification
model = DFaceForVideoClassification.from_pretrained({str(folder)!r}, dtype=torch.bfloat16)
model.save_pretrained({str(folder)!r}, max_shard_size="100KB")
"""
    assert pusher.dface("push", folder, "ada/tiny").code == 0
    assert pusher.run(shard).code == 0
    assert "both model.safetensors and shards" in one_line(pusher.dface("push", folder, "ada/tiny"))
    (folder / "model.safetensors").unlink()
    shards = {path.name for path in folder.glob("model-*.safetensors")}
    assert len(shards) > 1
    assert pusher.dface("push", folder, "ada/tiny").code == 0
    held = {name for name in hub.state.repos[REPO].resolve("main").files if name.endswith(".safetensors")}
    assert held == shards  # the whole file of the commit before is gone
    check = """
import dface_hf, torch
from dface_hf import DFaceForVideoClassification
for dtype in (torch.bfloat16, torch.float32):
    model = DFaceForVideoClassification.from_pretrained("ada/tiny", dtype=dtype).eval()
    with torch.no_grad():
        logits = model(pixel_values=torch.rand(1, 2, 3, 32, 32).to(dtype)).logits
    print(logits.dtype, bool(logits.isfinite().all()))
"""
    answer = loader.run(check)
    assert answer.out.split() == ["torch.bfloat16", "True", "torch.float32", "True"], answer.err


def test_only_a_whole_checkpoint_is_pushed_and_nothing_else_of_its_folder(hub, pusher, folder, tmp_path):
    (folder / "optimizer.pt").write_bytes(b"pickle")
    (folder / ".notes.md").write_text("mine")
    assert pusher.dface("push", folder, "ada/tiny").code == 0
    assert {"optimizer.pt", ".notes.md"}.isdisjoint(hub.state.repos[REPO].resolve("main").files)
    (folder / "model.safetensors").unlink()
    assert "model.safetensors is missing" in one_line(pusher.dface("push", folder, "ada/tiny"))
    assert "no such folder" in one_line(pusher.dface("push", tmp_path / "nosuch", "ada/tiny"))
    assert "config.json cannot be read" in one_line(pusher.dface("push", tmp_path, "ada/tiny"))
