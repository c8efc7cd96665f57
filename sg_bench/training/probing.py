"""Probes: classifiers fitted on frozen features, with fixed settings and without training of the network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sg_bench.errors import DataError, MethodError
from sg_bench.networks.backbone import Backbone
from sg_bench.networks.heads import LinearSegmenter
from sg_bench.tasks import Probe

NEIGHBOURS = 20
TEMPERATURE = 0.07
"""A neighbour at the cosine distance d has the weight exp(-d / temperature)."""
INVERSE_PENALTY = 1.0
"""scikit-learn's C of logistic regression."""
ITERATIONS = 1000
PENALTY = 1.0
"""scikit-learn's alpha of ridge regression."""


def probed(
    probe: Probe, train: NDArray[Any], truths: NDArray[Any], test: NDArray[Any], *, exclusive: bool = False
) -> NDArray[np.float32]:
    """Return the probabilities (M, outputs) of test features, by a probe fitted on training features for each output.

    Args:
        probe: "linear": logistic regression; "knn": weighted vote of the nearest neighbours by cosine distance, as in
            Wu et al. (2018), arXiv:1805.01978, and DINO.
        train: (N, channels).
        truths: (N, outputs), 0 or 1; each output has both classes.
        test: (M, channels).
        exclusive: whether each sample is of one output, for a multinomial logistic regression.
    """
    train, test = _standardised(train, test)
    if probe == "knn":
        return _neighbours_vote(train, truths, test).clip(0, 1)
    if exclusive:
        return _class_shares(train, truths.argmax(axis=1), test)
    columns = [_logistic(train, truth) for truth in truths.T]
    logits = np.stack([test @ weight + bias for weight, bias in columns], axis=1)
    probabilities: NDArray[np.float32] = torch.sigmoid(torch.from_numpy(logits)).numpy().astype(np.float32)
    return probabilities


def probed_values(probe: Probe, train: NDArray[Any], truths: NDArray[Any], test: NDArray[Any]) -> NDArray[np.float32]:
    """Return the values (M, 1) of test features, by a probe fitted on training features.

    Args:
        probe: "linear": ridge regression of standardised values; "knn": weighted mean of the nearest neighbours'.
        train: (N, channels).
        truths: (N, 1), any numbers.
        test: (M, channels).
    """
    from sklearn.linear_model import Ridge

    train, test = _standardised(train, test)
    if probe == "knn":
        return _neighbours_vote(train, truths, test)
    mean, scale = _standard(truths)
    fitted = Ridge(alpha=PENALTY).fit(train, (truths[:, 0] - mean) / scale)
    values: NDArray[np.float32] = (fitted.predict(test) * scale + mean).astype(np.float32)[:, None]
    return values


def linear_segmenter(
    encoder: Backbone, values: NDArray[Any], truths: NDArray[Any], weights: NDArray[Any]
) -> LinearSegmenter:
    """Return `encoder` with a logistic regression of each voxel's features, as a network that segments.

    Args:
        encoder: whose maps the features are.
        values: (N, sum of the maps' channels).
        truths: (N, 1), 0 or 1, of both classes.
        weights: (N,), how many voxels each stands for.
    """
    mean, scale = _standard(values)
    weight, bias = _logistic((values - mean) / scale, truths[:, 0], weights / weights.mean())
    network = LinearSegmenter(encoder)
    network.set_weights(torch.from_numpy(weight / scale), float(bias - (weight / scale) @ mean))
    return network


def check_both_classes(truths: NDArray[Any], names: tuple[str, ...] = ()) -> None:
    """Raise unless every output has training samples of both classes.

    Args:
        truths: (N, outputs), 0 or 1.
        names: of the outputs.

    Raises:
        DataError: names the first output without.
    """
    positive = truths.astype(bool).sum(axis=0)
    single = [output for output, count in enumerate(positive) if count in (0, len(truths))]
    if single:
        what = f" for {names[single[0]]}" if names else ""
        raise DataError(
            f"a probe needs positive and negative training samples; {positive[single[0]]} of {len(truths)} are "
            f"positive{what}",
            hint="Raise the task's fraction or shots, or change its split",
        )


def _standard(values: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of each feature; 1 for a constant one.

    Raises:
        MethodError: a feature is NaN or infinite.
    """
    if not np.isfinite(values).all():
        raise MethodError("the frozen features hold NaN or infinite values", hint="The pretraining diverged")
    mean, scale = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)
    return mean, np.where(scale > 1e-6 * (1 + np.abs(mean)), scale, 1.0)


def _standardised(train: NDArray[Any], test: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    mean, scale = _standard(train)
    return (train - mean) / scale, (test - mean) / scale


def _class_shares(train: NDArray[Any], classes: NDArray[np.int64], test: NDArray[Any]) -> NDArray[np.float32]:
    """Return the probabilities (M, classes) of an L2-penalised multinomial logistic regression; each class occurs."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=INVERSE_PENALTY, max_iter=ITERATIONS).fit(train, classes)
    shares: NDArray[np.float32] = fitted.predict_proba(test).astype(np.float32)
    return shares


def _logistic(
    values: NDArray[Any], truths: NDArray[Any], weights: NDArray[Any] | None = None
) -> tuple[NDArray[np.float64], float]:
    """Return weights and bias of an L2-penalised logistic regression on standardised features."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=INVERSE_PENALTY, max_iter=ITERATIONS).fit(values, truths, sample_weight=weights)
    return fitted.coef_[0].astype(np.float64), float(fitted.intercept_[0])


def _neighbours_vote(train: NDArray[Any], truths: NDArray[Any], test: NDArray[Any]) -> NDArray[np.float32]:
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(train)), metric="cosine", algorithm="brute").fit(train)
    distances, found = search.kneighbors(test)
    votes = np.exp(-distances / TEMPERATURE)[:, :, None]
    shares: NDArray[np.float64] = (votes * truths[found]).sum(axis=1) / votes.sum(axis=1)
    return shares.astype(np.float32)
