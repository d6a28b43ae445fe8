"""The examples of `dface COMMAND --help`, and those of the README, are commands as they can be typed."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from dface_hf.cli import app

README = Path(__file__).resolve().parents[1] / "README.md"
COMMANDS = get_command(app).commands


def parse(example: str) -> str:
    """Read an example as the program would, without running it: the command's name."""
    program, name, *words = shlex.split(example, comments=True)
    assert program == "dface" and name in COMMANDS, example
    COMMANDS[name].make_context(name, words)
    return name


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"version"}))
def test_help_has_examples_that_parse(name):
    command = COMMANDS[name]
    examples = re.findall(rf"`(dface {name}(?: [^`]+)?)`", command.epilog or "")
    assert examples and {parse(example) for example in examples} == {name}
    assert command.help


def test_commands_of_the_readme_parse():
    lines = re.findall(r"^dface .*", README.read_text(encoding="utf-8"), flags=re.MULTILINE)
    used = {parse(one.strip()) for line in lines for one in line.partition("  #")[0].split("&&")}
    assert len(used) > 10
