"""Numbers as Markdown tables, as the README shows them."""

from __future__ import annotations

Rows = dict[str, dict[str, float]]


def markdown_table(rows: Rows) -> str:
    """Rows of named numbers as a table; what a row does not have is a dash.

    Args:
        rows: Name of each row -> column -> number; columns come in the order in which they first appear.
    """
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, row in rows.items():
        lines.append(f"| {name} | " + " | ".join(_cell(row.get(column)) for column in columns) + " |")
    return "\n".join(lines)


def transposed(rows: Rows) -> Rows:
    """Columns as rows."""
    columns = dict.fromkeys(key for row in rows.values() for key in row)
    return {key: {name: row[key] for name, row in rows.items() if key in row} for key in columns}


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, int):
        return str(value)
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 0.9995 else f"{value:.3f}"
