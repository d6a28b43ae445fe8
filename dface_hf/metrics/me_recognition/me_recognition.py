"""Micro-expression recognition as a module of `evaluate`: UF1, UAR, accuracy, pooled over folds."""

import datasets
import evaluate

from .recognition import recognition_scores

_DESCRIPTION = """\
Unweighted F1 (UF1) and unweighted average recall (UAR = mean recall over classes), as the Micro-Expression
Grand Challenge of 2019 defines them: true and false positives are summed over all folds first.
"""

_INPUTS = """\
Args:
    predictions: class number of each clip, from 0, of all folds together.
    references: true class number of each clip.
    labels: number of classes, or their names in order. Default 3 (negative, positive, surprise).
    corpora: corpus of each clip; adds scores of each corpus' part of the same run.
Returns:
    uf1, uar, accuracy, n, confusion (truth in rows), per_corpus.
Examples:
    >>> metric = evaluate.load("me_recognition")
    >>> metric.compute(predictions=[0, 1, 1, 2], references=[0, 0, 1, 2])["uar"]
    0.8333333333333334
"""

_CITATION = """\
@inproceedings{see2019megc,
  title = {{MEGC} 2019 -- The Second Facial Micro-Expressions Grand Challenge},
  author = {See, John and Yap, Moi Hoon and Li, Jingting and Hong, Xiaopeng and Wang, Su-Jing},
  booktitle = {IEEE International Conference on Automatic Face and Gesture Recognition},
  year = {2019}
}
"""


class MERecognition(evaluate.Metric):
    """`recognition_scores` for `evaluate.load`."""

    def _info(self) -> evaluate.MetricInfo:
        number = datasets.Value("int64")
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": number, "references": number}),
        )

    def _compute(self, predictions, references, labels=3, corpora=None) -> dict:
        return recognition_scores(references, predictions, labels, corpora)
