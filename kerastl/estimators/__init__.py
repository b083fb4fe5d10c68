"""Classifiers that scikit-learn can validate and search."""

from kerastl.estimators.classifier import TransferClassifier as TransferClassifier

__all__ = ["TransferClassifier"]
