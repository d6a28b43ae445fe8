"""What `dface explain` tells of a detector of action units; random weights are enough for that."""

import csv
import io
import json

import numpy as np
import pytest
import torch

from dface_hf import AC4AUForActionUnitDetection, AC4AUImageProcessor
from dface_hf.analysis.ac4au_explanations import gate_table, neighbours, read_clips, subject_probes
from dface_hf.analysis.ac4au_plots import plot_energies, plot_gates, plot_subjects, plot_units

from .coded_clips import moving_clips


@pytest.fixture(scope="module")
def detector(units_checkpoint):
    model = AC4AUForActionUnitDetection.from_pretrained(units_checkpoint).eval()
    return model, AC4AUImageProcessor.from_pretrained(units_checkpoint)


@pytest.fixture(scope="module")
def reading(detector):
    return read_clips(*detector, moving_clips())


def test_the_numbers_are_those_of_the_model(detector, reading):
    model, processor = detector
    with torch.no_grad():
        output = model(**processor(list(moving_clips()), return_tensors="pt"))
    assert len(reading) == 12 and reading.names[0] == "AU1"
    np.testing.assert_allclose(reading.scores, output.logits.sigmoid(), atol=1e-5)
    np.testing.assert_allclose(reading.gates, output.gate_weights, atol=1e-6)
    np.testing.assert_allclose(reading.changing, output.changing, atol=1e-5)
    np.testing.assert_allclose(reading.constant, output.constant, atol=1e-4)
    np.testing.assert_allclose(reading.gates.sum(axis=2), 1, atol=1e-5)
    assert not model.ac4au.backbone.head[0]._forward_hooks


def test_maps_say_where_and_when_something_changes(detector):
    frames = moving_clips(2)
    frames[:, 1:] = frames[:, :1]
    still = read_clips(*detector, frames)
    assert still.changing_map.max() < 1e-5 and still.energy.max() < 1e-9
    frames[0, 3, 16:, 16:] = 255 - frames[0, 3, 16:, 16:]  # one frame, the lower right corner
    moved = read_clips(*detector, frames)
    assert moved.changing_map.shape == (2, 8, 2, 2) and moved.constant_map.shape == (2, 2, 2)
    assert moved.energy[0].argmax() == 3 and moved.energy[1].max() < 1e-9
    assert moved.changing_map[0, 3].argmax() == 3


def test_a_model_without_experts_and_decomposer(detector):
    _, processor = detector
    config = detector[0].config.to_dict() | {"use_experts": False, "use_decomposer": False}
    plain = AC4AUForActionUnitDetection(type(detector[0].config)(**config)).eval()
    found = read_clips(plain, processor, moving_clips(2))
    assert found.gates is None and np.abs(found.changing.mean(axis=1)).max() < 1e-5


def test_the_table_of_gates():
    gates = np.array([[[1.0, 0.0], [0.5, 0.5]], [[1.0, 0.0], [0.3, 0.7]]])
    first, second = csv.DictReader(io.StringIO(gate_table(gates, ["AU1", "AU2"])))
    assert (first["unit"], first["expert1"], float(first["effective_experts"])) == ("AU1", "1.0000", 1)
    assert second["expert2"] == "0.6000" and float(second["largest_sd_over_clips"]) == pytest.approx(0.1)
    assert 1.9 < float(second["effective_experts"]) < 2


def test_neighbours_keep_groups_together():
    generator = np.random.default_rng(0)
    features = np.repeat(np.eye(3) * 9, 10, axis=0)[:, :, None] + generator.normal(0, 0.3, (30, 3, 4))
    plane = neighbours(features)
    assert plane.shape == (30, 2) and np.array_equal(plane, neighbours(features))
    away = np.linalg.norm(plane[:, None] - plane, axis=2) + 1e9 * np.eye(30)
    assert (away.argmin(axis=1) // 10 == np.arange(30) // 10).all()
    with pytest.raises(ValueError, match="7 clips: a map of neighbours needs 8"):
        neighbours(features[:7])


def test_subjects_are_in_what_stays(reading):
    subjects = [f"s{number % 3}" for number in range(len(reading))]
    probes = subject_probes(reading, subjects)
    assert list(probes) == ["AC", "DC", "pooled", "chance"]
    assert probes["DC"] == 1 and probes["AC"] < probes["DC"]
    assert subject_probes(reading, ["one"] * 12) == {}
    assert subject_probes(reading, [*subjects[:11], "once"]).keys() == probes.keys()


def test_figures_show_the_numbers(reading):
    figure = plot_gates(reading.gates, reading.names)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(reading.names)
    assert axes.texts[0].get_text() == f"{reading.gates.mean(axis=0)[0, 0]:.2f}".replace("0.", ".")
    energies = {axes.get_label(): axes for axes in plot_energies(reading, moving_clips(), 2).axes}
    np.testing.assert_array_equal(energies["row 0 5"].images[0].get_array(), moving_clips()[2, 5])
    np.testing.assert_array_equal(energies["row 1 5"].images[0].get_array(), reading.changing_map[2, 5])
    assert energies["row 1 0"].images[0].get_clim() == energies["row 1 7"].images[0].get_clim()
    np.testing.assert_allclose(energies["course"].lines[1].get_ydata(), 100 * reading.energy[2])
    plane, shown = np.random.default_rng(0).normal(size=(12, 2)), np.zeros((12, 12), int)
    shown[:5, 2] = 1
    panel = plot_units(plane, shown, reading.names).axes[2]
    assert panel.get_title(loc="left") == "AU4   5 of 12"
    np.testing.assert_allclose(panel.collections[1].get_offsets(), plane[:5])
    people = [f"s{number}" for number in range(12)] + ["s0"] * 3 + [f"t{number}" for number in range(5)]
    legend = plot_subjects(np.random.default_rng(0).normal(size=(20, 2)), people).axes[0].get_legend()
    assert len(legend.get_texts()) == 12 and "s0   4" in legend.get_texts()[0].get_text()
    assert "5 more in grey" in legend.get_title().get_text()


def test_explain_a_prepared_dataset(dface, coded_clips, units_checkpoint, tmp_path):
    code, out, err = dface("explain", units_checkpoint, "--data", coded_clips, "--out", tmp_path / "out")
    assert code == 0 and "12 clips; energy of AC" in out and "AU17 " in out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "ac_units.png", "dc_subjects.png", "energies.png", "explanation.json", "gates.csv", "gates.png"
    }  # fmt: skip
    told = json.loads((tmp_path / "out" / "explanation.json").read_text())
    assert told["clips"] == 12 and len(told["ac_energy"]) == 8
    assert sum(told["units"]["AU4"]["gates"]) == pytest.approx(1, abs=1e-3)
    assert told["subject_probes"]["DC"] == 1 and "AC" in told["subject_probes"]


def test_explain_a_clip(dface, clip, units_checkpoint, tmp_path):
    out = tmp_path / "out"
    code, told, err = dface("explain", units_checkpoint, "--data", clip, "--out", out, "--whole-clip")
    assert code == 0 and "1 clip;" in told and "no maps of clips" in err
    assert {path.name for path in out.iterdir()} == {
        "energies.png", "explanation.json", "gates.csv", "gates.png"
    }  # fmt: skip


def test_what_cannot_be_explained(dface, clip, coded_clips, units_checkpoint, checkpoint, portrait, tmp_path):
    still = tmp_path / "still.mp4"
    from dface_hf.faces import write_video

    write_video(still, portrait[0][:5], 30)
    (tmp_path / "file").touch()
    folder = ("--out", tmp_path / "out")
    for arguments, told in (
        ((units_checkpoint, "--data", still, *folder), "no event found; --whole-clip"),
        (
            (units_checkpoint, "--data", clip, "--data", coded_clips, *folder),
            "mixes prepared datasets and clips",
        ),
        ((units_checkpoint, "--data", clip, "--out", tmp_path / "file"), "is a file"),
        ((units_checkpoint, "--data", tmp_path / "gone.mp4", *folder), "gone.mp4: no such"),
        ((checkpoint, "--data", clip, *folder), "of a 'dface' model, not of AC4AU; give one of AC4AU"),
        ((units_checkpoint, "--data", clip, "--model", "dface", *folder), "--model is 'dface'"),
    ):
        code, _, err = dface("explain", *arguments)
        assert code == 2 and told in err and not (tmp_path / "out").exists()
