"""How fast is the tokenizer at the paper's size (256 px, width 512, 6 + 6 + 6 layers), and what bounds it?

    python examples/benchmarks/tokenizer_speed.py                # two to six minutes on two cores
    python examples/benchmarks/tokenizer_speed.py --threads 1    # on a busy machine
    python examples/benchmarks/tokenizer_speed.py --batch 8 --repeats 9 --compile

Rows: `reference` is the published design (`reference_compat=True`) in float32 with eager attention; the
others are the default design as `from_pretrained(dtype=...)` gives it, with --compile through torch.compile.
Weights are random, as they make no difference to time. Each number is a median; the rows take turns, so that
whatever else the machine does hits all alike. With one thread the clock is processor time, else real time.
The last column is the work done per second of encoding as a share of what one large matrix product of the
same type reaches in the same run. Where there is a GPU, a second table is of it.

Then: how many of the embedded checkpoint's ids half precision leaves unchanged, on synthetic pairs.
"""

import argparse
import datetime
import os
import platform
import time
from collections.abc import Callable
from statistics import median

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from dface_hf import DEFAULT_CHECKPOINT, DFaceTokenizerConfig, DFaceTokenizerModel
from dface_hf.data import pretraining_pairs
from dface_hf.models.dface.configuration_dface_tokenizer import REFERENCE_SETTINGS

BASE = dict(
    image_size=256,
    patch_size=16,
    hidden_size=512,
    num_spatial_layers=6,
    num_temporal_layers=6,
    num_attention_heads=8,
    head_dim=64,
)
ONE_LAYER = dict(num_spatial_layers=1, num_temporal_layers=1, num_decoder_layers=1)
#: Pairs that a median is taken over, at least two calls: large batches are called less often.
PAIRS = 40


class Row:
    """One way to run the tokenizer, and how long each call of it took."""

    def __init__(self, name: str, model: DFaceTokenizerModel, compiled: bool = False):
        self.name, self.model, self.dtype = name, model, model.dtype
        self.tasks: dict[str, Callable] = {"encode": self._encode, "both": self._both}
        if compiled:
            self.tasks = {task: torch.compile(function) for task, function in self.tasks.items()}
        self.gflop = {task: gflop(model, function) for task, function in self.tasks.items() if not compiled}

    def _encode(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.model.encode(*pixel_values.unbind(1))

    def _both(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.model(pixel_values, return_loss=False).reconstruction


def main() -> None:
    options = parse_arguments()
    torch.set_num_threads(options.threads)
    print(
        f"{datetime.date.today().isoformat()}, {os.cpu_count()} CPU cores ({platform.machine()}), "
        f"{options.threads} threads, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}"
    )
    with torch.inference_mode():
        for device in ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]:
            report_speed(torch.device(device), options)
        report_agreement(64 if options.quick else 1024)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 32], help="pairs at once")
    parser.add_argument("--repeats", type=int, default=5, help="calls a median is taken over, at most")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--compile", action="store_true", help="add a row: bfloat16 through torch.compile")
    parser.add_argument(
        "--quick", action="store_true", help="one layer of each kind, one call: does the script run?"
    )
    options = parser.parse_args()
    if options.quick:
        options.batch, options.repeats = [1], 1
    return options


def report_speed(device: torch.device, options: argparse.Namespace) -> None:
    """Print the table of one device, and where the time of the bfloat16 row goes."""
    rows = make_rows(device, options)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    work = "; ".join(
        f"{row.name} {row.gflop['encode']:.1f}, with decoding {row.gflop['both']:.1f}" for row in rows[:2]
    )
    print(f"\n{name}, GFLOP a pair: {work}\n")
    print("| batch | model | encode s/pair | times | with decoding | times | pairs/s | of matmul GFLOP/s |")
    print("|---|---|---|---|---|---|---|---|")
    for batch in options.batch:
        print("\n".join(measure(rows, batch, options, device)), flush=True)
    print(f"\nbfloat16, batch {options.batch[-1]}, time by kind: {kinds(rows[2], options.batch[-1], device)}")


def make_rows(device: torch.device, options: argparse.Namespace) -> list[Row]:
    sizes = BASE | (ONE_LAYER if options.quick else {})
    torch.manual_seed(0)
    config = DFaceTokenizerConfig(**sizes, **REFERENCE_SETTINGS, reference_compat=True)
    reference = DFaceTokenizerModel(config).to(device).eval()
    reference.set_attn_implementation("eager")
    model = DFaceTokenizerModel(DFaceTokenizerConfig(**sizes)).to(device).eval()
    half = DFaceTokenizerModel.from_pretrained(
        None, config=model.config, state_dict=model.state_dict(), dtype=torch.bfloat16
    ).to(device)
    rows = [Row("reference", reference), Row("float32", model), Row("bfloat16", half)]
    return rows + ([Row("bfloat16, compiled", half, compiled=True)] if options.compile else [])


def gflop(model: DFaceTokenizerModel, task: Callable) -> float:
    """Floating-point operations of a pair, in billions, as eager attention does them."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter:
        task(pairs(1, model.config.image_size, model.device))
    model.set_attn_implementation(before)
    return counter.get_total_flops() / 1e9


def pairs(batch: int, size: int, device: torch.device) -> torch.Tensor:
    return torch.rand(batch, 2, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)


def measure(rows: list[Row], batch: int, options: argparse.Namespace, device: torch.device) -> list[str]:
    """Lines of the table for one batch size; the rows take turns, and the matrix products with them."""
    inputs = pairs(batch, rows[0].model.config.image_size, device)
    rates: dict[torch.dtype, list[float]] = {row.dtype: [] for row in rows}
    seconds: dict[str, list[tuple[float, float]]] = {row.name: [] for row in rows}
    for turn in range(1 + max(min(2, options.repeats), min(options.repeats, PAIRS // batch))):
        for dtype, found in rates.items():
            found.append(matmul_gflops(dtype, device))
        for row in rows:
            times = tuple(timed(task, inputs, device) / batch for task in row.tasks.values())
            if turn:  # the first only warms up
                seconds[row.name].append(times)
    rate = {dtype: median(found[1:]) for dtype, found in rates.items()}
    medians = {name: tuple(map(median, zip(*times, strict=True))) for name, times in seconds.items()}
    return [line(row, batch, medians, rows, rate[row.dtype]) for row in rows]


def line(row: Row, batch: int, medians: dict[str, tuple], rows: list[Row], rate: float) -> str:
    """A row of the table; "times" is the speed relative to the first row's."""
    encode, both = medians[row.name]
    base_encode, base_both = medians[rows[0].name]
    work = (row if row.gflop else rows[1]).gflop["encode"]
    cells = [batch, row.name, f"{encode:.4f}", f"{base_encode / encode:.2f}", f"{both:.4f}"]
    cells += [
        f"{base_both / both:.2f}",
        f"{1 / encode:.1f}",
        f"{work / encode / rate:.0%} of {rate:.0f}",
    ]
    return f"| {' | '.join(map(str, cells))} |"


def matmul_gflops(dtype: torch.dtype, device: torch.device) -> float:
    """What a large matrix product reaches, in billions of operations a second."""
    side = 8192 if device.type == "cuda" else 2048
    matrix = torch.ones(side, side, dtype=dtype, device=device)
    return 2 * side**3 / timed(matrix.matmul, matrix, device) / 1e9


def timed(task: Callable, inputs: torch.Tensor, device: torch.device) -> float:
    """Seconds of one call."""
    one_thread = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if one_thread else time.perf_counter
    synchronise = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    synchronise()
    start = clock()
    task(inputs)
    synchronise()
    return clock() - start


def kinds(row: Row, batch: int, device: torch.device) -> str:
    """Shares of the time of encoding and decoding: what is bound by arithmetic, and what by memory."""
    activity = ProfilerActivity.CUDA if device.type == "cuda" else ProfilerActivity.CPU
    inputs = pairs(batch, row.model.config.image_size, device)
    with profile(activities=list({ProfilerActivity.CPU, activity})) as record:
        row.tasks["both"](inputs)
    shares = dict.fromkeys(["matrix products", "attention", "convolutions", "the rest"], 0.0)
    for event in record.key_averages():
        name, kind = event.key, "the rest"
        if name in ("aten::mm", "aten::addmm", "aten::bmm", "aten::mkldnn_linear"):
            kind = "matrix products"
        elif "attention" in name:
            kind = "attention"
        elif "convolution" in name:
            kind = "convolutions"
        shares[kind] += event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total
    total = sum(shares.values())
    told = ", ".join(f"{kind} {share / total:.0%}" for kind, share in shares.items())
    return f"{told} (normalisation, GELU, sums, casts: bound by memory)"


def report_agreement(count: int) -> None:
    """Print how many ids of the trained checkpoint stay, all and where either side has some motion."""
    model = DFaceTokenizerModel.from_pretrained(DEFAULT_CHECKPOINT)
    half = DFaceTokenizerModel.from_pretrained(DEFAULT_CHECKPOINT, dtype=torch.bfloat16)
    stream = pretraining_pairs(model.config.image_size, seed=1, bank=min(512, count))
    ids: dict[str, list[torch.Tensor]] = {"float32": [], "dtype=torch.bfloat16": [], "autocast": []}
    for step in range(count // 64):
        batch = stream.sample(64, step)
        ids["float32"].append(model.encode(batch.onset, batch.apex))
        ids["dtype=torch.bfloat16"].append(half.encode(batch.onset, batch.apex))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            ids["autocast"].append(model.encode(batch.onset, batch.apex))
    found = {name: torch.cat(parts) for name, parts in ids.items()}
    truth = found.pop("float32")
    print(f"\n| {count} pairs, embedded checkpoint | ids unchanged | of those not null |\n|---|---|---|")
    for name, read in found.items():
        same, moving = read == truth, (read != 0) | (truth != 0)
        print(f"| {name} | {same.float().mean():.2%} | {same[moving].float().mean():.2%} |")


if __name__ == "__main__":
    main()
