"""What is said of each class: prompts filled with the words for it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from kerastl.data.listing import normalize_name
from kerastl.data.tables import read_table
from kerastl.errors import DataError, UsageError, check_choice, suggest

PROMPTS = ("a photo of a {}.",)
PLACE = "{}"
_TWO = 2  # columns of a table of names


def check_prompts(prompts: str | Sequence[str]) -> tuple[str, ...]:
    """Return prompts as a tuple, each with one place for the words of a class.

    Raises:
        UsageError: There is none, one has no `{}` or several, or one comes twice.

    Example:

    >>> check_prompts("a photo of a {}.")
    ('a photo of a {}.',)
    """
    given = (prompts,) if isinstance(prompts, str) else tuple(prompts)
    if not given:
        raise UsageError(f"There is no prompt: give one such as {PROMPTS[0]!r}.")
    for prompt in given:
        if not isinstance(prompt, str) or prompt.count(PLACE) != 1:
            raise UsageError(
                f"prompt {prompt!r} must have {PLACE} once, where the name of a class "
                f"goes: such as {PROMPTS[0]!r}."
            )
        if given.count(prompt) > 1:
            raise UsageError(f"prompt {prompt!r} is given twice.")
    return given


def read_words(
    names: Mapping[str, str] | str | Path | None, class_names: Sequence[str]
) -> tuple[str, ...]:
    """Return what each class is called in prompts.

    Args:
        names: Words by class, or a CSV or TSV file of two columns, class and words. A
            class that is not in it has its own name, with spaces for underscores.
        class_names: Of the data.

    Raises:
        UsageError: There is no such file, or a class is not one of the data.
        DataError: The table has not two columns, or a class comes twice or has no words.

    Example:

    >>> read_words({"n02219486": "ant"}, ["n02219486", "honey_bee"])
    ('ant', 'honey bee')
    """
    given = _read_table(names) if isinstance(names, str | Path) else dict(names or {})
    words = {name: name.replace("_", " ") for name in class_names}
    for name, said in given.items():
        check_choice("names", name, class_names)
        if not isinstance(said, str) or not said.strip():
            raise DataError(f"names: the class {name!r} is called {said!r}, no words.")
        words[name] = said.strip()
    return tuple(words[name] for name in class_names)


def _read_table(source: str | Path) -> dict[str, str]:
    path = Path(source).expanduser()
    if not path.is_file():
        beside = path.parent.iterdir() if path.parent.is_dir() else ()
        near = suggest(path.name, sorted(each.name for each in beside))
        raise UsageError(f"There is no table of names {str(source)!r}.{near}")
    table = read_table(path)
    if len(table.columns) != _TWO:
        raise DataError(
            f"{table.shown} has {len(table.columns)} columns: it must have two, the class "
            "and what to call it."
        )
    rows = [(normalize_name(name.strip()), words) for name, words in table.rows]
    classes = [name for name, _ in rows]
    for number, name in zip(table.numbers, classes, strict=True):
        if classes.count(name) > 1:
            raise DataError(f"{table.shown} row {number}: {name!r} comes twice.")
    return dict(rows)


def fill_prompts(
    prompts: Sequence[str], words: Sequence[str], class_names: Sequence[str]
) -> tuple[tuple[str, ...], ...]:
    """Return the texts of each class.

    Args:
        prompts: From `check_prompts`.
        words: What each class is called.
        class_names: For messages.

    Raises:
        DataError: Two classes have the same texts, but for capital letters, which CLIP
            does not see.

    Example:

    >>> fill_prompts(["a {}.", "the {}."], ["ant", "bee"], ["0", "1"])
    (('a ant.', 'the ant.'), ('a bee.', 'the bee.'))
    """
    seen: dict[str, str] = {}
    for name, said in zip(class_names, words, strict=True):
        other = seen.setdefault(" ".join(said.lower().split()), name)
        if other != name:
            text = prompts[0].replace(PLACE, said)
            raise DataError(
                f"The classes {other!r} and {name!r} have the same prompt {text!r}: "
                "nothing tells them apart. Name them otherwise (names, --names)."
            )
    return tuple(tuple(each.replace(PLACE, said) for each in prompts) for said in words)
