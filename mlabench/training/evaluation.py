"""A trained method on the test split under every test pattern: a record's evaluations and the arrays beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mlabench.datasets import Data, Split, best_accuracies
from mlabench.method import Method
from mlabench.missing import Missing
from mlabench.record import Evaluation, Scores
from mlabench.statistics import brier_scores
from mlabench.store import Arrays, PatternOutcomes, SampleSet, TrialOutcomes
from mlabench.training.cost import Clock
from mlabench.training.devices.fabric import Fabric
from mlabench.training.metrics import evaluate, score, softmax
from mlabench.training.probe import linear_probe, project
from mlabench.training.tensors import ManyPatterns, Outputs, Predictable, predict

#: A split under the patterns of some recipes.
MakePatterns = Callable[[Split, Sequence[Missing]], ManyPatterns]


def evaluate_all(
    method: Method, data: Data, tests: Sequence[Missing], under: MakePatterns, fabric: Fabric, clock: Clock
) -> tuple[dict[str, Evaluation], TrialOutcomes, Arrays]:
    """The evaluations by key of the test pattern, and what :class:`mlabench.store.Store` keeps of the predictions.

    The linear probe has a phase of its own on the ``clock``: it encodes the training split.
    """
    evaluations: dict[str, Evaluation] = {}
    outcomes: dict[str, PatternOutcomes] = {}
    labels, modalities = data.test.labels, data.task.modalities
    samples = SampleSet(np.array(data.test.ids), np.array(data.test.groups), labels)
    arrays: Arrays = {"ids": samples.ids, "labels": labels, "groups": samples.groups}
    for missing, split in zip(tests, under(data.test, tests).under_each(method, fabric), strict=True):
        evaluation, present, outputs = evaluate_under(missing, method, data, split, fabric)
        arrays[f"{missing.key}/present"] = present
        arrays[f"{missing.key}/fused"] = outputs.fused
        for modality, logits in outputs.unimodal.items():
            arrays[f"{missing.key}/{modality}"] = logits
        predicted = [*(outputs.unimodal[modality] for modality in modalities), outputs.fused]
        correct = np.stack([logits.argmax(axis=1) == labels for logits in predicted], axis=1)
        arrays[f"{missing.key}/correct"] = correct
        # Most of an archive's bytes, and of whole modalities no report compares them.
        whole = missing.protocol != "subset"
        brier = brier_scores(softmax(outputs.fused), labels) if whole else np.full(len(labels), np.nan)
        outcomes[missing.key] = PatternOutcomes(present, correct, brier)
        if outputs.weight is not None:
            arrays[f"{missing.key}/weight"] = outputs.weight
        if missing == Missing():
            with clock.phase("probe"):
                probe = _probe_encoders(method, data, outputs.embedding, under, fabric)
            evaluation = evaluation.model_copy(update={"probe": probe})
            if len({embedding.shape[1] for embedding in outputs.embedding.values()}) == 1:
                for modality, points in project(outputs.embedding).items():
                    arrays[f"{missing.key}/projection/{modality}"] = points
        evaluations[missing.key] = evaluation
    return evaluations, TrialOutcomes(samples, modalities, outcomes), arrays


def evaluate_under(
    missing: Missing, method: Method, data: Data, split: Predictable, fabric: Fabric
) -> tuple[Evaluation, NDArray[np.bool_], Outputs]:
    """The evaluation of the test ``split`` under one pattern, without a probe; the pattern; and the predictions."""
    outputs = predict(method, split, fabric)
    present, modalities = split.present.cpu().numpy(), data.task.modalities
    scored = outputs.fused, outputs.unimodal, outputs.embedding, outputs.weight
    evaluation = evaluate(missing, modalities, data.test.labels, present, *scored)
    best = best_accuracies(data.bayes, modalities, present) if data.bayes else {}
    return evaluation.model_copy(update={"bayes": best}), present, outputs


def _probe_encoders(
    method: Method, data: Data, test: Mapping[str, NDArray[np.float32]], under: MakePatterns, fabric: Fabric
) -> dict[str, Scores]:
    """Scores of a linear probe on each encoder; ``test`` holds the embeddings ``[N, d]`` of the test split."""
    train, validation = (
        predict(method, complete, fabric).embedding
        for split in (data.train, data.validation)
        for complete in under(split, [Missing()]).under_each(method, fabric)
    )

    def scores(modality: str) -> Scores:
        fitted = (train[modality], data.train.labels)
        chosen_on = (validation[modality], data.validation.labels)
        return score(linear_probe(fitted, chosen_on, test[modality], len(data.task.classes)), data.test.labels)

    return {modality: scores(modality) for modality in test}
