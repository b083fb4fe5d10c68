"""Compiled models with their traced graphs, kept for every stage they fit."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from kerastl.data.pixels import free_memory
from kerastl.finetuning.activations import build_prefix
from kerastl.finetuning.auxiliaries import assist_model, list_outputs
from kerastl.finetuning.compiling import compile_stage
from kerastl.finetuning.cuts import (
    Boundary,
    Split,
    build_prefix_model,
    split_model,
    whole_model,
)
from kerastl.finetuning.optimizers import BlockRates
from kerastl.finetuning.signatures import Signature, choose_decay, needs_one_hot
from kerastl.finetuning.steps import build_trackers
from kerastl.finetuning.tasks import StageTask
from kerastl.models import get_info, layer_table
from kerastl.schedules import measure_depths
from kerastl.stages import Stage

KEPT = 8  # programs of one model
SHARE = 4  # their optimizers together take at most this part of the free memory


class Program:
    """A model compiled for one kind of stage, split or whole, and its traced graphs.

    Learning rate and its decay, batch size, epochs, seed, the strength of weight decay and
    all weights may change from stage to stage; whatever else a graph depends on is in its
    `Signature`.

    Args:
        model: To be compiled.
        task: The first stage.
        cached: Whether what is frozen runs once, so that steps are those of the tail.
    """

    def __init__(self, model: keras.Model, task: StageTask, *, cached: bool):
        self.model = model
        depths = measure_depths(layer_table(task.model))  # of which a head is a part
        compile_stage(model, task.stage, multi_label=task.multi_label, depths=depths)
        build_trackers(model, _one_label(task))
        self.split: Split = whole_model(model)
        if cached:
            self.split = split_model(model, list_outputs(model))
        self.trained = [variable.path for variable in model.trainable_variables]
        self.heads: list[Program] = []  # copies of the tail that train beside each other
        self._graphs: dict[Any, Callable] = {}

    def share(self) -> None:
        """Make a variable of what else would be written into the graphs as a number."""
        optimizer = self.model.optimizer
        if optimizer.weight_decay is not None:
            decay = keras.Variable(optimizer.weight_decay, trainable=False, name="decay")
            optimizer.weight_decay = decay

    def graph(self, build: Callable, specs: Any, *, whole: bool = False) -> Callable:
        """Return one of the graphs of `steps`, built once for each form of its input.

        Args:
            build: Such as `build_step`.
            specs: Of its input.
            whole: Through the whole model, though the program is split.
        """
        key = (build.__name__, _freeze(specs), whole)
        if key not in self._graphs:
            split = whole_model(self.model) if whole else self.split
            self._graphs[key] = build(split, specs)
        return self._graphs[key]

    def common_graph(
        self, build: Callable, heads: Sequence["Program"], specs: Any
    ) -> Callable:
        """Return a graph of several of `heads`, built once for each number of them."""
        key = (build.__name__, _freeze(specs), len(heads))
        if key not in self._graphs:
            self._graphs[key] = build([head.split for head in heads], specs)
        return self._graphs[key]

    def trace_prefixes(
        self, boundaries: Sequence[Boundary], specs: Any, dtype: str
    ) -> Callable:
        """Return the layers up to some boundaries as one graph, built once for these.

        Args:
            boundaries: What it gives, one after the other.
            specs: Of its input.
            dtype: Of what it gives.
        """
        tensors = [tensor for boundary in boundaries for tensor in boundary]
        key = (*map(id, tensors), _freeze(specs), dtype)
        if key not in self._graphs:
            unique = {id(tensor): tensor for tensor in tensors}
            prefix = build_prefix_model(self.model, list(unique.values()))
            places = [list(unique).index(id(tensor)) for tensor in tensors]
            self._graphs[key] = build_prefix(prefix, specs, dtype, places)
        return self._graphs[key]

    def restart(self, stage: Stage) -> None:
        """Put the optimizer back to where it starts, for another stage of the same kind.

        Raises:
            RuntimeError: Other layers train than those the graphs were traced for; Keras
                would train the old ones without a word.
        """
        now = [variable.path for variable in self.model.trainable_variables]
        if now != self.trained:
            raise RuntimeError(
                "A program was traced for other layers than those that train now: "
                f"{sorted(set(now) ^ set(self.trained))[:3]}."
            )
        optimizer = self.model.optimizer
        for variable in optimizer.variables:  # slots and the step counter
            variable.assign(tf.zeros_like(variable.value))
        optimizer.learning_rate = stage.learning_rate
        if isinstance(optimizer.weight_decay, keras.Variable):
            optimizer.weight_decay.assign(choose_decay(stage))
        if isinstance(optimizer, BlockRates):
            optimizer.set_decay(stage.rate_decay)

    def count_bytes(self) -> int:
        """Return what the optimizer's variables take."""
        return sum(
            variable.value.dtype.size * int(tf.size(variable.value))
            for variable in self.model.optimizer.variables
        )


def _one_label(task: StageTask) -> tf.Tensor:
    if needs_one_hot(task.stage) or task.multi_label:
        return tf.zeros((1, task.num_classes), "float32")
    return tf.zeros((1,), "int32")


def _freeze(specs: Any) -> tuple[Any, ...]:
    return tuple((tuple(spec.shape), spec.dtype.name) for spec in tf.nest.flatten(specs))


class Programs:
    """The programs of one model whose weights are assigned anew for every trial.

    Each has a model of its own over the same layers: compiling one leaves the graphs of the
    others alone. The oldest go where memory or their number asks for it.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[Signature, Program] = OrderedDict()

    def take(self, task: StageTask, *, cached: bool) -> Program:
        """Return a program for the stage, as if compiled anew."""
        signature = Signature.of(
            task.stage,
            trained=tuple(v.path for v in task.model.trainable_variables),
            cached=cached,
            normalization=str(get_info(task.model).normalization),
        )
        program = self._kept.pop(signature, None)
        if program is None:
            program = Program(_assist_view(task.model), task, cached=cached)
            program.share()
        program.restart(task.stage)
        self._kept[signature] = program
        self._drop()
        return program

    def _drop(self) -> None:
        room = free_memory() // SHARE
        while len(self._kept) > 1 and (len(self._kept) > KEPT or self._size() > room):
            self._kept.popitem(last=False)

    def _size(self) -> int:
        return sum(program.count_bytes() for program in self._kept.values())


def _assist_view(model: keras.Model) -> keras.Model:
    assisted = assist_model(model)
    return view_model(model) if assisted is model else assisted  # a view as well


def view_model(model: keras.Model) -> keras.Model:
    """Return another model over the same layers, to compile instead of this one."""
    view = keras.Model(model.inputs, model.outputs, name=model.name)
    view.kerastl = get_info(model)
    return view
