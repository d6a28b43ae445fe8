"""Class schemes: which emotion of a sheet becomes which class, per corpus and protocol."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from dface_hf.actions.emotions import COARSE_EMOTIONS, EMOTIONS, normalise_emotion


@dataclass(frozen=True)
class ClassScheme:
    """An ordered set of classes and the way from emotions to them.

    Attributes:
        name: key in `CLASS_SCHEMES`.
        labels: class names; the position is the class id.
        mapping: canonical emotion (or coarse label) to class name. Emotions that are absent are dropped.
        others: the label that gathers whatever is no named class, None when there is none. It has no prompt.
        multi_label: whether a clip can have several classes at once.
        source: where the classes come from.
    """

    name: str
    labels: tuple[str, ...]
    mapping: Mapping[str, str]
    others: str | None = None
    multi_label: bool = False
    source: str = ""

    def __post_init__(self) -> None:
        if unreachable := set(self.labels) ^ set(self.mapping.values()):
            raise ValueError(f"scheme {self.name!r}: labels and mapping disagree about {sorted(unreachable)}")
        if self.others is not None and self.others not in self.labels:
            raise ValueError(f"scheme {self.name!r}: others={self.others!r} is not one of {self.labels}")
        # A read-only copy, as befits a frozen class whose instances are shared.
        object.__setattr__(self, "mapping", MappingProxyType(dict(self.mapping)))

    @property
    def label2id(self) -> dict[str, int]:
        """Class name to id, as in a model's config."""
        return {label: index for index, label in enumerate(self.labels)}

    @property
    def id2label(self) -> dict[int, str]:
        """Id to class name, as in a model's config."""
        return dict(enumerate(self.labels))

    @property
    def named_labels(self) -> tuple[str, ...]:
        """The labels that stand for something that can be described: all but `others`."""
        return tuple(label for label in self.labels if label != self.others)

    def label_of(self, emotion: str) -> str | None:
        """The class of an emotion.

        Args:
            emotion: a word of a sheet, in any spelling that `normalise_emotion` knows.

        Returns:
            A member of `labels`, or None when the scheme drops this emotion.

        Raises:
            ValueError: if the word is no known emotion.
        """
        return self.mapping.get(normalise_emotion(emotion))

    def emotions_of(self, label: str) -> tuple[str, ...]:
        """The emotions that a class gathers, in the order of `EMOTIONS`; coarse words are not repeated.

        Raises:
            ValueError: if the scheme has no such label.
        """
        if label not in self.labels:
            raise ValueError(
                f"scheme {self.name!r} has no class {label!r}; its classes: {', '.join(self.labels)}"
            )
        return tuple(emotion for emotion in EMOTIONS if self.mapping.get(emotion) == label)


def _grouped(**groups: str) -> dict[str, str]:
    """`positive="happiness"` to {"happiness": "positive"}; a label that is an emotion maps to itself too."""
    pairs = {emotion: label for label, emotions in groups.items() for emotion in emotions.split()}
    words = (*EMOTIONS, *COARSE_EMOTIONS)
    return pairs | {label: label for label in groups if label in words}


def _same(*labels: str) -> dict[str, str]:
    """Every label is the emotion of that name."""
    return {label: label for label in labels}


_THREE = ("negative", "positive", "surprise")
_NEGATIVE = " ".join(COARSE_EMOTIONS["negative"])
_CASME3_NEGATIVE = "disgust fear anger sadness"
_CASME2_5 = ("happiness", "disgust", "repression", "surprise", "others")
_SAMM_5 = ("anger", "happiness", "contempt", "surprise", "others")
_CASME3_7 = ("happiness", "surprise", "disgust", "fear", "anger", "sadness", "others")
_DFME_7 = ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
_MMEW_7 = ("happiness", "anger", "surprise", "disgust", "fear", "sadness", "others")
_FOURDME_5 = ("positive", "negative", "surprise", "repression", "others")

CLASS_SCHEMES: dict[str, ClassScheme] = {
    scheme.name: scheme
    for scheme in (
        ClassScheme(
            "composite3",
            _THREE,
            _grouped(negative=_NEGATIVE, positive="happiness", surprise="surprise"),
            source="MEGC2019 composite database evaluation; ids negative 0, positive 1, surprise 2",
        ),
        ClassScheme(
            "default4",
            (*_THREE, "others"),
            _grouped(negative=_NEGATIVE, positive="happiness", surprise="surprise", others="tense"),
            others="others",
            source="composite3 and a fourth class for all else; the classes of the default checkpoint",
        ),
        ClassScheme(
            "casme2_5",
            _CASME2_5,
            _same(*_CASME2_5),
            others="others",
            source="CASME II, five classes; sadness (7 clips) and fear (2) dropped",
        ),
        ClassScheme(
            "samm_5",
            _SAMM_5,
            _same(*_SAMM_5),
            others="others",
            source="SAMM, five classes; disgust (9 clips), fear (8) and sadness (6) dropped",
        ),
        ClassScheme(
            "casme3_3",
            _THREE,
            _grouped(negative=_CASME3_NEGATIVE, positive="happiness", surprise="surprise"),
            source="CAS(ME)3 part A, three classes; others dropped",
        ),
        ClassScheme(
            "casme3_4",
            (*_THREE, "others"),
            _grouped(negative=_CASME3_NEGATIVE, positive="happiness", surprise="surprise", others="others"),
            others="others",
            source="CAS(ME)3 part A, four classes",
        ),
        ClassScheme(
            "casme3_7",
            _CASME3_7,
            _same(*_CASME3_7),
            others="others",
            source="CAS(ME)3 part A, the seven words of its sheet",
        ),
        ClassScheme(
            "dfme_7",
            _DFME_7,
            _same(*_DFME_7),
            source="DFME, ids of its column EmotionId",
        ),
        ClassScheme(
            "mmew_7",
            _MMEW_7,
            _grouped(**{label: label for label in _MMEW_7} | {"others": "repression"}),
            others="others",
            source="MMEW, seven classes; its folder named repression holds the class others",
        ),
        ClassScheme(
            "fourdme_5",
            _FOURDME_5,
            _grouped(
                positive="happiness",
                negative=_NEGATIVE.replace("repression ", ""),
                surprise="surprise",
                repression="repression",
                others="tense",
            ),
            others="others",
            multi_label=True,
            source="4DME, five columns of which several can be set",
        ),
    )
}
"""Every scheme by name."""


def get_class_scheme(scheme: ClassScheme | str) -> ClassScheme:
    """Looks a scheme up by name; a scheme passes through.

    Raises:
        ValueError: if no scheme has this name; the message lists the known ones.
    """
    if isinstance(scheme, ClassScheme):
        return scheme
    if scheme not in CLASS_SCHEMES:
        raise ValueError(f"unknown class scheme {scheme!r}; known: {', '.join(CLASS_SCHEMES)}")
    return CLASS_SCHEMES[scheme]
