"""`kerastl predict`: a model and image files in, a table of classes out."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from kerastl.cli.flags import read_names, read_number
from kerastl.cli.parsing import add_command
from kerastl.cli.printing import say, show, show_file
from kerastl.errors import DataError, UsageError

if TYPE_CHECKING:
    import pandas as pd

FORMATS = (".csv", ".json")
_EXAMPLES = (
    "kerastl predict runs/finetune-1 new/*.jpg",
    "kerastl predict model.keras photos/ --out predictions.csv",
    'kerastl predict runs/finetune-1 "new/**/*.png" --json --top-k 1',
    "kerastl predict runs/finetune-1 new/ --not-sure 0.95",
    "kerastl predict runs/finetune-1 new/ --with runs/finetune-2 --tta flip,crops",
)


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `predict`."""
    parser = add_command(
        commands, "predict", "Classify images", _EXAMPLES, arguments="MODEL PATH..."
    )
    parser.add_argument("model", metavar="MODEL", help="a run folder or a .keras file")
    parser.add_argument("paths", metavar="PATH", nargs="+", help="files, folders or globs")
    parser.add_argument("--out", metavar="FILE", help="write the table, as .csv or .json")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    parser.add_argument(
        "--top-k",
        metavar="N",
        type=read_number,
        default=3,
        help="classes to name per image (default: 3)",
    )
    add_averaging(parser)
    _add_thresholds(parser)


def add_averaging(parser: argparse.ArgumentParser) -> None:
    """Add the flags of averaging over views and over models."""
    parser.add_argument(
        "--tta",
        metavar="VIEWS",
        type=read_names,
        default=(),
        help="average over views of each image: flip, crops or flip,crops",
    )
    parser.add_argument(
        "--with",
        metavar="MODEL",
        dest="others",
        action="append",
        default=[],
        help="average with another run or model; may be given again",
    )


def _add_thresholds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threshold",
        metavar="SHARE",
        type=read_number,
        help="answer 'not sure' below this confidence",
    )
    parser.add_argument(
        "--not-sure",
        metavar="SHARE",
        type=read_number,
        help="choose that threshold on validation, for this accuracy of the answers",
    )


def run(given: argparse.Namespace) -> int:
    """Run the command; 3 when a file could not be read, as the table says."""
    if given.out is not None and Path(given.out).suffix.lower() not in FORMATS:
        raise UsageError(f"--out {given.out}: the name must end in {' or '.join(FORMATS)}.")
    from kerastl.predicting import predict_paths

    table = predict_paths(
        [given.model, *given.others],
        given.paths,
        top_k=given.top_k,
        tta=given.tta,
        threshold=_choose_threshold(given),
    )
    if given.out is not None:
        _write(table, Path(given.out))
    elif given.json:
        show_file(_render_json(table))
    else:
        show(_render_text(table))
    failed = int((table["error"] != "").sum())
    if failed:
        say(f"kerastl: {failed} of {len(table)} files could not be read; see `error`.")
    return DataError.exit_code if failed else 0


def _choose_threshold(given: argparse.Namespace) -> float | None:
    if given.not_sure is None:
        return given.threshold
    if given.threshold is not None:
        raise UsageError("--not-sure chooses what --threshold gives: take one of them.")
    if given.tta or given.others:
        raise UsageError(
            "--not-sure chooses by the run's own predictions, which --tta and --with "
            "change: give --threshold, or leave them out."
        )
    from kerastl.predicting import read_threshold

    threshold = read_threshold(given.model, given.not_sure)
    if threshold.value is None:
        raise DataError(str(threshold))
    say(str(threshold))
    return threshold.value


def _write(table: "pd.DataFrame", path: Path) -> None:
    from kerastl.runs import render_csv, write_text_atomic

    is_json = path.suffix.lower() == ".json"
    write_text_atomic(path, _render_json(table) if is_json else render_csv(table))
    say(f"{len(table)} rows written to {path}")


def _render_json(table: "pd.DataFrame") -> str:
    filled = table.astype(object).where(table.notna(), None)
    return json.dumps(filled.to_dict("records"), ensure_ascii=False, indent=2) + "\n"


def _render_text(table: "pd.DataFrame") -> str:
    from kerastl.evaluation.layout import text_table

    rows = [[_show(cell) for cell in row] for row in table.itertuples(index=False)]
    header = [name.replace("_", " ") for name in table.columns]
    filled = [i for i, _ in enumerate(header) if any(row[i] for row in rows)]
    return text_table(
        [header[i] for i in filled], [[row[i] for i in filled] for row in rows]
    )


def _show(cell: object) -> str:
    if isinstance(cell, float):
        return "" if cell != cell else f"{cell:.3f}"
    return str(cell)
