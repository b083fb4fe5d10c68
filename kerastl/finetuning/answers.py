"""What a model says of images, as class names."""

import numpy as np

from kerastl.data import Split


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
