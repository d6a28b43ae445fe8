"""Annotation sheets as rows of named cells, each with the row number that a spreadsheet program shows."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openpyxl
import xlrd

from dface_hf.actions import normalise_emotion, parse_action_units

from .listing import UnusableRow

HEADER_ROWS = 40  # SAMM's sheet has 13 rows of text above its header
DEPTH = 2  # folders below the root in which a sheet is looked for
_MISSING = ("", "/", "-", "nan", "none", "n/a", "na")

Columns = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class SheetRow:
    """A row: its number from 1, and its cells by our names for the columns (None when empty)."""

    number: int
    cells: Mapping[str, Any]

    def text(self, name: str) -> str:
        """A cell as text: 6.0 as "6", nothing as ""."""
        value = self.cells.get(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return "" if value is None else str(value).strip()

    def required(self, name: str) -> str:
        """A cell that must not be empty.

        Raises:
            UnusableRow: It is.
        """
        if not (text := self.text(name)):
            raise UnusableRow(f"the cell {name} is empty")
        return text

    def frame(self, name: str) -> int | None:
        """A frame number; None for an empty cell, "/" and the like.

        Raises:
            UnusableRow: The cell holds anything else than a whole number.
        """
        text = self.text(name)
        if text.lower() in _MISSING:
            return None
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not number.is_integer():
            raise UnusableRow(f"{name}={text!r} is no frame number")
        return int(number)

    def emotion(self, name: str = "emotion") -> str | None:
        """The canonical emotion; None for an empty cell.

        Raises:
            UnusableRow: An unknown word.
        """
        if self.text(name).lower() in _MISSING:
            return None
        try:
            return normalise_emotion(self.text(name))
        except ValueError as error:
            raise UnusableRow(str(error)) from None

    def action_units(self, name: str = "action_units") -> tuple[str, tuple[str, ...]]:
        """(notation, notes): the cell if it can be read, otherwise "" and a note that says so."""
        text = self.text(name)
        try:
            return (text if parse_action_units(text) else ""), ()
        except ValueError as error:
            return "", (f"action units left out: {error}",)


def find_sheet(root: Path, patterns: Iterable[str], title: str) -> Path:
    """The corpus's sheet: the first file below the root, at most two folders down, that fits a pattern.

    Patterns are of .xlsx files; where a pattern has none, the same in .csv and .xls are looked for.

    Raises:
        ValueError: No such file; the message says what was looked for.
    """
    suffixes = (".xlsx", ".csv", ".xls")
    patterns = tuple(one.removesuffix(".xlsx") + suffix for one in patterns for suffix in suffixes)
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder; give the folder of the {title} release")
    for pattern in patterns:
        for level in range(DEPTH + 1):
            found = [
                p for p in sorted(root.glob("*/" * level + pattern)) if not p.name.startswith(("~", "."))
            ]
            if found:
                return found[-1]  # of several versions the latest name: 2019 after 2014
    raise ValueError(
        f"{root}: this is no {title} release: no sheet {patterns[0]} in it; give the folder that holds it"
    )


def read_sheet(
    path: Path, columns: Columns, sheet: str | None = None, optional: Iterable[str] = ()
) -> list[SheetRow]:
    """Rows of a table, below the row that holds the names of its columns.

    Args:
        path: .xlsx or .xls file; .csv with commas, semicolons or tabs; or .jsonl, an object a line.
        columns: Our name -> the names that releases use for the column; case, spaces and underscores do not
            count.
        sheet: Name of the sheet (default, or when no sheet has this name: the first).
        optional: Our names of columns that may be absent.

    Raises:
        ValueError: A file that cannot be read, or a column that is missing.
    """
    table = _table(path, sheet)
    names = {ours: {_plain(name) for name in theirs} for ours, theirs in columns.items()}
    header, places = _header(table, names)
    if missing := [ours for ours in columns if ours not in places and ours not in set(optional)]:
        found = ", ".join(str(cell) for cell in table[header] if cell is not None) if table else "nothing"
        name = columns[missing[0]][0]
        raise ValueError(f"{path}: no column {name!r}; its header, row {header + 1}, has: {found}")
    return [
        SheetRow(number, {ours: row[place] if place < len(row) else None for ours, place in places.items()})
        for number, row in enumerate(table[header + 1 :], header + (1 if path.suffix == ".jsonl" else 2))
        if any(row[place] not in (None, "") for place in places.values() if place < len(row))
    ]


def _header(table: list[tuple], names: dict[str, set[str]]) -> tuple[int, dict[str, int]]:
    """Index of the row that names the most columns, and where each of ours is."""
    best: tuple[int, dict[str, int]] = (0, {})
    for index, row in enumerate(table[:HEADER_ROWS]):
        cells = [_plain(cell) for cell in row]
        places = {
            ours: next(place for place, cell in enumerate(cells) if cell in theirs)
            for ours, theirs in names.items()
            if theirs & set(cells)
        }
        if len(places) > len(best[1]):
            best = (index, places)
    return best


def read_plain_sheet(path: Path, names: tuple[str, ...], sheet: int = 0) -> list[SheetRow]:
    """Rows of a sheet that has no header: its cells in the order of the names."""
    return [
        SheetRow(number, dict(zip(names, row, strict=False)))
        for number, row in enumerate(_table(path, sheet), 1)
        if any(cell not in (None, "") for cell in row)
    ]


def _plain(cell: Any) -> str:
    return re.sub(r"[\s_]+", "", str(cell)).lower() if cell is not None else ""


def _table(path: Path, sheet: str | int | None) -> list[tuple]:
    """All cells of a sheet, row by row."""
    if path.suffix.lower() == ".csv":
        return _csv_table(path)
    if path.suffix.lower() == ".jsonl":
        return _jsonl_table(path)
    if path.suffix.lower() == ".xls":
        return _xls_table(path, sheet)
    return _xlsx_table(path, sheet)


def _xlsx_table(path: Path, sheet: str | int | None) -> list[tuple]:
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - zip, XML and openpyxl's own errors
        raise ValueError(f"{path}: not a readable spreadsheet ({error}); copy it again") from error
    try:
        chosen = book.worksheets[_choose(book.sheetnames, sheet)]
        chosen.reset_dimensions()  # some programs write A1 for the size of any sheet
        return [tuple(row) for row in chosen.iter_rows(values_only=True)]
    finally:
        book.close()


def _xls_table(path: Path, sheet: str | int | None) -> list[tuple]:
    """All cells of a sheet of Excel 97: the full annotation of CAS(ME)3 is released as one."""
    try:
        book = xlrd.open_workbook(path, on_demand=True, logfile=io.StringIO())
        chosen = book.sheet_by_index(_choose(book.sheet_names(), sheet))
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - xlrd's own, and those of damaged records
        raise ValueError(f"{path}: not a readable spreadsheet ({error}); copy it again") from error
    empty = (xlrd.XL_CELL_EMPTY, xlrd.XL_CELL_BLANK, xlrd.XL_CELL_ERROR)
    return [
        tuple(None if cell.ctype in empty else cell.value for cell in chosen.row(number))
        for number in range(chosen.nrows)
    ]


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not in UTF-8 (byte {error.start}); save it as CSV UTF-8") from error


def _jsonl_table(path: Path) -> list[tuple]:
    """The objects of a .jsonl file below a row of all their keys; a line that is empty is an empty row."""
    rows = []
    for number, line in enumerate(_text(path).split("\n"), 1):
        try:
            row = json.loads(line) if line.strip() else {}
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: {line[:60]!r} is no JSON ({error.msg})") from error
        if not isinstance(row, dict):
            raise ValueError(f'{path}, line {number}: {line[:60]!r} is no object; write {{"file_name": ...}}')
        rows.append(row)
    keys = tuple(dict.fromkeys(key for row in rows for key in row))
    return [keys, *(tuple(row.get(key) for key in keys) for row in rows)]


def _csv_table(path: Path) -> list[tuple]:
    """All cells of a .csv file; Excel separates them by semicolons where the comma is a decimal sign."""
    text = _text(path)
    first = text.partition("\n")[0]
    comma = max(",;\t", key=first.count)
    return [tuple(cell or None for cell in row) for row in csv.reader(io.StringIO(text, ""), delimiter=comma)]


def _choose(names: list[str], sheet: str | int | None) -> int:
    """Index of the sheet of a name or number; without such a one, of the first or last."""
    if isinstance(sheet, int):
        return min(sheet, len(names) - 1)
    return names.index(sheet) if sheet in names else 0
