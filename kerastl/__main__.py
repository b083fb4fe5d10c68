"""The command `kerastl`, and `python -m kerastl`."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: As on the command line, without the program. Default: `sys.argv`.
    """
    from kerastl.cli.program import run_program

    return run_program(sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    sys.exit(main())
