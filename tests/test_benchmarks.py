"""The scripts in examples/benchmarks/ run, at their smallest."""

import json
import runpy

import numpy as np
import PIL.Image
import pytest
import torch

import dface_hf
from dface_hf.training import PretrainConfig

from .scripts import EXAMPLES, run


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")


def test_tokenizer_speed(monkeypatch, capsys):
    run("benchmarks/tokenizer_speed.py", "--quick", "--threads", "1", monkeypatch=monkeypatch)
    told = capsys.readouterr().out
    assert "| 1 | reference |" in told and "| 1 | bfloat16 |" in told
    assert "| dtype=torch.bfloat16 | 99." in told or "| dtype=torch.bfloat16 | 100." in told


def test_benchmark_of_tokens(tmp_path, monkeypatch, capsys):
    where = ["--data", str(tmp_path / "none"), "--cache", str(tmp_path / "kept")]
    threads = torch.get_num_threads()
    run(
        "benchmarks/tokens.py", "--smoke", "--by-unit", "--json", str(tmp_path / "r.json"), *where,
        monkeypatch=monkeypatch,
    )  # fmt: skip
    torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    for absent in ("action_fields.npz", "index.csv", "megc2019"):
        assert f"{absent} is absent: what needs it is left out" in printed
    for row in ("| all ones |", "| Farneback flow of 128 px at 16x16 |", "| dface-mini: tokens, one-hot |"):
        assert row in printed
    report = json.loads((tmp_path / "r.json").read_text())
    assert "| | AU1 | AU2 | AU4 |" in printed
    assert report["smoke"] is True and "5. Real videos" not in printed
    probes = next(part for title, part in report.items() if title.startswith("1-3"))
    assert all(set(row) == {"1 micro", "1 macro"} for row in probes.values())
    assert probes["Farneback flow of 128 px at 16x16"]["1 macro"] > probes["all ones"]["1 macro"]


def test_explanations(tmp_path, monkeypatch, capsys):
    threads = torch.get_num_threads()
    arguments = ["--smoke", "--clips", "4", "--parts", "123", "--cache", str(tmp_path / "kept")]
    run("benchmarks/explanations.py", *arguments, monkeypatch=monkeypatch)
    torch.set_num_threads(threads)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    rows = {cells[1].strip(): cells[2:-1] for cells in (line.split("|") for line in lines)}
    for name in ("weight", "gradient", "saliency", "attention", "random tokens", "still faces"):
        assert name in rows
    assert float(rows["weight"][0]) > float(rows["attention"][0])
    assert any(line.startswith("| | true motion | optical flow | decoded from tokens |") for line in lines)


def test_recipe_ablation(tmp_path, monkeypatch, capsys):
    where = ["--data", tmp_path / "none", "--cache", tmp_path / "kept", "--work", tmp_path / "work"]
    small = ["--smoke", "--batch-size", "4", "--batches", "2", "--variant", "16 x 9"]
    threads = torch.get_num_threads()

    def ablation(steps: str) -> list[list[str]]:
        arguments = map(str, [*where, *small, "--steps", steps])
        run("benchmarks/recipe_ablation.py", *arguments, monkeypatch=monkeypatch)
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
        return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]

    header, _, full, variant = table = ablation("4")
    assert header[1:3] == ["tokens 1", "vectors 1"] and (full[0], variant[0]) == ("full recipe", "16 x 9")
    kept = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "work").glob("*.json")}
    assert set(kept) == {"full-recipe-0", "16-x-9-0"}
    rows = [kept[name]["row"]["perplexity"] for name in ("16-x-9-0", "full-recipe-0")]
    assert float(variant[3]) == pytest.approx(rows[0] - rows[1], abs=1e-3)
    for name in ("subject, tokens", "subject, chance"):  # what a row lacks is measured without training again
        assert 0 < kept["16-x-9-0"]["row"].pop(name) < 1
    (tmp_path / "work" / "16-x-9-0" / "checkpoints").rename(tmp_path / "trained")
    (tmp_path / "work" / "full-recipe-0").rename(tmp_path / "elsewhere")  # what is finished is read back
    for name, one in kept.items():  # even from a time when some settings did not exist
        assert one["settings"]["recipe"].pop("adversary_weight") == 0
        assert one["settings"]["model"].pop("context_codebook_size") == 0
        (tmp_path / "work" / f"{name}.json").write_text(json.dumps(one))
    assert ablation("4") == table and not (tmp_path / "work" / "full-recipe-0").exists()
    assert not (tmp_path / "work" / "16-x-9-0" / "checkpoints").exists()
    with pytest.raises(ValueError, match="full-recipe-0.json was made with another recipe"):
        ablation("5")
    torch.set_num_threads(threads)


def test_a_second_codebook_has_columns_of_its_own(tmp_path):
    script = runpy.run_path(str(EXAMPLES / "benchmarks/recipe_ablation.py"))
    pairs = script["BenchmarkPairs"](tmp_path / "none", tmp_path / "kept", smoke=True)
    config = script["MODEL"] | script["VARIANTS"]["second codebook"].model
    tokenizer = dface_hf.DFaceTokenizerModel(dface_hf.DFaceTokenizerConfig(**config)).eval()
    tokenizer.context.quantizer.running_rms.fill_(1e-3)  # beyond the null code's reach
    columns = script["wanted"](tokenizer.config, pairs)
    own = columns.pop(script["second_codebook"])
    known = dict.fromkeys(sum(columns.values(), []), 7.0)
    row = script["measured"](tokenizer, pairs, known)
    assert {name: row[name] for name in known} == known and list(row) == [*known, *own]
    assert max(row[name] for name in own) <= 1 and 0 < row[own[-1]]
    added = script["additions"]({script["FULL"]: [known], "second codebook": [row, row]})
    assert added == {"second codebook": {name: pytest.approx(row[name]) for name in own}}


def test_each_ablation_changes_the_recipe_and_can_be_built():
    script = runpy.run_path(str(EXAMPLES / "benchmarks/recipe_ablation.py"))
    names = {script["folder_name"](name) for name in script["VARIANTS"]}
    assert len(names) == len(script["VARIANTS"])
    frames = torch.rand(2, 2, 3, 64, 64)
    for name, one in script["VARIANTS"].items():
        for part, full in ((one.model, script["MODEL"]), (one.recipe, script["RECIPE"])):
            kind = dface_hf.DFaceTokenizerConfig if part is one.model else PretrainConfig
            made, plain = kind(**(full | part)), kind(**full)
            assert all(getattr(made, key) != getattr(plain, key) for key in part), name
        if one.model:
            model = dface_hf.DFaceTokenizerModel(
                dface_hf.DFaceTokenizerConfig(**(script["MODEL"] | one.model))
            )
            output = model(frames)
            assert output.action_ids.shape == (2, model.config.num_action_tokens)
            assert output.loss.isfinite(), name


@pytest.fixture(scope="module")
def flow_pictures(tmp_path_factory):
    """Flow pictures of 8 people in which each class moves another part of the face."""
    folder = tmp_path_factory.mktemp("flow")
    rng, lines = np.random.default_rng(0), ["corpus,subject,clip,label,flow"]
    for number in range(24):
        label, subject = number % 3, number // 3
        image = rng.integers(95, 105, (28, 28, 3)).astype(np.uint8)
        image[5 + 6 * label : 10 + 6 * label, 6:22] = (100, 160, 200)
        PIL.Image.fromarray(image).save(folder / f"{number}.png")
        lines.append(f"{'samm' if subject % 2 else 'smic'},s{subject},c{number},{label},{number}.png")
    (folder / "manifest.csv").write_text("\n".join(lines))
    return folder


def test_real_motion(flow_pictures, dface, tmp_path, monkeypatch, capfd, checkpoint):
    """The table has every row, a second call reads it all, and logs compare a row with a network."""
    arguments = ["--data", flow_pictures, "--work", tmp_path / "work", "--model", checkpoint, "--heads"]
    arguments = [str(one) for one in [*arguments, "--ablation", "no-edclip"]]
    threads = torch.get_num_threads()
    tables = []
    for _ in range(2):
        run("benchmarks/real_motion.py", *arguments, monkeypatch=monkeypatch)
        tables.append(capfd.readouterr().out)
    networks = [
        "--data",
        flow_pictures,
        "--work",
        tmp_path / "networks",
        "--model",
        "svm",
        "--model",
        "ststnet",
    ]
    run("benchmarks/megc2019.py", *map(str, networks), "--epochs", "1", monkeypatch=monkeypatch)
    torch.set_num_threads(threads)
    assert "24 clips, 8 folds" in capfd.readouterr().out
    for name, same in (("svm-0", True), ("ststnet-1-epochs-0", False)):
        kept = json.loads((tmp_path / "networks" / f"{name}.json").read_text())
        logs = tmp_path / "networks" / f"{name}.txt", tmp_path / "work" / "logs" / "SVM-flow-0.txt"
        _, told, _ = dface("evaluate", logs[0], "--against", logs[1], "--resample", "subjects", "--json", "-")
        compared = json.loads(told)
        assert compared["uf1"] == pytest.approx(kept["uf1"]) and compared["n"] == 24
        assert (compared["against"]["uf1"]["difference"] == 0) == same
    assert tables[0] == tables[1] and "24 clips, 8 folds" in tables[0]
    found = json.loads((tmp_path / "work" / "scores.json").read_text())
    scores, ablated = found["loso"], found["ablation"]
    assert scores["SVM, flow"]["uf1"] == 1.0 and "p" not in scores["SVM, flow"]
    for row in ("SVM, code vectors", "head, scratch", "EDCLIP, fine-tuned"):
        assert scores[row]["uf1"] <= 1.0 and {"low", "high", "p", "samm", "smic"} <= set(scores[row])
    assert set(ablated) == {"head, scratch", "EDCLIP, scratch", "head, no-edclip"}
    run("benchmarks/real_motion.py", "--data", str(tmp_path / "none"), monkeypatch=monkeypatch)
    assert "none is absent: nothing to measure" in capfd.readouterr().out


def test_synthetic_me(tmp_path, monkeypatch, capsys, checkpoint):
    """A row for the SVM, the model and each ablation; a second call finds all of it."""
    arguments = ["--clips", "16", "--epochs", "1", "--seeds", "1", "--k", "2", "--work", str(tmp_path)]
    arguments += ["--model", str(checkpoint), "--model", "svm"]
    threads = torch.get_num_threads()
    tables = []
    for _ in range(2):
        run("benchmarks/synthetic_me.py", *arguments, monkeypatch=monkeypatch)
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
        tables.append({line.split("|")[1].strip(): line for line in lines if "SyntheticME" not in line})
    torch.set_num_threads(threads)
    assert tables[0] == tables[1]
    assert {"svm", "tiny", "tiny-edclip", "tiny-cnn-head", "tiny-no-edclip"} <= set(tables[0])
    assert (tmp_path / "tiny-svm" / "scores.json").is_file()


def test_benchmark_of_transfer(tmp_path, monkeypatch, capsys):
    tokenizers = {}
    for head in ("warp", "pixels"):
        config = dface_hf.DFaceTokenizerConfig(image_size=64, patch_size=8, decoder_head=head)
        dface_hf.DFaceTokenizerModel(config).save_pretrained(tmp_path / head)
        tokenizers[head] = f"--tokenizer={head}={tmp_path / head}"
    threads = torch.get_num_threads()
    run("benchmarks/transfer.py", "--pairs", "4", *tokenizers.values(), monkeypatch=monkeypatch)
    torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if "(64 px)" in line
    ]
    assert [row[0] for row in rows] == ["unmoved face (64 px)", "flow of the source (64 px)"] * 3
    assert {float(row[1]) for row in rows[::2]} == {0.0}
    assert all(float(row[1]) > 2 for row in rows[1::2])  # dB that the source's own motion gains
    assert all(f"| {head}: its motion, size of the source |" in printed for head in tokenizers)


def test_columns_of_the_transfer_table(monkeypatch):
    script = runpy.run_path(str(EXAMPLES / "benchmarks/transfer.py"))
    sources = script["Sources"](
        torch.rand(2, 2, 3, 32, 32), torch.rand(2, 3, 32, 32), torch.zeros(2, 32, 32, 2)
    )
    sources.backward[:, 8:24, 8:24, 0] = 2 / 32  # one pixel to the side
    exact = script["scores"](sources, sources.truth, sources.backward)
    still = script["scores"](sources, sources.onsets, torch.zeros_like(sources.backward))
    assert exact["psnr"] == pytest.approx(80) and exact["end-point error"] == 0
    assert exact["SSIM"] == exact["gradients"] == exact["sharpness"] == pytest.approx(1)
    assert still["psnr"] < 15 and still["end-point error"] == pytest.approx(4)  # px of 128


def test_identity_leak(monkeypatch, capsys):
    run("benchmarks/identity_leak.py", "--clips", "24", monkeypatch=monkeypatch)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| dface-mini: ")]
    rows = {line.split("|")[1].strip(): [float(cell) for cell in line.split("|")[2:-1]] for line in lines}
    changing, constant, chance = rows["dface-mini: patches"]
    assert constant > max(changing, chance)  # patches show the face; what the tokens keep of it is less
    assert rows["dface-mini: tokens"][1] < constant
