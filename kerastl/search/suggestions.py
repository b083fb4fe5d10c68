"""The next point by Optuna's TPE: a pure function of the trials that are finished."""

import contextlib
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kerastl.errors import UsageError
from kerastl.seeds import derive_seed
from kerastl.spaces import Space
from kerastl.spaces.distributions import is_distribution, write_distribution
from kerastl.spaces.listing import make_plain

_STARTUP = 5  # trials drawn before TPE takes over; Optuna's 10 is a whole small search
_ASKED = 10  # suggestions refused as repeated before any untried point is taken

Finished = Sequence[tuple[Mapping[str, Any], float | None]]


def check_tpe(space: Space) -> None:
    """Refuse a space that TPE cannot model, before the first trial.

    Raises:
        UsageError: Optuna is missing, or a distribution is other than uniform, loguniform
            or randint; names all of them.

    Example:

    >>> check_tpe(Space({"learning_rate": "loguniform(1e-5, 1e-2)"}))
    """
    optuna = _import_optuna()
    problems = []
    for name, frozen in space.distributions.items():
        if _convert(optuna, frozen) is None:
            problems.append(
                f"{name}={write_distribution(frozen)}: mode='tpe' draws from lists, "
                "uniform, loguniform and randint alone: give one, or search at random."
            )
    if problems:
        raise UsageError("\n".join(problems))


def _import_optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise UsageError(
            "mode='tpe' needs Optuna: pip install 'kerastl[optuna]'."
        ) from error
    return optuna


def suggest_tpe(
    space: Space, finished: Finished, number: int, random_state: int
) -> dict[str, Any]:
    """Return the point to try next.

    A fresh study is filled with what is finished and seeded by `number`, so that a search
    that goes on after a kill is told what it would have been told.

    Args:
        space: Of lists, uniform, loguniform and randint.
        finished: Parameters and score of each trial so far in the order of their numbers;
            a score of None, NaN or infinity is a failure.
        number: Of the trial to suggest.
        random_state: The search's.

    Returns:
        Setting -> value. A space of lists repeats no finished point while others are left.

    Raises:
        UsageError: As `check_tpe` does.

    Example:

    >>> space = Space({"batch_size": [16, 32]})
    >>> suggest_tpe(space, [({"batch_size": 16}, 0.5)], 2, 0)
    {'batch_size': 32}
    """
    check_tpe(space)
    optuna = _import_optuna()
    kinds = {
        name: _convert(optuna, space.parameters[name]) for name in sorted(space.parameters)
    }
    known = [(_encode(space, params), score) for params, score in finished]
    seed = derive_seed(random_state, number)
    with _quiet(optuna):
        study = _rebuild_study(optuna, kinds, known, seed)
        params = _ask(study, kinds, [params for params, _ in known], space)
    if params is None:
        params = _draw_untried(space, [params for params, _ in known], seed)
    return _decode(space, params)


@contextlib.contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _rebuild_study(
    optuna: Any,
    kinds: Mapping[str, Any],
    known: Sequence[tuple[dict[str, Any], float | None]],
    seed: int,
) -> Any:
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    states = optuna.trial.TrialState
    for params, score in known:
        failed = score is None or not math.isfinite(score)
        study.add_trial(
            optuna.trial.create_trial(
                state=states.FAIL if failed else states.COMPLETE,
                value=None if failed else score,
                params=params,
                distributions=dict(kinds),
            )
        )
    return study


def _ask(
    study: Any, kinds: Mapping[str, Any], tried: Sequence[dict[str, Any]], space: Space
) -> dict[str, Any] | None:
    """Return a suggestion, or None where TPE repeats itself though points are left."""
    for _ in range(_ASKED):
        params = study.ask(dict(kinds)).params
        if params not in tried:
            return params
    distinct = {tuple(params.items()) for params in tried}
    return None if space.size is not None and len(distinct) < space.size else params


def _draw_untried(
    space: Space, tried: Sequence[dict[str, Any]], seed: int
) -> dict[str, Any]:
    """Return an untried point, each setting drawn alike: they are many, or soon found."""
    lengths = {name: len(space.parameters[name]) for name in sorted(space.parameters)}
    generator = random.Random(seed)
    while True:
        params = {name: generator.randrange(length) for name, length in lengths.items()}
        if params not in tried:
            return params


def _convert(optuna: Any, values: Any) -> Any:
    """Return Optuna's distribution for a list or one of scipy's; None where it has none.

    The values of a list are told by their places, because Optuna stores only simple ones.
    """
    kinds = optuna.distributions
    if not is_distribution(values):
        return kinds.CategoricalDistribution(tuple(range(len(values))))
    low, high = (float(end) for end in values.support())
    name = values.dist.name
    if name == "uniform":
        return kinds.FloatDistribution(low, high)
    if name == "randint":
        return kinds.IntDistribution(int(low), int(high))
    if name in ("loguniform", "reciprocal") and not _find_shift(values):
        return kinds.FloatDistribution(low, high, log=True)
    return None


def _find_shift(frozen: Any) -> float:
    """Return `loc`: what a log-uniform is shifted by is no longer log-uniform."""
    positional = frozen.args[2] if len(frozen.args) > 2 else 0
    return frozen.kwds.get("loc", positional)


def _encode(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: make_plain(value) for name, value in params.items()}
    return {
        name: given[name] if is_distribution(values) else values.index(given[name])
        for name, values in sorted(space.parameters.items())
    }


def _decode(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: params[name] if is_distribution(values) else values[params[name]]
        for name, values in sorted(space.parameters.items())
    }
