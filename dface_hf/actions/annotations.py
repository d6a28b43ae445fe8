"""Reading the action-unit column of micro-expression annotation sheets.

Sheets write one cell per clip, in grammars that grew by hand:

| text | found in | meaning |
|---|---|---|
| `4+7+L10`, `R12` | most | units joined by +; L, R: one side of the subject's face |
| `T23`, `B22` | CAS(ME)3, SAMM | T, B: top or bottom part only |
| `A12`, `U12` | SAMM | A: both sides, unequal; U: one side, not said which |
| `12C`, `L14C` | SAMM | A (trace) to E (maximum): intensity |
| `10A/B`, `A/L12` | SAMM | undecided between two intensities, or between asymmetric and left |
| `L12 or L14`, `(R6 or R12)+R15` | SAMM | undecided between units; "or" binds more loosely than "+" |
| `ref(7B)+43` | SAMM | a unit marked "ref"; counted like any other, as the CD6ME protocol does |
| `R14+17+soft focus` | SAMM | a remark that is no unit; left out |
| `4(k)` | 4DME | coder not sure; `uncertain` |
| `R4,5`, `4，5` | CAS(ME)3 part C | comma, once the Chinese one, instead of + |
| `4` as int or float | any spreadsheet | one unit |
| empty, NaN, `/`, `0` | any spreadsheet | no unit |

An undecided cell has several *readings*, each of which could be the truth: `(R6 or R12)+R15` reads R6+R15 or
R12+R15.
"""

import itertools
import numbers
import re
import unicodedata
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn, cast

Side = Literal["left", "right"]
Region = Literal["top", "bottom"]
Intensity = Literal["A", "B", "C", "D", "E"]
Alternatives = Literal["all", "certain", "first"]


@dataclass(frozen=True)
class ActionUnitLabel:
    """One action unit as a coder wrote it.

    Attributes:
        number: FACS number, 1 to 98 (head, eye and gross-behaviour codes included).
        side: "left" or "right" of the subject, None for both or not said.
        region: "top" or "bottom" when only that part acts (T, B prefix).
        intensity: "A" (trace) to "E" (maximum), None when not scored.
        uncertain: the coder marked doubt about the unit: `4(k)`, `4?`.
    """

    number: int
    side: Side | None = None
    region: Region | None = None
    intensity: Intensity | None = None
    uncertain: bool = False


Reading = tuple[ActionUnitLabel, ...]

EXAMPLES = "4, L10A+R12, 4(k), 12 or 14, (R6 or R12)+R15, R4,5"
"""Shown in every error message."""

MAX_NUMBER = 98
"""Largest FACS code; a greater number means that a separator was lost (1217 for 12+17)."""

_MISSING = {"", "0", "nan", "nat", "none", "null", "<na>", "n/a", "na", "/", "-", "--"}
_SIDES: dict[str, Side] = {"L": "left", "R": "right"}
_REGIONS: dict[str, Region] = {"T": "top", "B": "bottom"}
# Tried in this order: the "/" inside "10A/B" and "A/L12" belongs to the unit, the "(" of "4(k)" to the doubt.
_TOKENS = {
    "doubt": r"\(\s*K\s*\)|\?",
    "remark": r"SOFT\s+FOCUS\b",
    "open": r"(?:REF\s*)?\(",
    "close": r"\)",
    "separator": r"[+,;、&]",
    "either": r"OR(?![A-KM-QS-Z])|/",
    "unit": r"(?:AU\s*)?(?P<prefixes>[LRAUTB](?:/?[LRAUTB])?)?\s*M?(?P<number>[0-9]+)(?:\.0+)?"
    r"(?P<suffixes>[A-ELR](?:/[A-E])?)?(?![A-NP-Z0-9.])",
}
_TOKEN = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in _TOKENS.items()))


def parse_action_units(value: Any) -> Reading:
    """Reads one cell of an action-unit column, keeping every unit it mentions.

    Args:
        value: the cell: text in any grammar of the module's table, an int, a float with no fraction, or a
            missing value (None, NaN, pandas.NA, "", "/", 0).

    Returns:
        The labels of all readings together, without repeats; empty for a missing value.

    Raises:
        ValueError: if the cell is neither missing nor readable; the message holds the cell and examples.
    """
    return tuple(dict.fromkeys(itertools.chain.from_iterable(action_unit_readings(value))))


def action_unit_readings(value: Any) -> tuple[Reading, ...]:
    """Reads one cell of an action-unit column into the readings that its coder left open.

    Args:
        value: as for `parse_action_units`.

    Returns:
        At least one reading, in order of mention. A cell without "or" or "/" has exactly one, a missing value
        one that is empty.

    Raises:
        ValueError: as `parse_action_units`.
    """
    text = _cell_text(value)
    return _Parser(value, text).readings() if text else ((),)


def active_units(value: Any, alternatives: Alternatives = "all", uncertain: bool = False) -> tuple[int, ...]:
    """The numbers of the units active in one cell of an action-unit column.

    Args:
        value: as for `parse_action_units`.
        alternatives: which units of an undecided cell count: "all" that it mentions, the "certain" ones that
            are in every reading (as the CD6ME protocol counts), or those of the "first" reading.
        uncertain: whether units marked as doubtful (`4(k)`) count.

    Returns:
        FACS numbers, ascending and unique.

    Raises:
        ValueError: as `parse_action_units`, or for an unknown value of `alternatives`.
    """
    readings = [
        {label.number for label in reading if uncertain or not label.uncertain}
        for reading in action_unit_readings(value)
    ]
    if alternatives == "all":
        return tuple(sorted(set.union(*readings)))
    if alternatives == "certain":
        return tuple(sorted(set.intersection(*readings)))
    if alternatives == "first":
        return tuple(sorted(readings[0]))
    raise ValueError(f'alternatives must be "all", "certain" or "first", not {alternatives!r}')


def _cell_text(value: Any) -> str:
    """A cell as plain upper-case text; empty for a missing value."""
    if isinstance(value, numbers.Real) and not isinstance(value, bool) and value == value:
        if not float(value).is_integer():
            raise ValueError(
                f"{value!r} is no action unit; if the spreadsheet took 4,5 for a decimal, write 4+5"
            )
        value = int(value)
    # NaN, pandas.NA and NaT differ in type and truth value; their text is what they have in common.
    elif value is not None and not isinstance(value, str) and str(value).lower() not in _MISSING:
        raise ValueError(f"cannot read action units from {value!r}: not text or a number; e.g. {EXAMPLES}")
    # NFKC turns the full-width commas, digits and brackets of Chinese input methods into ASCII.
    text = unicodedata.normalize("NFKC", str(value)).strip()
    return "" if text.lower() in _MISSING else text.upper()


class _Parser:
    """Recursive descent; cell: all ("or" all)*, all: item ("+" item)*, item: unit, remark or "(" cell ")"."""

    def __init__(self, value: Any, text: str) -> None:
        self.value = value
        self.text = text
        self.position = 0

    def readings(self) -> tuple[Reading, ...]:
        readings = self._either()
        if self.position < len(self.text):
            self._fail()
        return tuple(dict.fromkeys(readings))

    def _take(self, kind: str) -> re.Match | None:
        """Consumes the next token, and the space around it, when it is of this kind."""
        self._skip_space()
        match = _TOKEN.match(self.text, self.position)
        if match is None or match.group(kind) is None:
            return None
        self.position = match.end()
        self._skip_space()
        return match

    def _skip_space(self) -> None:
        while self.position < len(self.text) and self.text[self.position].isspace():
            self.position += 1

    def _either(self) -> list[Reading]:
        readings = self._all()
        while self._take("either"):
            readings += self._all()
        return readings

    def _all(self) -> list[Reading]:
        items = [self._item()]
        while self._take("separator"):
            items.append(self._item())
        return [tuple(itertools.chain.from_iterable(parts)) for parts in itertools.product(*items)]

    def _item(self) -> list[Reading]:
        if self._take("remark"):
            return [()]
        if self._take("open"):
            readings = self._either()
            if not self._take("close"):
                self._fail("a closing bracket is missing")
        elif unit := self._take("unit"):
            readings = self._unit(unit)
        else:
            self._fail()
        if self._take("doubt"):
            readings = [tuple(replace(label, uncertain=True) for label in reading) for reading in readings]
        return readings

    def _unit(self, match: re.Match) -> list[Reading]:
        """One reading for each combination of the prefixes and suffixes that "/" separates."""
        number = int(match["number"])
        if not 1 <= number <= MAX_NUMBER:
            self._fail(f"{number} is not a FACS number (1 to {MAX_NUMBER})")
        prefixes = (match["prefixes"] or "").split("/")
        suffixes = (match["suffixes"] or "").split("/")
        return [(_label(number, prefix, suffix),) for prefix in prefixes for suffix in suffixes]

    def _fail(self, reason: str = "") -> NoReturn:
        rest = self.text[self.position :]
        reason = reason or (f"stuck at {rest!r}" if rest else "a unit is missing at the end")
        raise ValueError(f"cannot read action units from {self.value!r}: {reason}; write e.g. {EXAMPLES}")


def _label(number: int, prefix: str, suffix: str) -> ActionUnitLabel:
    """A label from the letters around its number; a side may stand before or after it."""
    side = next((_SIDES[letter] for letter in prefix + suffix if letter in _SIDES), None)
    region = next((_REGIONS[letter] for letter in prefix if letter in _REGIONS), None)
    intensity = suffix if suffix and suffix not in _SIDES else None
    return ActionUnitLabel(number, side, region, cast(Intensity | None, intensity))
