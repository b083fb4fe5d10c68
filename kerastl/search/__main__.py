"""`python -m kerastl.search`: the same as `kerastl search`."""

import sys

from kerastl.cli.program import run_program

if __name__ == "__main__":
    sys.exit(run_program(["search", *sys.argv[1:]]))
