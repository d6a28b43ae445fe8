"""Action unit detection as a module of `evaluate`: binary F1 a unit, in both aggregates of CD6ME."""

import datasets
import evaluate

from .action_unit_f1 import CD6ME_UNITS, au_scores

_DESCRIPTION = """\
Binary F1 of facial action units, averaged over units: on predictions pooled over corpora (f1) and as the mean
over corpora of each corpus' own mean (f1_corpus_mean), the two aggregates of the CD6ME protocol.
"""

_INPUTS = """\
Args:
    predictions: a list of 0 and 1, or logits, for each clip; positive means predicted.
    references: a list of 0 and 1 for each clip.
    units: FACS number of each column. Default: the twelve of CD6ME.
    corpora: corpus of each clip.
Returns:
    f1, f1_corpus_mean, per_unit, per_corpus, n.
Examples:
    >>> metric = evaluate.load("au_detection")
    >>> metric.compute(predictions=[[1, 0], [1, 1]], references=[[1, 0], [0, 1]], units=[4, 12])["per_unit"]
    {4: 0.6666666666666666, 12: 1.0}
"""

_CITATION = """\
@article{varanka2023data,
  title = {Data Leakage and Evaluation Issues in Micro-Expression Analysis},
  author = {Varanka, Tuomas and Li, Yante and Peng, Wei and Zhao, Guoying},
  journal = {IEEE Transactions on Affective Computing},
  year = {2023}
}
"""


class AUDetection(evaluate.Metric):
    """`au_scores` for `evaluate.load`."""

    def _info(self) -> evaluate.MetricInfo:
        row = datasets.List(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": row, "references": row}),
        )

    def _compute(self, predictions, references, units=CD6ME_UNITS, corpora=None) -> dict:
        return au_scores(references, predictions, units, corpora)
