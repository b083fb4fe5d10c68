"""What a model says of images, as class names."""

from typing import TYPE_CHECKING

import numpy as np

from kerastl.data import Split

if TYPE_CHECKING:
    import pandas as pd


def decide(probabilities: np.ndarray, split: Split) -> np.ndarray:
    """Return what a model says of images, in the form of the split's labels."""
    if split.labels.ndim == 2:
        return (probabilities >= 0.5).astype("float32")
    return probabilities.argmax(axis=1)


def name_labels(labels: np.ndarray, class_names: tuple[str, ...]) -> list[str]:
    """Return class names for class indices or rows of 0 and 1.

    Example:

    >>> name_labels(np.array([[1, 0, 1], [0, 0, 0]]), ("cat", "dog", "cow"))
    ['cat|cow', '']
    """
    names = np.array(class_names, dtype=object)
    if labels.ndim == 1:
        return names[labels].tolist()
    return ["|".join(names[row > 0]) for row in labels]


def tabulate_split(
    split: Split, probabilities: np.ndarray, class_names: tuple[str, ...]
) -> "pd.DataFrame":
    """Return one row per image of a split, as predictions.csv has them.

    Args:
        split: Whose images were predicted.
        probabilities: Float `(n, classes)`.
        class_names: Names in the order of the columns.

    Returns:
        DataFrame with split, name, label, predicted, confidence and `p_<class index>`.
    """
    import pandas as pd

    columns = {f"p_{i}": column for i, column in enumerate(probabilities.T)}
    return pd.DataFrame(
        {
            "split": split.name,
            "name": split.names,
            "label": name_labels(split.labels, class_names),
            "predicted": name_labels(decide(probabilities, split), class_names),
            "confidence": probabilities.max(axis=1),
            **columns,
        }
    )
