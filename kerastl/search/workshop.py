"""Models and programs that a worker keeps from trial to trial.

A trial that builds what an earlier one of this process built gets that model back, with the
weights a new one would have, and with the graphs that were traced for it.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from kerastl.finetuning.cohorts import Cohorts
from kerastl.finetuning.programs import Programs
from kerastl.finetuning.verifying import Digests, find_moved
from kerastl.models import build_model, get_info, set_normalization
from kerastl.options import Options

MODELS, SEEDS = 2, 4  # kept at once; initial weights of so many seeds of each


@dataclass(eq=False)
class _Kept:
    """A model, its programs, and the weights it has when it is new, by seed.

    `digests` are those of layers at these weights, as far as somebody asked.
    """

    model: keras.Model
    programs: Programs = field(default_factory=Programs)
    starts: OrderedDict[int, list[np.ndarray]] = field(default_factory=OrderedDict)
    digests: dict[int, dict[str, str]] = field(default_factory=dict)
    cohorts: Cohorts = field(default_factory=Cohorts)


class Workshop:
    """The models of one process."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple, _Kept] = OrderedDict()

    def take_model(
        self,
        options: Options,
        message: Mapping[str, Any],
        image_size: tuple[int, int],
        *,
        seed: int,
        resuming: bool,
    ) -> tuple[keras.Model, dict[str, Any]]:
        """Return a model as `build_model` makes it, and what is kept with it.

        Args:
            options: Of the trial.
            message: Of the request: the classes.
            image_size: Height and width in pixels.
            seed: Of the initial weights.
            resuming: Whether weights will be assigned, so that none need be loaded.

        Returns:
            The model, and its programs, digests and cohorts as arguments of `Job`.
        """
        settings = {
            "num_classes": len(message["class_names"]),
            "image_size": tuple(image_size),
            "pooling": options.pooling,
            "hidden": tuple(options.hidden),
            "dropout": options.dropout,
            "multi_label": message["multi_label"],
            "class_names": tuple(message["class_names"]),
        }
        key = (options.base, str(options.weights), keras.config.dtype_policy().name)
        kept = self._find((*key, *settings.values()))

        def build() -> keras.Model:
            weights = None if resuming else options.weights
            return build_model(options.base, weights=weights, seed=seed, **settings)

        if kept is None:
            kept = self._keep((*key, *settings.values()), build())
            if not resuming:
                self._remember(kept, seed, kept.model.get_weights())
        else:
            self._renew(kept, seed, build, resuming=resuming)
        known = None if resuming else kept.digests[seed]
        return kept.model, {
            "programs": kept.programs,
            "digests": Digests(kept.model, known),
            "cohorts": kept.cohorts,
        }

    def _find(self, key: tuple) -> _Kept | None:
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def _keep(self, key: tuple, model: keras.Model) -> _Kept:
        self._kept[key] = _Kept(model)
        while len(self._kept) > MODELS:
            self._kept.popitem(last=False)
        return self._kept[key]

    def _remember(self, kept: _Kept, seed: int, weights: list[np.ndarray]) -> None:
        kept.starts[seed], kept.digests[seed] = weights, {}
        while len(kept.starts) > SEEDS:
            gone, _ = kept.starts.popitem(last=False)
            del kept.digests[gone]

    def _renew(self, kept: _Kept, seed: int, build: Any, *, resuming: bool) -> None:
        if get_info(kept.model).normalization != "base":
            set_normalization(kept.model, None)
        if resuming:
            return
        if seed not in kept.starts:
            new = build()
            kept.model.kerastl = new.kerastl
            self._remember(kept, seed, new.get_weights())
        # most layers were frozen in the last trial: to compare is less than to assign
        moved = find_moved(kept.model, kept.starts[seed])
        starts = zip(kept.model.weights, kept.starts[seed], strict=True)
        values = {id(variable): array for variable, array in starts}
        for layer in kept.model.layers:
            for variable in layer.weights if layer.name in moved else ():
                variable.assign(values[id(variable)])
