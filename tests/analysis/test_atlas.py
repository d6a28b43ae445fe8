"""What single tokens move: statistics on planted tokens, and an atlas of a tiny untrained tokenizer."""

import base64
import json
import re
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from dface_hf import DFaceTokenizerConfig, DFaceTokenizerModel
from dface_hf.analysis.atlas import FILES, build_atlas, write_atlas
from dface_hf.analysis.token_claims import (
    code_similarity,
    energy_shares,
    locality,
    shifted,
    unit_halves,
    verdict_halves,
    verdict_positions,
)
from dface_hf.analysis.token_fields import GRID, TokenFields, consistency, fields_alone, fields_in_company
from dface_hf.analysis.token_pairs import TokenisedPairs, probe_views, unit_information, unit_lift, usage
from dface_hf.models.dface.configuration_dface_tokenizer import REFERENCE_SETTINGS
from dface_hf.synthesis import procedural_faces

SMALL = dict(
    image_size=32, patch_size=4, hidden_size=32, num_spatial_layers=1, num_attention_heads=2, head_dim=16
)
CODES = 8


def tokenizer(**changes) -> DFaceTokenizerModel:
    torch.manual_seed(0)
    sizes = SMALL | {"codebook_size": CODES, "num_action_tokens": 4}
    model = DFaceTokenizerModel(DFaceTokenizerConfig(**sizes | changes)).eval()
    model.quantizer.running_rms.fill_(0.001)  # without training, vectors are short and most tokens null
    return model


@pytest.fixture(scope="module")
def faces():
    return procedural_faces(4, 32, seed=5, oversample=1)


@pytest.fixture(scope="module")
def atlas(faces):
    return build_atlas(tokenizer(), faces, {"model": "<tiny>"}, pairs=60, company=3)


def planted(field) -> TokenFields:
    """Fields (2, GRID, GRID) = field(position, code) of 16 positions and 8 codes, alike on every face."""
    found = TokenFields.empty(16, CODES)
    for position in range(16):
        for code in range(1, CODES):
            found.put(position, code, np.stack([field(position, code)] * 2).astype(np.float32))
    return found


def local(position: int, code: int) -> np.ndarray:
    """A bump in the cell of the position, in the direction of the code."""
    y, x = np.mgrid[:GRID, :GRID] - 3.5
    bump = np.exp(-((x - 8 * (position % 4)) ** 2 + (y - 8 * (position // 4)) ** 2) / 4)
    return np.stack([np.cos(code) * bump, np.sin(code) * bump])


def everywhere(position: int, code: int) -> np.ndarray:
    return np.random.default_rng(100 * position + code).normal(size=(2, GRID, GRID))


def test_local_gestures_are_found():
    fields, counts = planted(local), np.full((16, CODES), 10)
    similar, acts = code_similarity(fields), locality(fields, counts)
    assert similar["same_code_moved"] > 0.999 and similar["same_code"] < 0.05
    assert abs(similar["other_code_moved"]) < 0.3 and similar["other_faces"] == pytest.approx(1)
    assert similar["tokens"] == 16 * (CODES - 1), "the null code is no token"
    assert acts["own_cell"] > 0.95 and acts["around"] > 0.999 and acts["moves_both"] == 0
    assert acts["upper_of_upper"] > 0.95 and acts["upper_of_lower"] < 0.05
    assert acts["own_cell_area"] == pytest.approx(1 / 16) and acts["around_area"] == pytest.approx(100 / 256)
    halves = verdict_halves(acts, {"upper_units_in_upper_rows": 0.9, "lower_units_in_lower_rows": 0.8})
    assert halves[0].startswith("No: 0% of the tokens") and "90% of what tokens tell" in halves[1]


def test_tokens_without_structure_are_found_to_have_none():
    fields, counts = planted(everywhere), np.full((16, CODES), 10)
    similar, acts = code_similarity(fields), locality(fields, counts)
    assert abs(similar["same_code_moved"] - similar["other_code_moved"]) < 0.05
    assert acts["moves_both"] == 1 and acts["own_cell"] == pytest.approx(1 / 16, abs=0.01)
    assert verdict_halves(acts, {"upper_units_in_upper_rows": None, "lower_units_in_lower_rows": None}) == [
        f"Yes: 100% of the tokens in use move both halves (20% of the motion energy or more in each; 50% of "
        f"these stand next to the middle). "
        f"{acts['around']:.0%} of the energy stays in a token's own cell and those next to it (39% of the "
        f"area), {acts['own_cell']:.0%} in the cell itself (6%)."
    ]


def test_use_weighs_and_rare_tokens_do_not_count():
    counts = np.zeros((16, CODES), int)
    counts[5, 3] = 1
    fields = planted(lambda p, c: 5 * local(p, c) if (p, c) == (5, 3) else everywhere(p, c))
    assert locality(fields, counts)["own_cell"] > 0.95
    assert locality(fields, counts, least=3)["own_cell"] is None
    assert code_similarity(fields, least=3)["same_code_moved"] is None
    said = verdict_positions(code_similarity(fields, least=3), 0.1, 0.1, {})
    assert said == ["Too few tokens move or occur to say whether a code means different things by position."]


def test_faint_fields_do_not_count():
    counts = np.full((16, CODES), 10)
    acts = locality(
        planted(lambda p, c: (0.01 if c == 1 else 1) * (everywhere if c == 1 else local)(p, c)), counts
    )
    assert acts["moves_both"] == 0 and acts["faint"] == pytest.approx(1 / (CODES - 1))


def test_regions_and_sides():
    regions = energy_shares(planted(local))["regions"]
    assert np.argmax(regions[14, 1]) != np.argmax(regions[1, 1])
    assert regions[1, 1].sum() == pytest.approx(1) and np.isnan(regions[1, 0]).all()


def test_moving_a_field_by_cells():
    field = np.arange(16.0).reshape(4, 4)
    assert shifted(field, 1, -2).tolist() == [[0, 0, 0, 0], [2, 3, 0, 0], [6, 7, 0, 0], [10, 11, 0, 0]]
    assert np.array_equal(shifted(field, 0, 0), field)


def test_consistency_across_faces():
    field = np.stack([everywhere(0, 0)] * 3)
    assert consistency(field) == pytest.approx(1)
    assert abs(consistency(np.stack([everywhere(0, k) for k in range(20)]))) < 0.2
    assert np.isnan(consistency(field[:1])) and np.isnan(consistency(0 * field))


def words(n=4000, seed=0):
    """Random tokens (n, 16)."""
    return np.random.default_rng(seed).integers(0, CODES, (n, 16))


def test_a_unit_that_needs_the_position():
    ids = words()
    units = np.stack([ids[:, 3] == 5, ids[:, 12] == 5], axis=1).astype(np.uint8)
    bits = unit_information(ids, units, CODES)
    assert bits["by_position"][3, 0] == pytest.approx(bits["entropy"][0], abs=0.01)
    assert abs(bits["by_position"][4, 0]) < 0.003, "what is left of chance"
    assert bits["unplaced"].max() < 0.1 * bits["placed"].min()
    lift, least = unit_lift(ids, units, CODES)
    assert lift[3, 5, 0] == pytest.approx(1 / units[:, 0].mean()) and 1 < least[3, 5, 0] < lift[3, 5, 0]
    assert (least > 1).sum() == 2, "no token goes with a unit by chance"
    halves = unit_halves(bits["by_position"], (1, 12))
    assert min(halves.values()) > 0.9
    pairs = TokenisedPairs(ids, units, np.arange(len(ids)) % 8, np.zeros((0, 3, 32, 32), np.uint8), (1, 12))
    views = probe_views(pairs, CODES)
    assert views["tokens"] > 0.99 and views["bag"] < 0.5 and views["places"] < 0.5
    similar = {"same_code_moved": 0.1, "other_code_moved": 0.05, "other_faces": 0.9}
    said = verdict_positions(similar, bits["placed"].mean(), bits["unplaced"].mean(), views)
    assert said[0].startswith("Yes: ") and "gesture is another:" in said[1]


def test_a_unit_that_needs_no_position():
    rng = np.random.default_rng(0)
    units = rng.integers(0, 2, (4000, 1)).astype(np.uint8)
    ids = np.where(units > 0, 5, rng.integers(0, 5, (4000, 16)))
    bits = unit_information(ids, units, CODES)
    assert bits["unplaced"][0] == pytest.approx(bits["placed"][0], abs=1e-3)
    pairs = TokenisedPairs(ids, units, np.arange(4000) % 8, np.zeros((0, 3, 32, 32), np.uint8), (1,))
    similar = {"same_code_moved": 0.9, "other_code_moved": 0.05, "other_faces": None}
    said = verdict_positions(
        similar, bits["placed"].mean(), bits["unplaced"].mean(), probe_views(pairs, CODES)
    )
    assert said[0].startswith("No: ") and "gesture is the same:" in said[1]


def test_rare_tokens_and_units_are_not_judged():
    ids = np.ones((30, 16), int)
    ids[:5] = 2
    lift, least = unit_lift(ids, np.eye(30, 2, dtype=np.uint8) * [[1, 0]], CODES)
    assert np.isnan(lift[:, 2]).all() and np.isnan(lift[..., 1]).all() and np.isfinite(lift[:, 1, 0]).all()
    assert usage(ids, CODES)[7].tolist() == [0, 25, 5, 0, 0, 0, 0, 0]


def test_null_tokens_move_nothing_and_others_do(faces):
    fields = fields_alone(tokenizer(), faces)
    assert (fields.motion[:, 0] == 0).all() and (fields.examples[:, 0] == 0).all()
    assert (fields.peak[:, 1:] > 0).all() and (fields.examples[:, 1:] == 4).all()
    assert np.nanmax(fields.consistency) <= 1.0001


def test_motion_in_company_is_what_the_token_adds(faces):
    model, ids = tokenizer(), np.zeros((4, 4), np.int64)
    ids[:, 2] = 3
    onset = (faces.numpy() * 255).astype(np.uint8)
    pairs = TokenisedPairs(ids, np.zeros((4, 1)), np.arange(4), onset, (1,))
    among = fields_in_company(model, pairs)
    alone = fields_alone(model, torch.from_numpy(onset).float() / 255)
    assert among.examples.sum() == among.examples[2, 3] == 4
    assert np.allclose(among.motion[2, 3], alone.motion[2, 3], atol=1e-5), "among null tokens it is alone"


def test_a_pixel_decoder_is_read_by_optical_flow(faces):
    atlas = build_atlas(tokenizer(decoder_head="pixels"), faces[:2], pairs=10, company=2)
    assert atlas.document["motion"] == "optical flow between decoded pictures"
    assert np.isfinite(atlas.alone.motion).all() and (atlas.alone.motion[:, 0] == 0).all()


def test_the_published_form_is_read_against_the_rest_of_each_face(faces):
    torch.manual_seed(0)
    published = REFERENCE_SETTINGS | dict(reference_compat=True)
    model = DFaceTokenizerModel(
        DFaceTokenizerConfig(**SMALL | published | dict(codebook_size=CODES, num_action_tokens=4))
    ).eval()
    rest = model.encode(faces[:1], faces[:1])[0]
    fields = fields_alone(model, faces[:1])
    assert rest.any(), "a still face has a code map"
    assert all(fields.peak[position, code] == 0 for position, code in enumerate(rest.tolist()))
    assert fields.peak.max() > 0


def test_everything_is_in_the_document(atlas):
    document = atlas.document
    text = json.dumps(document, allow_nan=False)
    assert json.loads(text) == document and document["faces"] == 4 and document["pairs"] == 60
    assert len(document["tokens"]) == 4 * (CODES - 1) and len(document["positions"]) == 4
    used = sum(token["pairs"] for token in document["tokens"])
    assert used > 20 and used == pytest.approx(
        sum(place["moves"] for place in document["positions"]) * 60, rel=0.01
    )
    assert all((token["in_company"] is None) == (token["pairs"] == 0) for token in document["tokens"])
    assert all(answer["verdict"] for answer in document["questions"].values())
    assert set(document["sum_of_tokens"]) == {"cosine", "gain", "r2"}


def test_equal_seeds_give_equal_atlases(atlas, faces):
    again = build_atlas(tokenizer(), faces, {"model": "<tiny>"}, pairs=60, company=3)
    assert again.document == atlas.document


def test_the_page_needs_nothing_from_outside(atlas, tmp_path):
    page = write_atlas(tmp_path, atlas).read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    assert not re.search(r"https?://|<link|src=|url\(|@import|fetch\(", page)
    assert "default-src 'none'" in page and "<tiny>" not in page and "&lt;tiny&gt;" in page
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S).group(1))
    packed = np.frombuffer(zlib.decompress(base64.b64decode(data["fields"]["alone"])), np.int8)
    field = packed.reshape(4, CODES, 2, GRID, GRID)[2, 3]
    assert np.abs(field).max() == 127
    assert np.corrcoef(field.ravel(), atlas.alone.motion[2, 3].ravel())[0, 1] > 0.999
    with np.load(tmp_path / "atlas.npz") as kept:
        assert kept["alone"].shape == kept["in_company"].shape == (4, CODES, 2, GRID, GRID)
    assert Image.open(tmp_path / "poster.png").width > 600


def test_an_atlas_replaces_an_older_one_and_nothing_else(atlas, tmp_path):
    (tmp_path / "atlas.json").write_text("old")
    (tmp_path / ".123.partial.index.html").write_text("left behind by a run that was killed")
    write_atlas(tmp_path, atlas)
    assert json.loads((tmp_path / "atlas.json").read_text())["model"] == "<tiny>"
    (tmp_path / "thesis.tex").write_text("dear")
    with pytest.raises(ValueError, match="holds thesis.tex; give a new folder"):
        write_atlas(tmp_path, atlas)
    with pytest.raises(ValueError, match="is a file; give a folder"):
        write_atlas(tmp_path / "thesis.tex", atlas)


def test_faces_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 3, 64, 64\); expected \(n, 3, 32, 32\)"):
        build_atlas(tokenizer(), torch.zeros(2, 3, 64, 64))
    with pytest.raises(ValueError, match="pairs is 0"):
        build_atlas(tokenizer(), torch.zeros(2, 3, 32, 32), pairs=0)


def planted_checkpoint(folder):
    tokenizer().save_pretrained(folder / "model")
    return folder / "model"


def test_the_command(dface, tmp_path):
    folder = tmp_path / "new" / "atlas"
    options = ["--identities", 2, "--pairs", 20, "--seed", 1]
    code, out, _ = dface("atlas", planted_checkpoint(tmp_path), "--out", folder, *options)
    assert code == 0 and out.strip().splitlines()[-1] == str(folder / "index.html")
    document = json.loads((folder / "atlas.json").read_text())
    assert document["model"] == tmp_path.name and document["face_source"] == "procedural faces"
    assert document["faces"] == 2 and document["seed"] == 1 and document["pairs"] == 20
    assert document["questions"]["do_tokens_control_upper_and_lower_face"]["verdict"][0] in out


def test_portraits_of_a_folder(dface, portrait, tmp_path):
    folder = tmp_path / "faces"
    (folder / "more").mkdir(parents=True)
    Image.fromarray(portrait[0][0]).save(folder / "more" / "astronaut.png")
    Image.new("RGB", (80, 80)).save(folder / "black.png")
    (folder / "broken.jpg").write_text("no picture")
    command = ["atlas", planted_checkpoint(tmp_path), "--out", tmp_path / "atlas", "--faces", folder]
    code, _, err = dface(*command, "--pairs", 10)
    assert code == 0 and "no face found in 2 pictures, or unreadable, such as b" in err
    assert "1 faces; 50 were asked for" in err
    document = json.loads((tmp_path / "atlas" / "atlas.json").read_text())
    assert document["faces"] == 1 and document["face_source"] == "portraits of faces"
    assert all(token["alone"]["consistency"] is None for token in document["tokens"]), "one face says nothing"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--faces", "nowhere"], "nowhere: no such folder; give a folder of portraits"),
        (["--faces", "."], "no picture in it"),
        (["--out", "file.txt"], "file.txt: is a file; give a folder for the atlas"),
        (["--out", "full"], "full: the folder holds thesis.tex; give a new folder"),
        (["--device", "cuda:99"], "device 'cuda:99' cannot be used"),
    ],
)
def test_one_line_for_each_mistake(dface, tmp_path, monkeypatch, options, told):
    monkeypatch.chdir(tmp_path)
    model = planted_checkpoint(tmp_path)
    (tmp_path / "file.txt").write_text("text")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("dear")
    code, out, err = dface("atlas", model, "--out", "atlas", *options)
    assert code == 2 and out == "" and told in err and len(err.strip().splitlines()) == 1


def test_a_model_that_is_none(dface, tmp_path):
    code, _, err = dface("atlas", tmp_path, "--out", tmp_path / "atlas")
    assert code == 2 and "holds no config.json" in err and not (tmp_path / "atlas").exists()
