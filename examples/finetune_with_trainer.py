"""Fine-tune the classifier on a corpus with `transformers.Trainer`.

    python examples/finetune_with_trainer.py                      # SyntheticME-casme2, 5 classes
    python examples/finetune_with_trainer.py --clips 24 --steps 2 --output /tmp/finetuned   # a minute

The corpus is a `datasets.Dataset` in the clip schema, here the synthetic look-alike of CASME II. Subjects of
the last fifth are held out; the score is printed as what it is, one on synthetic data.
"""

import argparse
from pathlib import Path

import torch
from transformers import AutoImageProcessor, AutoModelForVideoClassification, Trainer, TrainingArguments

from dface_hf import DEFAULT_CHECKPOINT
from dface_hf.actions import get_class_scheme
from dface_hf.data import synthetic_me
from dface_hf.metrics import recognition_scores


def main() -> None:
    options = parse_arguments()
    scheme = get_class_scheme(options.scheme)
    clips = synthetic_me("casme2", clips=options.clips, seed=options.seed, frames="keyframes")
    clips = clips.filter(lambda clip: scheme.label_of(clip["emotion"]) is not None)
    subjects = sorted(set(clips["subject"]))
    held_out = set(subjects[-max(1, len(subjects) // 5) :])

    processor = AutoImageProcessor.from_pretrained(options.model)
    model = AutoModelForVideoClassification.from_pretrained(
        options.model, id2label=scheme.id2label, label2id=scheme.label2id, others_label=scheme.others,
        anchor_texts=None, class_weights=None, text_encoder=None, ignore_mismatched_sizes=True,
    )  # fmt: skip
    model.dface.tokenizer.requires_grad_(False)

    def collate(rows: list[dict]) -> dict:
        pairs = [[row["frames"][row["onset"]], row["frames"][row["apex"]]] for row in rows]
        labels = [scheme.label2id[scheme.label_of(row["emotion"])] for row in rows]
        return dict(processor(pairs, return_tensors="pt")) | {"labels": torch.tensor(labels)}

    trainer = Trainer(
        model,
        TrainingArguments(
            output_dir=options.output,
            max_steps=options.steps,
            per_device_train_batch_size=16,
            learning_rate=2e-4,
            remove_unused_columns=False,
            save_strategy="no",
            logging_steps=20,
            seed=options.seed,
        ),  # fmt: skip
        train_dataset=clips.filter(lambda clip: clip["subject"] not in held_out),
        eval_dataset=clips.filter(lambda clip: clip["subject"] in held_out),
        data_collator=collate,
    )
    trainer.train()
    predicted = trainer.predict(trainer.eval_dataset)
    result = recognition_scores(predicted.label_ids, predicted.predictions[0].argmax(-1), scheme.labels)
    print(f"synthetic, {len(held_out)} unseen subjects, {result['n']} clips: "
          f"UF1 {result['uf1']:.3f}, UAR {result['uar']:.3f}")  # fmt: skip
    model.save_pretrained(options.output)
    processor.save_pretrained(options.output)
    print(f"saved in {Path(options.output)}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=DEFAULT_CHECKPOINT)
    parser.add_argument("--scheme", default="casme2_5", help="class scheme of dface_hf.actions")
    parser.add_argument("--clips", type=int, default=255)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--output", default="runs/finetuned")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
