"""What a model answers, for files or for pixels."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras
    import pandas as pd


def tabulate_answers(
    model: "keras.Model", images: np.ndarray | str | Path | Iterable[str | Path]
) -> "pd.DataFrame":
    """Classify images.

    Args:
        model: With class names.
        images: Files, folders and globs, or uint8 pixels `(n, height, width, 3)` of the
            model's image size.

    Returns:
        DataFrame as of `predict_paths`; for pixels `label` and `confidence`.

    Raises:
        UsageError: Nothing matches a path, or pixels are of another size.
    """
    if not isinstance(images, np.ndarray):
        from kerastl.predicting import predict_paths

        return predict_paths(model, images)
    import pandas as pd

    from kerastl.models import predict_probabilities

    probabilities = predict_probabilities(model, images)
    names = np.array(model.kerastl.class_names, object)
    columns = names[probabilities.argmax(axis=1)], probabilities.max(axis=1)
    return pd.DataFrame(dict(zip(("label", "confidence"), columns, strict=True)))
