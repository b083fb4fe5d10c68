"""`kerastl doctor`: versions, devices, fonts, disk and weights, for a report of a bug."""

import argparse
import shutil
from pathlib import Path
from typing import Any

from kerastl.cli.parsing import add_command
from kerastl.cli.printing import show, show_json
from kerastl.startup import start_tensorflow

_EXAMPLES = ("kerastl doctor", "kerastl doctor --json")
_KOREAN = "한국어"


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `doctor`."""
    parser = add_command(
        commands, "doctor", "Describe this machine and installation", _EXAMPLES
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(given: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    facts = examine()
    if given.json:
        show_json(facts)
    else:
        show("\n".join(_render(facts)))
    return 0


def examine() -> dict[str, Any]:
    """Return what there is to know; imports TensorFlow, which takes seconds."""
    from kerastl.runs import describe_environment

    return {
        **describe_environment(),
        "devices": _find_devices(),
        "free_disk_gb": round(shutil.disk_usage(Path.cwd()).free / 1e9, 1),
        "korean_font": _find_font(),
        **_find_weights(),
        **_measure_cache(),
    }


def _find_devices() -> list[str]:
    start_tensorflow()
    try:
        import tensorflow as tf
    except ImportError as error:  # a broken installation is what this command is for
        return [f"unknown: TensorFlow cannot be imported ({error})"]
    return [f"{device.device_type} ({device.name})" for device in
            tf.config.list_physical_devices()]  # fmt: skip


def _find_font() -> str:
    from kerastl.reporting.fonts import choose_lettering

    lettering = choose_lettering([_KOREAN])
    return lettering.hint or lettering.families[0]


def _find_weights() -> dict[str, Any]:
    from kerastl.bases import BASES
    from kerastl.weights import cache_folder, is_cached

    cached = [name for name, base in BASES.items() if is_cached(base)]
    return {"weights_folder": _shorten(cache_folder()), "weights_cached": cached}


def _measure_cache() -> dict[str, Any]:
    from kerastl.finetuning.entries import cache_folder

    folder = cache_folder("")
    sizes = [file.stat().st_size for file in folder.rglob("*") if file.is_file()]
    return {"cache_folder": _shorten(folder), "cache_gb": round(sum(sizes) / 1e9, 3)}


def _shorten(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def _render(facts: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict) and value:
            lines += [f"{indent}{name}", *_render(value, indent + "  ")]
        else:
            shown = ", ".join(value) if isinstance(value, list) else value
            title = name.replace("_gb", " (GB)").replace("_", " ")
            lines.append(f"{indent}{title:<{18 - len(indent)}} {shown or 'none'}")
    return lines
