"""kerastl: image transfer learning with Keras 3.

From labelled images to a model you can trust, in three calls::

    data = kerastl.load_images("photos/")
    model = kerastl.build_model("resnet50", num_classes=data.num_classes)
    run = kerastl.finetune(model, data, schedule="hybrid")

Names are imported when they are first used, so `import kerastl` takes no time.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kerastl.advice import advise as advise
    from kerastl.advice import rank_bases as rank_bases
    from kerastl.bases import base_names as base_names
    from kerastl.bases import get_base as get_base
    from kerastl.comparing import ComparisonResult as ComparisonResult
    from kerastl.comparing import compare as compare
    from kerastl.comparing import load_comparison as load_comparison
    from kerastl.data import Data as Data
    from kerastl.data import check_images as check_images
    from kerastl.data import decode_image as decode_image
    from kerastl.data import load_images as load_images
    from kerastl.errors import DataError as DataError
    from kerastl.errors import KerastlError as KerastlError
    from kerastl.errors import StorageError as StorageError
    from kerastl.errors import UsageError as UsageError
    from kerastl.estimators import TransferClassifier as TransferClassifier
    from kerastl.evaluation import Scores as Scores
    from kerastl.evaluation import calibrate_predictions as calibrate_predictions
    from kerastl.evaluation import compare_predictions as compare_predictions
    from kerastl.evaluation import find_threshold as find_threshold
    from kerastl.evaluation import score as score
    from kerastl.evaluation import wilson_interval as wilson_interval
    from kerastl.finetuning import Ensemble as Ensemble
    from kerastl.finetuning import Explanation as Explanation
    from kerastl.finetuning import RateTest as RateTest
    from kerastl.finetuning import Run as Run
    from kerastl.finetuning import explain as explain
    from kerastl.finetuning import extract_features as extract_features
    from kerastl.finetuning import find_learning_rate as find_learning_rate
    from kerastl.finetuning import finetune as finetune
    from kerastl.finetuning import load_run as load_run
    from kerastl.models import build_model as build_model
    from kerastl.models import get_info as get_info
    from kerastl.models import load_model as load_model
    from kerastl.models import predict_probabilities as predict_probabilities
    from kerastl.models import save_model as save_model
    from kerastl.options import Options as Options
    from kerastl.predicting import predict_paths as predict_paths
    from kerastl.schedules import SCHEDULES as SCHEDULES
    from kerastl.schedules import named_schedule as named_schedule
    from kerastl.search import SearchResult as SearchResult
    from kerastl.search import grid_search as grid_search
    from kerastl.search import halving_search as halving_search
    from kerastl.search import load_search as load_search
    from kerastl.search import random_search as random_search
    from kerastl.search import tpe_search as tpe_search
    from kerastl.spaces import Space as Space
    from kerastl.stages import Schedule as Schedule
    from kerastl.stages import Stage as Stage
    from kerastl.zeroshot import ZeroShot as ZeroShot
    from kerastl.zeroshot import ZeroShotByNames as ZeroShotByNames
    from kerastl.zeroshot import zero_shot as zero_shot
    from kerastl.zeroshot import zero_shot_by_names as zero_shot_by_names

__version__ = "0.1.0"

# name -> the module it comes from
_HOMES = {
    "ComparisonResult": "comparing",
    "Data": "data",
    "DataError": "errors",
    "Ensemble": "finetuning",
    "Explanation": "finetuning",
    "KerastlError": "errors",
    "Options": "options",
    "RateTest": "finetuning",
    "Run": "finetuning",
    "SCHEDULES": "schedules",
    "Schedule": "stages",
    "Scores": "evaluation",
    "SearchResult": "search",
    "Space": "spaces",
    "Stage": "stages",
    "StorageError": "errors",
    "TransferClassifier": "estimators",
    "UsageError": "errors",
    "ZeroShot": "zeroshot",
    "ZeroShotByNames": "zeroshot",
    "advise": "advice",
    "base_names": "bases",
    "build_model": "models",
    "calibrate_predictions": "evaluation",
    "check_images": "data",
    "compare": "comparing",
    "compare_predictions": "evaluation",
    "decode_image": "data",
    "explain": "finetuning",
    "extract_features": "finetuning",
    "find_learning_rate": "finetuning",
    "find_threshold": "evaluation",
    "finetune": "finetuning",
    "get_base": "bases",
    "get_info": "models",
    "grid_search": "search",
    "halving_search": "search",
    "load_comparison": "comparing",
    "load_images": "data",
    "load_model": "models",
    "load_run": "finetuning",
    "load_search": "search",
    "named_schedule": "schedules",
    "predict_paths": "predicting",
    "predict_probabilities": "models",
    "random_search": "search",
    "rank_bases": "advice",
    "save_model": "models",
    "score": "evaluation",
    "tpe_search": "search",
    "wilson_interval": "evaluation",
    "zero_shot": "zeroshot",
    "zero_shot_by_names": "zeroshot",
}
__all__ = [  # noqa: RUF022  as `sorted` has it, which a test compares with
    "ComparisonResult",
    "Data",
    "DataError",
    "Ensemble",
    "Explanation",
    "KerastlError",
    "Options",
    "RateTest",
    "Run",
    "SCHEDULES",
    "Schedule",
    "Scores",
    "SearchResult",
    "Space",
    "Stage",
    "StorageError",
    "TransferClassifier",
    "UsageError",
    "ZeroShot",
    "ZeroShotByNames",
    "advise",
    "base_names",
    "build_model",
    "calibrate_predictions",
    "check_images",
    "compare",
    "compare_predictions",
    "decode_image",
    "explain",
    "extract_features",
    "find_learning_rate",
    "find_threshold",
    "finetune",
    "get_base",
    "get_info",
    "grid_search",
    "halving_search",
    "load_comparison",
    "load_images",
    "load_model",
    "load_run",
    "load_search",
    "named_schedule",
    "predict_paths",
    "predict_probabilities",
    "random_search",
    "rank_bases",
    "save_model",
    "score",
    "tpe_search",
    "wilson_interval",
    "zero_shot",
    "zero_shot_by_names",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'kerastl' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"kerastl.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
