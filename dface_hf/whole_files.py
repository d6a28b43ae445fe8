"""Files that are whole or not there: written beside their name, renamed when complete."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[Path]:
    """Write a file under a temporary name; it gets its own when the block ends, and is removed when it fails.

    Args:
        path: Of the file; what stands there stays until the new one is complete.

    Yields:
        A name in the same folder, with the same ending, by which libraries choose the format.

    Raises:
        OSError: The file cannot be written; one line that names it.
    """
    path = Path(path)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        told = error.strerror or error
        raise OSError(f"{path}: cannot be written ({told}); check folder and disk") from error
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file as a whole, in UTF-8; a file name in it that is no valid Unicode keeps its bytes.

    Raises:
        OSError: The file cannot be written; one line that names it.
    """
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="surrogateescape", newline="\n")
