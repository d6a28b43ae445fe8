"""Micro-expression spotting as a module of `evaluate`: F1 at an overlap of intervals, and STRS."""

import datasets
import evaluate

from .spotting import spotting_scores

_DESCRIPTION = """\
F1, precision and recall of micro-expressions found in long videos: a found interval is a hit when its
intersection over union with a true one is at least 0.5, one to one; counts are summed over all videos. With
classes also STRS, the spot-then-recognise score of MEGC 2025.
"""

_INPUTS = """\
Args:
    predictions: for each video a list of found events [onset, offset], frames, both included; with `labels`
        [onset, offset, class].
    references: for each video the list of its true events.
    threshold: smallest intersection over union of a hit. Default 0.5.
    labels: number of classes, or their names, to score recognition as well.
Returns:
    f1, precision, recall, hits, true, found; with labels recognition_f1 and strs.
Examples:
    >>> metric = evaluate.load("me_spotting")
    >>> metric.compute(predictions=[[[11, 20]], []], references=[[[10, 19]], [[5, 9]]])["f1"]
    0.6666666666666666
"""

_CITATION = """\
@article{fan2025megc,
  title = {{MEGC2025}: Micro-Expression Grand Challenge on Spot Then Recognize and Visual Question Answering},
  author = {Fan, Xinqi and Li, Jingting and See, John and Yap, Moi Hoon and Cheng, Wen-Huang and Li, Xiaobai
            and Hong, Xiaopeng and Wang, Su-Jing and Davison, Adrian K.},
  journal = {arXiv preprint arXiv:2506.15298},
  year = {2025}
}
"""


class MESpotting(evaluate.Metric):
    """`spotting_scores` for `evaluate.load`."""

    def _info(self) -> evaluate.MetricInfo:
        events = datasets.List(datasets.List(datasets.Value("int64")))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": events, "references": events}),
        )

    def _compute(self, predictions, references, threshold=0.5, labels=None) -> dict:
        return spotting_scores(references, predictions, threshold, labels)
