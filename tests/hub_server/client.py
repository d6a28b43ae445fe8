"""A process of its own that uses the Hub: `huggingface_hub` reads HF_ENDPOINT when it is imported.

    python client.py

Reads lines {"argv": [...]} or {"code": "..."} with {"environ": {...}} and answers each with a line of exit
code, what was printed, and what was said on standard error: imports cost seconds, requests do not.
"""

import contextlib
import io
import json
import os
import sys
import traceback


def command(argv: list[str]) -> int:
    from dface_hf.cli import main

    sys.argv = ["dface", *argv]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def code(text: str) -> int:
    try:
        exec(compile(text, "<test>", "exec"), {"__name__": "__client__"})
    except Exception:  # noqa: BLE001 - the test reads what it was
        traceback.print_exc()
        return 1
    return 0


def answer(asked: dict) -> dict:
    for name, value in asked["environ"].items():
        os.environ.pop(name, None) if value is None else os.environ.update({name: value})
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = command(asked["argv"]) if "argv" in asked else code(asked["code"])
    return {"code": status, "out": out.getvalue(), "err": err.getvalue()}


if __name__ == "__main__":
    replies, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=replies, flush=True)
    os._exit(0)  # taking torch down in order takes seconds, too
