"""`kerastl explain`: a model and image files in, heat maps out."""

import argparse
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from kerastl.cli.parsing import add_command
from kerastl.cli.printing import say, show
from kerastl.errors import DataError, UsageError, check_choice

if TYPE_CHECKING:
    import keras
    import numpy as np

    from kerastl.finetuning import Explanation

_EXAMPLES = (
    "kerastl explain runs/finetune-1 new/*.jpg --out heatmaps",
    "kerastl explain model.keras photos/ --out heatmaps --class bee",
)
_AT_ONCE = 64  # decoded together; bounds the memory for any number of files


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `explain`."""
    parser = add_command(
        commands,
        "explain",
        "Show which part of each image speaks for a class",
        _EXAMPLES,
        arguments="MODEL PATH...",
    )
    parser.add_argument("model", metavar="MODEL", help="a run folder or a .keras file")
    parser.add_argument("paths", metavar="PATH", nargs="+", help="files, folders or globs")
    parser.add_argument(
        "--out", metavar="FOLDER", required=True, help="write one PNG per image there"
    )
    parser.add_argument(
        "--class",
        metavar="NAME",
        dest="class_name",
        help="class to explain (default: the most probable of each image)",
    )


def run(given: argparse.Namespace) -> int:
    """Run the command; 3 when a file could not be read, as a line says."""
    from kerastl import models
    from kerastl.predicting import expand_paths, find_model

    path = find_model(given.model)
    info = models.read_info(path)  # refuses what is no model before Keras is loaded
    if given.class_name is not None and info.class_names:
        check_choice("--class", given.class_name, info.class_names)
    files, out = expand_paths(given.paths), Path(given.out)
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {given.out}: this is a file; give a folder.")
    names = name_pictures(files)
    from kerastl.startup import start_tensorflow

    start_tensorflow()
    model, failed = models.load_model(path), 0
    for start in range(0, len(files), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        failed += _explain(model, files[part], names[part], given.class_name, out)
    say(f"{len(files) - failed} heat maps written to {out}")
    if failed:
        say(f"kerastl: {failed} of {len(files)} files could not be read.")
    return DataError.exit_code if failed else 0


def name_pictures(files: Sequence[PurePath]) -> list[str]:
    """Return a file name per image: its own, and its number where two have the same.

    Example:

    >>> name_pictures([PurePath("a/1.jpg"), PurePath("b/1.jpg"), PurePath("b/2.jpg")])
    ['1.jpg.png', '1.jpg-2.png', '2.jpg.png']
    """
    taken: set[str] = set()
    names = []
    for file in files:
        name, number = f"{file.name}.png", 1
        while name.casefold() in taken:  # some disks do not tell A from a
            number += 1
            name = f"{file.name}-{number}.png"
        taken.add(name.casefold())
        names.append(name)
    return names


def _explain(
    model: "keras.Model",
    files: Sequence[Path],
    names: Sequence[str],
    class_name: str | None,
    out: Path,
) -> int:
    """Explain some files, write and list them; return how many could not be read."""
    from kerastl.data.pixels import UnreadableError
    from kerastl.finetuning import explain

    try:
        found = explain(model, files, classes=class_name)
    except UnreadableError as error:  # none of them
        found, failures = None, error.failures
    else:
        failures = found.failures
    for path, reason in failures:
        show(f"{path}: {reason}")
    if found is not None:
        _write(found, dict(zip(map(str, files), names, strict=True)), out)
    return len(failures)


def _write(found: "Explanation", names: dict[str, str], out: Path) -> None:
    from kerastl.reporting import render_overlays
    from kerastl.runs import write_bytes_atomic

    if found.note:
        say(found.note)
    pictures = render_overlays(found.pixels, found.heatmaps)
    rows = zip(found.names, found.labels, found.confidences, found.heatmaps, strict=True)
    for (name, label, confidence, heatmap), png in zip(rows, pictures, strict=True):
        path = write_bytes_atomic(out / names[name], png)
        show(f"{name}: {label} {confidence:.3f}, {describe_place(heatmap)}, {path}")


def describe_place(heatmap: "np.ndarray") -> str:
    """Say where a heat map is hottest.

    Example:

    >>> import numpy as np
    >>> describe_place(np.array([[0, 0, 0.2], [0, 0, 0], [0, 0, 1]]))
    'hottest at the lower right'
    """
    if heatmap.max() == 0:
        return "nothing in it speaks for this class"
    if heatmap.min() == heatmap.max():
        return "everywhere alike"
    height, width = heatmap.shape
    row, column = divmod(int(heatmap.argmax()), width)
    parts = (
        ("upper", "middle", "lower")[3 * row // height],
        ("left", "middle", "right")[3 * column // width],
    )
    place = "middle" if parts == ("middle", "middle") else " ".join(parts)
    return f"hottest at the {place}"
