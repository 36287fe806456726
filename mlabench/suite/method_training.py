"""What a method's entry changes about the suite's training: ``training: {optimizer: {lr: 3.0e-4}}``."""

from __future__ import annotations

import json

from mlabench.suite.layers import name_optimizer
from mlabench.suite.source import Keys, Node, merge
from mlabench.suite.validation import Problems
from mlabench.trial import Training

#: What may differ between the methods of a suite. The rest, above all the epochs and their selection, is the
#: same for all of them, or else they could not be compared.
OWN_TRAINING = ("batch_size", "optimizer", "schedule")


def resolve_training(tree: Node, path: Keys, problems: Problems) -> Training:
    """The training of the method at ``path`` of a suite: the suite's with the method's own on top.

    Mistakes in the method's own are noted; those in the suite's are left to whoever validates that.
    """
    shared = tree.child("training") or Node({}, tree.origin)
    base = Problems(tree).validate(Training, _named(shared).plain())
    own, at = tree.find([*path, "training"]), [*path, "training"]
    if own is None or base is None:
        return base or Training()
    if not isinstance(own.value, dict):
        problems.add(at, f"must be a mapping, not {json.dumps(own.plain())}.")
        return base
    common = [field for field in Training.model_fields if field in own.value and field not in OWN_TRAINING]
    for field in common:
        problem = "is the same for all methods of a suite, so that they can be compared."
        problems.add([*at, field], problem, "Set it in the suite's own 'training'.")
    merged = _named(merge(shared, own.without(*common)))
    return problems.validate(Training, merged.plain(), at) or base


def _named(training: Node) -> Node:
    """The training with the name of its optimiser."""
    return name_optimizer(Node({"training": training}, training.origin)).nearest(["training"])
