import json
import os
from pathlib import Path

import pytest
import torch
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
from safetensors.torch import load_file

from dface_hf import DFaceTokenizerConfig, DFaceTokenizerModel
from dface_hf.data import MixedPairs, ParquetPairs
from dface_hf.training import PretrainConfig, pretrain
from dface_hf.training.checkpointing import checkpoints, cut_log, save_checkpoint, write_folder

from ..data.clip_sets import write_clips
from .tiny_run import MODEL as CONFIG
from .tiny_run import RECIPE as OPTIONS
from .tiny_run import ShiftStream

RECIPE = PretrainConfig(**OPTIONS)
# The parts of the recipe that are off by default.
OPTIONAL = (
    dict(context_codebook_size=4, num_context_tokens=2),
    dict(adversary_weight=0.3, codebook_weight=1.0),
)


def variant(model, recipe):
    return DFaceTokenizerConfig(**(CONFIG.to_dict() | model)), PretrainConfig(**(OPTIONS | recipe))


class Interrupted(ShiftStream):
    def sample(self, batch, step=None, twins=False):
        if step >= 10:
            raise KeyboardInterrupt
        return super().sample(batch, step, twins)


def weights(folder):
    return DFaceTokenizerModel.from_pretrained(folder / "model").state_dict()


@pytest.mark.parametrize("options", [({}, {}), OPTIONAL], ids=["as it is", "with all parts"])
def test_a_resumed_run_ends_with_the_same_weights(tmp_path, options):
    config, recipe = variant(*options)
    pretrain(config, ShiftStream(), recipe, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        pretrain(config, Interrupted(), recipe, tmp_path / "broken")
    assert not (tmp_path / "broken/model").exists()
    pretrain(config, ShiftStream(), recipe, tmp_path / "broken", resume=True)
    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "broken")
    assert any(name.startswith("context.") for name in whole) == bool(options[0])
    assert not [name for name in whole if "critic" in name]
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name
    logs = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "broken")]
    assert logs[0] == logs[1]
    assert [json.loads(line)["step"] for line in logs[0].splitlines()] == [2, 4, 6, 8, 10, 12]


def test_a_resumed_run_on_real_clips_ends_with_the_same_weights(tmp_path):
    prepared = write_clips(tmp_path / "prepared")

    def stream(other):
        return MixedPairs([(ParquetPairs([prepared], 32, window=4), 0.5), (other, 0.5)])

    pretrain(CONFIG, stream(ShiftStream()), RECIPE, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        pretrain(CONFIG, stream(Interrupted()), RECIPE, tmp_path / "broken")
    assert 0 < len(checkpoints(tmp_path / "broken/checkpoints")) < 3
    pretrain(CONFIG, stream(ShiftStream()), RECIPE, tmp_path / "broken", resume=True)
    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "broken")
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_the_second_codebook_learns_from_still_pairs_and_needs_some(tmp_path):
    class Drifting(ShiftStream):
        """Where nothing acts, the head moves, one way or the other."""

        def sample(self, batch, step=None, twins=False):
            pairs = super().sample(batch, step, twins)
            still = (pairs.weights == 0).all(dim=1)
            first = torch.arange(batch) < batch // 2
            for rows, by in ((still & first, 1), (still & ~first, -1)):
                pairs.apex[rows] = pairs.onset[rows].roll(by, dims=2)
            return pairs

    class Acting(ShiftStream):
        def sample(self, batch, step=None, twins=False):
            pairs = super().sample(batch, step, twins)
            pairs.weights = torch.ones_like(pairs.weights)
            return pairs

    config, recipe = variant(*OPTIONAL)
    tokenizer = pretrain(config, Drifting(), recipe, tmp_path / "some")
    lines = [json.loads(line) for line in (tmp_path / "some/metrics.jsonl").read_text().splitlines()]
    assert all("adversary_loss" in line for line in lines) and lines[-1]["context_loss"] > 0
    pairs = Drifting().sample(8, 99)
    ids = tokenizer.eval().encode_context(pairs.onset, pairs.apex)[[0, 4]]
    assert ids.ne(0).any() and not torch.equal(ids[0], ids[1])
    with pytest.raises(ValueError, match="the second codebook needs pairs in which nothing acts"):
        pretrain(config, Acting(), recipe, tmp_path / "none")


def test_a_run_from_before_a_part_was_added_goes_on(tmp_path):
    recipe, folder = PretrainConfig(**dict(OPTIONS, steps=6)), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        pretrain(CONFIG, Interrupted(), RECIPE, folder)
    told = json.loads((folder / "recipe.json").read_text())
    assert told.pop("adversary_weight") == 0 and told["model"].pop("context_codebook_size") == 0
    (folder / "recipe.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match=r"another recipe \(steps: 12 -> 6\)"):
        pretrain(CONFIG, ShiftStream(), recipe, folder, resume=True)
    pretrain(CONFIG, ShiftStream(), RECIPE, folder, resume=True)
    with pytest.raises(ValueError, match="adversary_weight: 0.0 -> 0.3"):
        pretrain(CONFIG, ShiftStream(), variant({}, OPTIONAL[1])[1], folder, resume=True)


def test_accumulated_passes_make_one_step(tmp_path):
    """Twice the same pairs give the gradient, and the step, of once."""

    class Same(ShiftStream):
        def sample(self, batch, step=None, twins=False):
            return super().sample(batch, 0, twins)

    once = dict(OPTIONS, steps=2, continuous_steps=2, swap_share=0.0)
    pretrain(CONFIG, Same(), PretrainConfig(**once), tmp_path / "once")
    pretrain(CONFIG, Same(), PretrainConfig(**once, gradient_accumulation_steps=2), tmp_path / "twice")
    expected, found = weights(tmp_path / "once"), weights(tmp_path / "twice")
    for name, value in expected.items():
        if name not in ("quantizer.running_rms", "quantizer.usage"):  # these count passes
            torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6, msg=name)
    assert found["quantizer.usage"].sum() == 2 * expected["quantizer.usage"].sum()


def test_what_is_written_is_the_average(tmp_path):
    recipe = PretrainConfig(**dict(OPTIONS, steps=2, checkpoint_every=1, ema_decay=0.75))
    returned = pretrain(CONFIG, ShiftStream(), recipe, tmp_path).state_dict()
    first, second = (load_file(path / "model.safetensors") for path in checkpoints(tmp_path / "checkpoints"))
    name = "action_projection.weight"
    expected = 0.75 * first[f"tokenizer.{name}"] + 0.25 * second[f"tokenizer.{name}"]
    assert not torch.equal(expected, second[f"tokenizer.{name}"])
    torch.testing.assert_close(weights(tmp_path)[name], expected)
    torch.testing.assert_close(returned[name], expected)
    with pytest.raises(ValueError, match="ema_decay is 1"):
        pretrain(CONFIG, ShiftStream(), PretrainConfig(**OPTIONS, ema_decay=1), tmp_path / "x")


def test_the_loss_falls(tmp_path):
    recipe = PretrainConfig(
        steps=60, batch_size=16, continuous_steps=40, lr_warmup_steps=5, log_every=5, checkpoint_every=100
    )
    pretrain(CONFIG, ShiftStream(), recipe, tmp_path)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert losses[7] < 0.9 * losses[0]


def test_only_the_last_checkpoints_stay(tmp_path):
    pretrain(CONFIG, ShiftStream(), RECIPE, tmp_path)
    assert [path.name for path in checkpoints(tmp_path / "checkpoints")] == ["step-000008", "step-000012"]


def test_a_failed_save_leaves_the_checkpoint_before(tmp_path):
    save_checkpoint(tmp_path, 1, lambda folder: open(f"{folder}/a", "w").close())

    def fail(folder):
        open(f"{folder}/half", "w").close()
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full; the last whole checkpoint is step-000001"):
        save_checkpoint(tmp_path, 2, fail)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]


def test_a_folder_is_there_whenever_its_replacement_is_cut_short(tmp_path, monkeypatch):
    def fill(text):
        return lambda folder: Path(folder, "a").write_text(text)

    def killed(self, target):
        if self.name == ".model.partial":
            raise KeyboardInterrupt
        return rename(self, target)

    target, rename = tmp_path / "model", Path.rename
    write_folder(target, fill("old"))
    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        write_folder(target, fill("new"))
    monkeypatch.undo()
    with pytest.raises(OSError, match="disk"):
        write_folder(target, _full_disk)
    assert (target / "a").read_text() == "old"
    write_folder(target, fill("newer"))
    assert (target / "a").read_text() == "newer" and os.listdir(tmp_path) == ["model"]


def _full_disk(folder):
    raise OSError("disk")


def test_another_recipe_or_an_overwrite_is_refused(tmp_path):
    pretrain(CONFIG, ShiftStream(), RECIPE, tmp_path)
    with pytest.raises(ValueError, match="holds checkpoints"):
        pretrain(CONFIG, ShiftStream(), RECIPE, tmp_path)
    with pytest.raises(ValueError, match="batch_size: 8 -> 4"):
        other = PretrainConfig(**{**vars(RECIPE), "batch_size": 4})
        pretrain(CONFIG, ShiftStream(), other, tmp_path, resume=True)


def test_trackers_that_are_unknown_or_not_installed_are_named(tmp_path):
    with pytest.raises(ValueError, match="report_to is 'nosuch'; known trackers: .*wandb"):
        pretrain(CONFIG, ShiftStream(), RECIPE, tmp_path, report_to="nosuch")
    installed = {tracker.value for tracker in get_available_trackers()}
    absent = sorted(set(LOGGER_TYPE_TO_CLASS) - installed)
    assert absent  # nobody has all nine
    with pytest.raises(ImportError, match=f"the tracker {absent[0]} is not installed; pip install"):
        pretrain(CONFIG, ShiftStream(), RECIPE, tmp_path, report_to=absent[0])
    assert not list(tmp_path.iterdir())


def test_trackers_are_told_the_numbers(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read when trackio is imported, by the run
    pretrain(CONFIG, ShiftStream(), RECIPE, tmp_path, report_to="tensorboard,trackio")
    for files in ("events.out.tfevents*", "trackio/*.db"):
        written = b"".join(path.read_bytes() for path in tmp_path.rglob(files))
        assert b"perplexity" in written and b"flow_loss" in written, files


def test_half_a_line_of_the_log_is_dropped(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 2}\n{"step": 4}\n{"step": 6}\n{"ste')
    cut_log(path, "step", 4)
    assert path.read_text() == '{"step": 2}\n{"step": 4}\n'


def test_a_loss_that_is_no_number_stops_the_run(tmp_path):
    class Broken(ShiftStream):
        def sample(self, batch, step=None, twins=False):
            pair = super().sample(batch, step, twins)
            pair.apex = pair.apex * float("nan")
            return pair

    with pytest.raises(FloatingPointError, match="step 0"):
        pretrain(CONFIG, Broken(), RECIPE, tmp_path)


def test_the_curriculum_narrows_and_the_quantiser_changes_mode():
    recipe = PretrainConfig(
        steps=100,
        continuous_steps=10,
        hard_share=0.3,
        commitment_weight=0,
        amplitude=(0.5, 3.0),
        first_amplitude=(2.0, 6.0),
    )
    assert recipe.amplitude_at(0) == pytest.approx(recipe.first_amplitude)
    assert recipe.amplitude_at(50) == pytest.approx(recipe.amplitude)
    assert recipe.amplitude_at(99) == pytest.approx(recipe.amplitude)
    assert [recipe.mode_at(step) for step in (0, 9, 10, 69, 70, 99)] == [
        "continuous",
        "continuous",
        "noise",
        "noise",
        "hard",
        "hard",
    ]
    assert PretrainConfig(steps=100, continuous_steps=10, hard_share=0.3).mode_at(70) == "straight"
