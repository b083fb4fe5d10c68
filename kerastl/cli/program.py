"""From arguments to an exit code: finds the command, runs it, reports what went wrong."""

import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from types import FrameType

from kerastl.cli import (
    advise,
    bases,
    calibrate,
    check,
    compare,
    diagnose,
    doctor,
    evaluate,
    explain,
    finetune,
    lr_find,
    predict,
    pretrain,
    rank,
    search,
    zeroshot,
)
from kerastl.cli.parsing import Parser, explain_unknown
from kerastl.cli.printing import discard_output, say
from kerastl.errors import KerastlError, UsageError, check_choice
from kerastl.runs import RunFolder

COMMANDS = {
    "finetune": finetune,
    "search": search,
    "compare": compare,
    "predict": predict,
    "explain": explain,
    "evaluate": evaluate,
    "calibrate": calibrate,
    "diagnose": diagnose,
    "check": check,
    "advise": advise,
    "rank": rank,
    "lr-find": lr_find,
    "zero-shot": zeroshot,
    "pretrain": pretrain,
    "bases": bases,
    "doctor": doctor,
}
INTERRUPTED, TERMINATED, PIPE_CLOSED = 130, 143, 141
_DESCRIPTION = """\
Image transfer learning with Keras: from a folder of images to a model and a report.

examples:
  kerastl finetune                                   the built-in digits
  kerastl finetune --data photos/ --base resnet50    one folder per class
  kerastl search --n-iter 5                          the best settings
  kerastl check photos/                              before training
  kerastl predict runs/finetune-1 new/*.jpg
"""
_EPILOG = """\
exit codes: 0 done, 2 usage, 3 data, 4 done but some trials failed, 5 storage,
6 folder in use, 7 resume refused, 8 nothing succeeded, 130 interrupted,
143 terminated"""


class _Terminated(KeyboardInterrupt):
    """SIGTERM, treated like Ctrl-C: what is finished is kept."""


def run_program(arguments: Sequence[str]) -> int:
    """Run one command of `kerastl` and return its exit code.

    What the package raises on purpose becomes one sentence; anything else is a bug and
    keeps its traceback.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's notes on its build
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that cannot show a name shows \u...
            stream.reconfigure(errors="backslashreplace")
    try:
        with _terminate_like_interrupt():
            return _run(list(arguments))
    except KerastlError as error:
        say(f"kerastl: {error}")
        _say_how_to_go_on(error)
        return error.exit_code
    except KeyboardInterrupt as error:
        return _report_interrupt(error)
    except BrokenPipeError:  # the reader went away, as `| head` does
        return _close_quietly()


def _run(arguments: list[str]) -> int:
    parser = build_parser()
    first = arguments[0] if arguments else "--help"
    if not first.startswith("-"):
        check_choice("command", first, COMMANDS)
    given, unknown = parser.parse_known_args(arguments or ["--help"])
    if unknown or given.command is None:
        chosen = parser.commands.get(given.command, parser)
        raise UsageError(explain_unknown(unknown or arguments, chosen))
    return COMMANDS[given.command].run(given)


def build_parser() -> Parser:
    """Return the parser of all commands; `commands` on it maps a name to its parser."""
    parser = Parser(prog="kerastl", description=_DESCRIPTION, epilog=_EPILOG)
    parser.usage = "kerastl COMMAND [options]"
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command", parser_class=Parser
    )
    for module in COMMANDS.values():
        module.add_parser(commands)
    parser.commands = commands.choices
    return parser


def _version() -> str:
    import kerastl

    return f"kerastl {kerastl.__version__}"


@contextlib.contextmanager
def _terminate_like_interrupt() -> Iterator[None]:
    def terminate(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    try:
        before = signal.signal(signal.SIGTERM, terminate)
    except ValueError:  # not in the main thread: signals are someone else's
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _report_interrupt(error: KeyboardInterrupt) -> int:
    terminated = isinstance(error, _Terminated)
    what = "terminated" if terminated else "interrupted"
    say(" ".join([f"kerastl: {what}.", *getattr(error, "__notes__", ())]))
    _say_how_to_go_on(error)
    return TERMINATED if terminated else INTERRUPTED


def _say_how_to_go_on(error: BaseException) -> None:
    folder = getattr(error, "run_folder", None)
    if folder is None:
        return
    command = RunFolder(folder).command
    what = "trial" if command == "search" else "epoch"
    say(
        f"Every finished {what} is kept. Go on with:\n"
        f"  kerastl {command} --resume {shlex.quote(str(folder))}"
    )


def _close_quietly() -> int:
    discard_output()
    return PIPE_CLOSED
