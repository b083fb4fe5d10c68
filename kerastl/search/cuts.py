"""The cuts that trials with the same base want: whoever runs the images computes them all.

Known of candidates that are planned before the first trial; `tpe` suggests one by one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from kerastl.bases import get_base
from kerastl.bases.operations import Network
from kerastl.data import Data
from kerastl.finetuning.passes import list_lasting, shorten_stages
from kerastl.finetuning.planning import choose_image_size, plan_network, read_schedule
from kerastl.options import Options
from kerastl.stages import Stage

SETTINGS = ("unfreeze", "train_batchnorm", "normalize", "augment", "epochs")
Model = tuple  # what candidates have in common whose frozen layers give the same


def list_cuts(candidates: Sequence[Options], data: Data) -> dict[Model, tuple[Stage, ...]]:
    """Return the stages whose cuts can be computed before any trial, by model.

    Args:
        candidates: Of a search.
        data: Its images.
    """
    found: dict[Model, list[Stage]] = {}
    seen: set[tuple] = set()
    for options in candidates:
        model = identify_model(options, data)
        stages = read_schedule(options, get_base(options.base)).stages
        key = (model, *(shorten_stages([stage]) for stage in stages))
        if key not in seen:  # thousands of candidates have few depths
            seen.add(key)
            network = _plan_network(options, data)
            found.setdefault(model, []).extend(list_lasting(network, stages))
    return {model: shorten_stages(stages) for model, stages in found.items()}


def _plan_network(options: Options, data: Data) -> Network:
    base = get_base(options.base)
    size = choose_image_size(options, data, base)
    return plan_network(options, base, size, len(data.class_names))


def identify_model(options: Options, data: Data) -> Model:
    """Return what the output of a candidate's frozen layers depends on, beside the cut."""
    size = choose_image_size(options, data, get_base(options.base))
    # how many layers the head has decides what the last n are
    head = (options.pooling, len(options.hidden), options.dropout > 0)
    return (options.base, str(options.weights), size, *head)


def write_cuts(
    candidates: Mapping[int, Options], data: Data
) -> dict[int, list[dict[str, Any]]]:
    """Return, for each trial, the cuts that it or another one wants, as plain values."""
    cuts = list_cuts(list(candidates.values()), data)
    return {
        number: [
            {name: getattr(stage, name) for name in SETTINGS}
            for stage in cuts[identify_model(options, data)]
        ]
        for number, options in candidates.items()
    }


def read_cuts(cuts: Sequence[Mapping[str, Any]]) -> tuple[Stage, ...]:
    """Return the stages that `write_cuts` wrote."""
    return tuple(Stage(name="cut", **settings) for settings in cuts)
