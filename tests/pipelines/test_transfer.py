"""The task `facial-action-transfer`: the demo checkpoint replays a brow raise and a smile on other faces."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import pipeline

import dface_hf
from dface_hf.faces import ClipError
from dface_hf.pipelines import FacialActionTransferPipeline
from dface_hf.pipelines.transfer import LEAST_TOLD, SourceFit, decoded_flow, read_picture
from dface_hf.synthesis import TimeCourse, procedural_faces, render_clip

TASK = "facial-action-transfer"
COURSE = TimeCourse(rise=0.2, hold=0.04, fall=0.24)
KEYFRAMES = ("onset", "apex", "offset")


def framed(face: np.ndarray) -> np.ndarray:
    """An aligned face (..., S, S, 3) with some room around it, as a detector needs it."""
    edge = face.shape[-2] // 4
    return np.pad(face, [(0, 0)] * (face.ndim - 3) + [(edge, edge), (edge, edge), (0, 0)], mode="edge")


@pytest.fixture(scope="module")
def faces() -> torch.Tensor:
    return procedural_faces(3, 192, seed=77)


@pytest.fixture(scope="module")
def target(faces) -> np.ndarray:
    """Another person: (288, 288, 3) uint8."""
    return framed((faces[1].permute(1, 2, 0).numpy() * 255).astype(np.uint8))


def acting(face: torch.Tensor, units: dict[int, float]) -> tuple[np.ndarray, dict[str, int]]:
    """A clip (T, 288, 288, 3) at 30 fps and its true keyframes."""
    frames, truth = render_clip(face, units, COURSE, fps=30, before=3, after=3)
    return framed(frames), {name: int(getattr(truth, name)) for name in KEYFRAMES}


@pytest.fixture(scope="module")
def brows(faces):
    return acting(faces[0], {1: 2.5, 2: 2.5})


@pytest.fixture(scope="module")
def smile(faces):
    return acting(faces[0], {12: 3.0})


@pytest.fixture(scope="module")
def transfer():
    return pipeline(TASK, model=dface_hf.DEFAULT_CHECKPOINT)


@pytest.fixture(scope="module")
def raised(transfer, brows, target):
    clip, keyframes = brows
    return transfer(clip, target, fps=30, **keyframes)


def motion(face, low: float, high: float) -> float:
    """Mean length of the motion between two heights of the aligned face, px of 128, |x| < 0.6."""
    side = (np.arange(len(face.flow)) + 0.5) * 2 / len(face.flow) - 1
    rows, columns = (side > low) & (side < high), np.abs(side) < 0.6
    return float(np.linalg.norm(face.flow[rows][:, columns], axis=-1).mean()) * 64


def test_the_result(raised, brows, target):
    keys = "path fps frames event action_ids gain agreement levels faces warnings".split()
    assert list(raised) == keys and raised["fps"] == 30 and raised["frames"] == len(brows[0])
    event = raised["event"]
    assert {name: event[name] for name in KEYFRAMES} == brows[1]
    assert event["action_ids"] == raised["action_ids"] and any(raised["action_ids"])
    (face,) = raised["faces"]
    assert face["image"].shape == target.shape and face["image"].dtype == np.uint8
    assert np.array_equal(face["image"], face["motion"].at(1.0))


def test_brows_rise_where_brows_rose_and_the_mouth_moves_where_it_moved(raised, transfer, smile, target):
    upper, lower = (-0.65, -0.3), (0.3, 0.7)
    face = raised["faces"][0]["motion"]
    assert motion(face, *upper) > 0.5 and motion(face, *upper) > 4 * motion(face, *lower)
    side = slice(*(int(len(face.flow) * (1 + y) / 2) for y in upper))
    assert face.flow[side, len(face.flow) // 4 : -len(face.flow) // 4, 1].mean() > 0  # shows what was below
    face = transfer(smile[0], target, fps=30, **smile[1])["faces"][0]["motion"]
    assert motion(face, *lower) > 0.3 and motion(face, *lower) > 2 * motion(face, *upper)


def test_only_the_face_of_the_picture_moves(raised, target):
    image = raised["faces"][0]["image"]
    change = np.square(image.astype(float) - target).mean(-1)
    brows_and_eyes = change[: int(0.62 * len(target))]
    assert (brows_and_eyes > 4).sum() > 500 and brows_and_eyes.sum() > 0.97 * change.sum()
    assert np.array_equal(image[:8], target[:8]) and np.array_equal(image[:, :8], target[:, :8])


def test_strength_scales_the_motion(transfer, brows, target):
    clip, keyframes = brows
    results = [transfer(clip, target, fps=30, strength=s, **keyframes) for s in (0, 0.5, 1, 1.5)]
    assert np.array_equal(results[0]["faces"][0]["image"], target) and not results[0]["levels"].any()
    assert [result["levels"].max() for result in results] == pytest.approx([0, 0.5, 1, 1.5])
    change = [np.abs(r["faces"][0]["image"].astype(float) - target).mean() for r in results]
    assert change == sorted(change) and change[3] > 1.5 * change[1]


def test_levels_follow_the_source(raised, brows):
    onset, apex, offset = (brows[1][name] for name in KEYFRAMES)
    levels = raised["levels"]
    assert len(levels) == offset - onset + 1 and levels[0] == levels[-1] == 0 and levels.max() == 1
    assert abs(int(np.argmax(levels)) - (apex - onset)) <= 1
    true = COURSE.intensity(torch.arange(len(levels)) / 30).numpy()
    assert np.corrcoef(levels, true)[0, 1] > 0.95
    frames = list(raised["faces"][0]["motion"].frames(levels))
    assert np.array_equal(frames[0], frames[-1]) and len(frames) == len(levels)


def test_without_an_offset_the_way_back_mirrors_the_way_there(transfer, brows, target):
    clip, keyframes = brows
    levels = transfer(clip, target, fps=30, onset=keyframes["onset"], apex=keyframes["apex"])["levels"]
    assert len(levels) == 2 * (keyframes["apex"] - keyframes["onset"]) + 1
    assert np.array_equal(levels, levels[::-1]) and levels[0] == 0


def test_null_tokens_leave_every_face_as_it_is(transfer, faces, brows, target):
    tokenizer = transfer.model.dface.tokenizer
    onsets = torch.nn.functional.interpolate(faces, size=tokenizer.config.image_size)
    null = tokenizer.null_action_ids()
    with torch.no_grad():
        assert not decoded_flow(tokenizer, onsets, null, null).any()
    clip, keyframes = brows
    still = np.repeat(clip[:1], 3, axis=0)
    result = transfer(still, target, fps=30, onset=0, apex=1, offset=2)
    assert result["action_ids"] == [0] * 16 and np.array_equal(result["faces"][0]["image"], target)


def test_attended_tokens_are_those_above_an_even_share(transfer, brows, target):
    clip, keyframes = brows
    result = transfer(clip, target, fps=30, tokens="attended", **keyframes)
    event = result["event"]
    rows = zip(event["attention"], event["action_ids"], result["action_ids"], strict=True)
    assert all(shown == (code if weight >= 1 / 16 else 0) for weight, code, shown in rows)
    assert result["action_ids"] != event["action_ids"]


def test_grey_pictures_stay_grey_and_transparent_ones_transparent(transfer, brows, target, tmp_path):
    clip, keyframes = brows
    grey = np.asarray(Image.fromarray(target).convert("L"))
    clear = np.dstack([target, np.full(target.shape[:2], 200, np.uint8)])
    Image.fromarray(grey).save(tmp_path / "grey.png")
    pictures = [str(tmp_path / "grey.png"), np.repeat(grey[..., None], 3, 2), Image.fromarray(clear)]
    result = transfer(clip, pictures, fps=30, **keyframes)
    images = [face["image"] for face in result["faces"]]
    assert [face["path"] for face in result["faces"]] == [pictures[0], "face 1", "face 2"]
    assert images[0].shape == grey.shape and (images[0] != grey).mean() > 0.02
    assert np.array_equal(images[1][..., 0], images[1][..., 2])
    assert images[2].shape == clear.shape and (images[2][..., 3] == 200).all()


def test_a_turned_face_moves_along_its_own_axes(transfer, brows, target):
    clip, keyframes = brows
    quarter = Image.fromarray(target).rotate(20, resample=Image.Resampling.BICUBIC)
    face = transfer(clip, quarter, fps=30, **keyframes)["faces"][0]["motion"]
    mean = face.shift.reshape(-1, 2)[np.linalg.norm(face.shift, axis=-1).ravel() > 1].mean(0)
    along = np.degrees(np.arctan2(*mean[::-1])) - np.degrees(face.similarity.rotation)
    assert face.similarity.rotation < -0.2 and abs(along - 90) < 15


def test_the_size_of_the_motion_is_that_of_the_source(transfer, faces, target):
    """Three times the motion in the source is about three times the motion on the target."""
    lengths = []
    for peak in (1.0, 3.0):
        clip, keyframes = acting(faces[0], {1: peak, 2: peak})
        face = transfer(clip, target, fps=30, **keyframes)["faces"][0]["motion"]
        lengths.append(np.linalg.norm(face.flow, axis=-1).max() * 64)
    assert 0.5 < lengths[0] < 1.5 and 1.5 < lengths[1] < 4.5


def test_a_face_that_would_fold_moves_less_and_this_is_told(transfer, brows, target, monkeypatch):
    clip, keyframes = brows
    free = transfer(clip, target, fps=30, strength=3, **keyframes)["faces"][0]["motion"]
    assert free.most > 3
    monkeypatch.setattr("dface_hf.faces.moving.RESERVE", 0.2)  # as if a gentle motion came near a fold
    result = transfer(clip, target, fps=30, strength=3, **keyframes)
    motion = result["faces"][0]["motion"]
    assert result["warnings"][-1].startswith("face 0: strength 3 would fold the face over itself; ")
    assert result["levels"].max() == pytest.approx(3) == pytest.approx(motion.most)
    lowered = np.linalg.norm(motion.flow) / np.linalg.norm(free.flow)
    assert f"{3 * lowered:.2f} is used" in result["warnings"][-1] and lowered < 1


def test_tokens_that_tell_another_motion_move_little_and_this_is_told(transfer, faces, brows, smile):
    """Brows decoded where the source smiles: nothing to be replayed, and an agreement near nothing."""
    tokenizer = transfer.model.dface.tokenizer
    crops = torch.nn.functional.interpolate(faces[:1], size=tokenizer.config.image_size)
    null = tokenizer.null_action_ids()
    edge = slice(48, 240)  # of the frame around the face
    pairs = {}
    for name, (clip, keyframes) in (("brows", brows), ("smile", smile)):
        apex = torch.from_numpy(clip[keyframes["apex"], edge, edge]).permute(2, 0, 1)[None] / 255
        pairs[name] = torch.cat([crops, torch.nn.functional.interpolate(apex, size=crops.shape[-1])])
    with torch.no_grad():
        ids = tokenizer.encode(*pairs["brows"][:, None])[0]
        raised = decoded_flow(tokenizer, crops, ids, null)[0]
    fits = {name: SourceFit.of(pair, raised) for name, pair in pairs.items()}
    assert fits["brows"].agreement > 0.6 > LEAST_TOLD > fits["smile"].agreement
    left = {name: float((fit.gains[..., None] * raised).norm()) for name, fit in fits.items()}
    assert left["smile"] < 0.4 * left["brows"]
    assert fits["smile"].gain == pytest.approx(left["smile"] / float(raised.norm()), rel=1e-4)


def test_the_pixel_head_transfers_too(checkpoint, brows, target):
    """Without a warp head, motion is measured between the decoder's pictures."""
    config = dface_hf.DFaceConfig.from_pretrained(checkpoint)
    config.tokenizer_config.decoder_head = "pixels"
    torch.manual_seed(0)
    model = dface_hf.DFaceForVideoClassification(config).eval()
    processor = pipeline(TASK, model=str(checkpoint)).image_processor
    clip, keyframes = brows
    result = pipeline(TASK, model=model, image_processor=processor)(clip, target, fps=30, **keyframes)
    assert result["faces"][0]["image"].shape == target.shape


def test_bad_input_is_told_in_one_line(transfer, brows, target, tmp_path):
    clip, keyframes = brows
    with pytest.raises(ClipError, match=r"face 1: no face found in the picture; give a picture with one"):
        transfer(clip, [target, np.full((200, 200, 3), 90, np.uint8)], fps=30, **keyframes)
    with pytest.raises(ClipError, match=r"no event found in 3 frames; name its frames \(onset and apex"):
        transfer(np.repeat(clip[:1], 3, axis=0), target, fps=30)
    with pytest.raises(ClipError, match="gone.png: no such file"):
        transfer(clip, "gone.png", fps=30, **keyframes)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ClipError, match="text.png: not a readable picture"):
        transfer(clip, tmp_path / "text.png", fps=30, **keyframes)
    with pytest.raises(ValueError, match="strength is 4; choose 0"):
        transfer(clip, target, strength=4)
    with pytest.raises(ValueError, match="tokens is 'some'; choose all or attended"):
        transfer(clip, target, tokens="some")
    with pytest.raises(ValueError, match=r"refine is 9; choose 0 \(off\) to 8 steps"):
        transfer(clip, target, refine=9)
    with pytest.raises(TypeError, match="unknown option 'onest'; known are strength"):
        transfer(clip, target, onest=3)
    with pytest.raises(ValueError, match="no face to transfer to"):
        transfer(clip, [])


def test_pictures_are_read_upright_and_in_their_own_mode(tmp_path):
    image = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6))
    turned = Image.Exif()
    turned[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=turned)
    assert read_picture(tmp_path / "turned.jpg", "x").shape == (6, 4)
    assert read_picture(image.convert("P"), "x").shape == (4, 6, 3)
    assert read_picture(np.zeros((4, 6, 1), np.uint8), "x").shape == (4, 6)


def test_the_registered_class():
    loaded = pipeline(TASK, model=dface_hf.DEFAULT_CHECKPOINT)
    assert type(loaded) is FacialActionTransferPipeline
