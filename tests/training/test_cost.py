"""What a run says it has cost: added up across interruptions, never guessed."""

import json
import time

from dface_hf.training.accelerator import new_accelerator
from dface_hf.training.cost import Meter, machine_name, read_cost


def spend(folder, seconds: float, resumed: bool) -> None:
    meter = Meter(new_accelerator(), folder, resumed)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
    meter.write()


def test_parts_of_a_run_are_added_up(tmp_path):
    spend(tmp_path, 0.3, resumed=False)
    [first] = read_cost(tmp_path)
    assert first["seconds"] >= 0.3 and first["processor_seconds"] > 0 and "CPU cores" in first["machine"]
    spend(tmp_path, 0.3, resumed=True)
    [both] = read_cost(tmp_path)
    assert both["seconds"] >= first["seconds"] + 0.3
    spend(tmp_path, 0.1, resumed=False)
    assert read_cost(tmp_path)[0]["seconds"] < both["seconds"]  # a new run begins at nothing


def test_what_is_written_twice_counts_once(tmp_path):
    start = time.perf_counter()
    meter = Meter(new_accelerator(), tmp_path, resumed=False)
    for _ in range(5):
        time.sleep(0.1)
        meter.write()
    elapsed = time.perf_counter() - start
    assert 0.5 <= read_cost(tmp_path)[0]["seconds"] <= elapsed + 0.05  # tenths are written


def test_a_system_that_does_not_tell_its_memory(monkeypatch):
    assert machine_name().endswith(" GiB")
    monkeypatch.delattr("os.sysconf")
    assert machine_name().endswith(")")


def test_another_machine_has_an_entry_of_its_own(tmp_path):
    elsewhere = {"machine": "96 CPU cores", "device": "H100", "processes": 8}
    elsewhere |= {"seconds": 60.0, "processor_seconds": 480.0}
    (tmp_path / "cost.json").write_text(json.dumps([elsewhere]))
    spend(tmp_path, 0.1, resumed=True)
    there, here = read_cost(tmp_path)
    assert there == elsewhere and here["device"] == "cpu"


def test_a_part_that_was_not_measured_makes_the_whole_unknown(tmp_path):
    spend(tmp_path, 0.0, resumed=True)
    assert read_cost(tmp_path) == []


def test_both_kinds_of_training_say_what_they_cost(tmp_path):
    from dface_hf.training import PretrainConfig, TrainConfig, pretrain, train_heads

    from .test_train import clips, model
    from .tiny_run import MODEL, RECIPE, ShiftStream

    pretrain(MODEL, ShiftStream(), PretrainConfig(**RECIPE), tmp_path / "tokenizer")
    train_heads(model(), clips(), TrainConfig(epochs=1), tmp_path / "heads")
    for run in ("tokenizer", "heads"):
        [entry] = read_cost(tmp_path / run)
        assert entry["processes"] == 1 and entry["device"] == "cpu"
        assert entry["seconds"] > 0 and entry["processor_seconds"] > 0
