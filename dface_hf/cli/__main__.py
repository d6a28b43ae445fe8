"""`python -m dface_hf.cli` is `dface`."""

from dface_hf.cli import main

main()
