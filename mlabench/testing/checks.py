"""The checks that every method passes.

Each is a few lines on tiny networks and random numbers; none knows what the method computes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any, get_args
from unittest import SkipTest

import safetensors.torch
import torch
from torch import Tensor

from mlabench.method import Batch, Claim, Limit, Method, Prediction
from mlabench.testing.check import Check, ContractError, Subject, Which, require
from mlabench.testing.fitting import adam, fit, parameters, predict
from mlabench.testing.toys import fill_absent, make_batch, make_task, only, take

#: Steps in which a method learns a small batch, at the rate of :func:`_fast`.
_STEPS = 60
_fast = partial(adam, lr=0.03)


# -- training ------------------------------------------------------------------------------------


@partial(Check, why="otherwise the learning curves and the check for divergence have nothing to go by")
def takes_steps_and_logs_them(subject: Subject) -> None:
    """A training step moves parameters and returns finite, detached scalars."""
    method = subject.build()
    batch, _ = subject.batches(12)
    before = parameters(method)
    method.on_stage_start(method.stages(4)[0])
    method.train()
    logs = method.training_step(batch, adam(method))
    require("loss" in logs, "does not return the loss from training_step")
    for name, value in logs.items():
        scalar = isinstance(value, Tensor) and value.numel() == 1
        require(scalar and not value.requires_grad, f"returns {name!r} from training_step, not as a detached scalar")
        require(value.isfinite().all(), f"logs {float(value)} as {name!r}")
    require(_changed(method, before), "moves no parameter in a training step")


@partial(Check, why="a method that cannot overfit a dozen samples does not follow its loss")
def learns_a_small_batch(subject: Subject) -> None:
    """Training on 16 complete samples ends with all of them classified."""
    method, batch = subject.build(), make_batch(subject.task, 16)
    require(not _right(method, batch).all(), "classifies samples before it is trained")
    fit(method, [batch], _STEPS, _fast)
    right = int(_right(method, batch).sum())
    require(right == 16, f"gets {right} of 16 samples right after {_STEPS} steps on them")


@partial(Check, why="a method that fails on incomplete samples cannot be compared where modalities are missing")
def learns_from_incomplete_samples(subject: Subject) -> None:
    """With modalities missing from a small batch, the complete samples are learned, and most of all."""
    subject.skip_unless_able("missing in training")
    batch, _ = subject.batches(16)
    method = subject.build()
    fit(method, [batch], _STEPS, _fast)
    right = _right(method, batch if subject.able("missing at test") else make_batch(subject.task, 16))
    complete, number = batch.present.all(dim=1), int(right.sum())
    require(right[complete].all(), "does not learn the complete samples of a batch whose others are incomplete")
    require(number > 8, f"gets {number} of 16 samples right, some of them incomplete, after {_STEPS} steps")


@partial(Check, why="what is absent is unknown, so whatever depends on it means nothing")
def ignores_absent_inputs(subject: Subject) -> None:
    """Losses, weights and predictions are the same, bit by bit, with zeros and with NaN in absent inputs."""
    subject.skip_unless_able("missing in training", "missing at test")
    training, batch = subject.batches(30)
    results = []
    for value in (0.0, torch.nan):
        method = subject.build(normalise=True)
        logs = fit(method, [fill_absent(training, value)], 4)
        prediction = _readable(predict(method, fill_absent(batch, value)), batch.present)
        results.append((logs, parameters(method), prediction))
    (logs, state, prediction), (poisoned_logs, poisoned_state, poisoned_prediction) = results
    require(logs == poisoned_logs, "logs other losses when NaN stands in the inputs of absent modalities")
    for key, expected in state.items():
        require(torch.equal(poisoned_state[key], expected), f"learns other {key!r} from NaN in absent modalities")
    _require_same(poisoned_prediction, prediction, "when NaN stands in the inputs of absent modalities")
    require(prediction["fused logits"].isfinite().all(), "predicts numbers that are not finite")


@partial(Check, why="at high missing rates some batches lack a modality altogether")
def bears_one_modality(subject: Subject) -> None:
    """A batch in which no sample has the others trains and predicts, and leaves the encoders of the others alone."""
    subject.skip_unless_able("missing in training", "missing at test")
    # Large enough that no random choice among its samples leaves one alone, which batch normalisation cannot take.
    complete, _ = subject.batches(32, missing=0.0)
    learned = False
    for column, modality in enumerate(subject.task.modalities):
        method = subject.build(normalise=True)
        fit(method, [complete], 4)
        before = parameters(method)
        batch, when = fill_absent(only(complete, column), torch.nan), f"when all samples have {modality} only"
        if subject.able("missing in training"):
            steps = adam(method)
            method.train()
            for _ in range(3):
                _require_finite_logs(method.training_step(batch, steps), when)
            moved = _changed(method, before)
            for other in subject.task.modalities:
                touched = other != modality and any(key.startswith(f"encoders.{other}.") for key in moved)
                require(not touched, f"moves the encoder of {other} with a batch that has {modality} only")
            learned = learned or any(key.startswith(f"encoders.{modality}.") for key in moved)
        if subject.able("missing at test"):
            _require_finite(method, predict(method, batch), batch, when)
    require(learned or not subject.able("missing in training"), "moves no encoder with batches of one modality")


@partial(Check, why="the last batch of an epoch may be that small")
def bears_one_sample(subject: Subject) -> None:
    """A batch of one sample trains and predicts."""
    method = subject.build()
    training, test = (take(batch, [3]) for batch in subject.batches(8))
    for logs in fit(method, [training], 4):
        _require_finite_logs(logs, "in a batch of one sample")
    _require_finite(method, predict(method, test), test, "when a batch has one sample")


@partial(Check, why="results could not be reproduced, nor runs resumed")
def repeats_itself(subject: Subject) -> None:
    """The same seed gives the same weights, and the same batch the same prediction."""
    states = []
    for _ in range(2):
        method = subject.build()
        fit(method, [subject.batches(8, missing=0.3, seed=seed)[0] for seed in range(3)], 3)
        states.append(parameters(method))
    for key, value in states[0].items():
        require(torch.equal(value, states[1][key]), f"learns other {key!r} from the same seed")
    _, batch = subject.batches(8, missing=0.3)
    first, second = (_readable(predict(method, batch), batch.present) for _ in range(2))
    _require_same(second, first, "the second time")


# -- prediction ----------------------------------------------------------------------------------


@partial(Check, why="the evaluation reads these tensors without looking")
def predicts_in_the_right_form(subject: Subject) -> None:
    """Shapes, types and order are those of :class:`mlabench.method.Prediction`; weights are shares."""
    for count in subject.counts:
        task = make_task(count)
        method, batch = subject.trained(10, missing=0.5, task=task, epochs=2)
        prediction = predict(method, batch)
        _require_form(prediction.fused, "the fused logits", (10, 3))
        require(tuple(prediction.unimodal) == task.modalities, f"has unimodal logits of {[*prediction.unimodal]}")
        require(tuple(prediction.embedding) == task.modalities, f"has embeddings of {[*prediction.embedding]}")
        for modality in task.modalities:
            _require_form(prediction.unimodal[modality], f"the unimodal logits of {modality}", (10, 3))
            shape = tuple(prediction.embedding[modality].shape)
            require(shape == (10, 6), f"gives the embedding of {modality} the shape {shape}, not that of the encoder")
        weight = prediction.weight
        if weight is not None:
            require(weight.shape == (10, count), f"gives the weights the shape {tuple(weight.shape)}, not [B, M]")
            sums = weight.sum(dim=1)
            require(torch.allclose(sums, torch.ones(10), atol=1e-4), "has weights of a sample that do not add up to 1")
            require((weight >= 0).all(), "has negative weights")
            require((weight[~batch.present] == 0).all(), "gives an absent modality a weight")


@partial(Check, why="scores would depend on the batch size and the order of the evaluation")
def predicts_sample_by_sample(subject: Subject) -> None:
    """A sample's prediction does not depend on what shares its batch, nor on its place in it."""
    if not subject.kind.predicts_per_sample:
        raise SkipTest(f"{subject.kind.__name__} says that its prediction of a sample depends on the batch")
    method, batch = subject.trained(30, normalise=True)
    whole = predict(method, batch)
    shuffled = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    for rows in (shuffled, *torch.split(torch.arange(12), 1), torch.arange(5)):
        part, when = take(batch, rows), f"of a sample in a batch of {len(rows)} than in one of 30"
        expected = _readable(whole, part.present, rows)
        _require_same(_readable(predict(method, part), part.present), expected, when, rtol=1e-4, atol=1e-5)


@partial(Check, why="an evaluation encodes each sample once and predicts it under every pattern from that")
def predicts_from_stored_features(subject: Subject) -> None:
    """Under any pattern it predicts the same from features that were encoded of complete samples."""
    if not subject.kind.encodes_per_sample:
        raise SkipTest(f"{subject.kind.__name__} says that its features depend on more than the sample's modality")
    method, _ = subject.trained(30, normalise=True)
    complete = make_batch(subject.task, 30, seed=1)
    features = {modality: _encoded(method, complete, modality) for modality in subject.task.modalities}
    for missing in (0.0, 0.3, 0.7) if subject.able("missing at test") else (0.0,):
        present = make_batch(subject.task, 30, missing=missing, seed=2).present
        batch = fill_absent(dataclasses.replace(complete, present=present), torch.nan)
        stored = predict(method, batch.with_features(features))
        actual, expected = (_readable(prediction, present) for prediction in (stored, predict(method, batch)))
        _require_same(actual, expected, "from features that were stored", rtol=1e-4, atol=1e-5)


@partial(Check, why="a method that sees the answer does not predict it")
def predicts_without_labels(subject: Subject) -> None:
    """The prediction is the same, bit by bit, when labels and positions in the split are hidden."""
    method, batch = subject.trained(12)
    hidden = dataclasses.replace(batch, label=torch.full_like(batch.label, -1), index=batch.index + 10**6)
    without, with_labels = (_readable(predict(method, each), batch.present) for each in (hidden, batch))
    _require_same(without, with_labels, "when labels and positions in the split are hidden")


@partial(Check, why="test samples must leave no trace, and one test pattern must not change the next")
def predicts_without_side_effects(subject: Subject) -> None:
    """Predicting changes no weight and no statistic."""
    method, _ = subject.trained(30, normalise=True)
    before = parameters(method)
    _, unseen = subject.batches(12, seed=1)
    predict(method, unseen)
    for key in _changed(method, before):
        require(False, f"changes {key!r} while predicting")


@partial(Check, why="unimodal accuracy is said to be that of one modality alone")
def keeps_modalities_apart(subject: Subject) -> None:
    """Unimodal logits do not change with other modalities' inputs; fused logits depend on the inputs."""
    method, batch = subject.trained(12, missing=0.0)
    expected = predict(method, batch)
    other = make_batch(subject.task, 12, seed=1)
    for modality in method.task.modalities:
        inputs = {**other.inputs, modality: batch.inputs[modality]}
        mixed = predict(method, dataclasses.replace(batch, inputs=inputs))
        same = torch.allclose(mixed.unimodal[modality], expected.unimodal[modality], rtol=1.3e-6, atol=1e-5)
        require(same, f"has unimodal logits of {modality} that change with the inputs of other modalities")
    swapped = predict(method, dataclasses.replace(batch, inputs=other.inputs))
    require(not torch.allclose(swapped.fused, expected.fused), "has fused logits that do not depend on the inputs")


# -- weights and arithmetic ----------------------------------------------------------------------


@partial(Check, why="kept weights are evaluated later, under new test patterns, in another process")
def reloads_its_weights(subject: Subject) -> None:
    """In each stage, a new object with the saved state predicts the same, bit by bit."""
    method = subject.build()
    training, batch = subject.batches(12)
    for stage in method.stages(4):
        method.on_stage_start(stage)
        steps = adam(method)
        method.train()
        for _ in range(3):
            method.training_step(training, steps)
        saved = safetensors.torch.save({key: value.contiguous() for key, value in method.state_dict().items()})
        reloaded = subject.build(seed=1)
        reloaded.load_state_dict(safetensors.torch.load(saved))
        actual, expected = (_readable(predict(each, batch), batch.present) for each in (reloaded, method))
        _require_same(actual, expected, "from saved weights, as not all that it needs is in its state_dict")


@partial(Check, why="suites may ask for bf16-mixed precision")
def computes_in_bfloat16(subject: Subject) -> None:
    """Under autocast it trains, keeps its weights in float32, and predicts about the same as in float32."""
    method = subject.build()
    training, batch = (fill_absent(batch, torch.nan) for batch in subject.batches(16))
    with torch.autocast("cpu", torch.bfloat16):
        for logs in fit(method, [training], 8):
            _require_finite_logs(logs, "in bfloat16")
        prediction = predict(method, batch)
    narrow = [key for key, value in method.state_dict().items() if value.dtype == torch.bfloat16]
    require(not narrow, f"keeps {narrow} in bfloat16")
    _require_form(prediction.fused, "the fused logits under bfloat16 autocast", (16, 3))
    _require_finite(method, prediction, batch, "when arithmetic is in bfloat16")
    exact = predict(method, batch).fused
    require(torch.allclose(prediction.fused, exact, rtol=0.1, atol=0.1), "predicts something else in bfloat16")


# -- description ---------------------------------------------------------------------------------


@partial(Check, why="listings, plans and tables show this")
def describes_itself(subject: Subject) -> None:
    """Title, docstring sections, link to the paper and described options."""
    kind, about = subject.kind, subject.about
    require(kind.title, "has no title")
    require(not kind.paper or kind.paper.startswith("https://"), f"links its paper by {kind.paper!r}, not by https")
    require(kind.version >= 1, f"has version {kind.version}, not 1 or more")
    require(about.summary.endswith("."), "has no docstring that begins with a sentence in one line")
    for section in ("Unimodal logits:", "Absent modality:"):
        require(section in (kind.__doc__ or ""), f"has no {section!r} in its docstring")
    for limit in kind.limits:
        require(limit in get_args(Limit), f"has an unknown limit {limit!r}")
    for claim in kind.claims:
        require(claim in get_args(Claim), f"has an unknown claim {claim!r}")
    for name, field in kind.Config.model_fields.items():
        require(field.description, f"has an option {name!r} without a description")


# -- all of them ---------------------------------------------------------------------------------

#: Every check, in an order in which the first failures explain later ones.
CHECKS: tuple[Check, ...] = tuple(value for value in [*globals().values()] if isinstance(value, Check))


def check_method(which: Which, **options: Any) -> dict[str, str]:
    """Runs all checks on a method.

    Args:
        which: The method: its class, its registered name, or the path of the file that defines it.
        options: Hyper-parameters that differ from the defaults, for instance to make networks small.

    Returns:
        Why a check was left out, by its name: the method says that it cannot do what would be checked.

    Raises:
        ContractError: If it fails any; one line for each.
        UserError: If there is no such method.
    """
    skipped, failures = {}, []
    for check in CHECKS:
        try:
            check(which, **options)
        except SkipTest as reason:
            skipped[check.__name__] = str(reason)
        except ContractError as error:
            failures.append(str(error))
    if failures:
        raise ContractError("\n".join(failures))
    return skipped


# -- comparing -----------------------------------------------------------------------------------


def _right(method: Method, batch: Batch) -> Tensor:
    """Which samples the fused prediction classifies. bool ``[B]``"""
    return predict(method, batch).fused.argmax(dim=1) == batch.label


@torch.inference_mode()
def _encoded(method: Method, complete: Batch, modality: str) -> Tensor:
    method.eval()
    return Method.encode_present(method, complete, modality)[0]


def _readable(prediction: Prediction, present: Tensor, rows: Tensor | slice = slice(None)) -> dict[str, Tensor]:
    """All that may be read of a prediction, by name; rows of absent modalities may hold anything."""
    values = {"fused logits": prediction.fused[rows]}
    for column, modality in enumerate(prediction.unimodal):
        here = present[:, column]
        values[f"unimodal logits of {modality}"] = prediction.unimodal[modality][rows][here]
        values[f"embeddings of {modality}"] = prediction.embedding[modality][rows][here]
    if prediction.weight is not None:
        values["weights"] = prediction.weight[rows][present]
    return values


def _require_same(
    actual: Mapping[str, Tensor], expected: Mapping[str, Tensor], when: str, rtol: float = 0.0, atol: float = 0.0
) -> None:
    """Two results of :func:`_readable` are equal, bit by bit if no tolerance is given."""
    for what in {**expected, **actual}:
        same = what in actual and what in expected and actual[what].shape == expected[what].shape
        close = same and torch.allclose(actual[what], expected[what], rtol=rtol, atol=atol)
        require(close, f"predicts other {what} {when}")


def _changed(method: Method, before: dict[str, Tensor]) -> list[str]:
    return [key for key, value in method.state_dict().items() if not torch.equal(value, before[key])]


def _require_form(values: Tensor, what: str, shape: tuple[int, ...]) -> None:
    require(tuple(values.shape) == shape, f"gives {what} the shape {tuple(values.shape)}, not {shape}")
    require(values.dtype == torch.float32, f"gives {what} as {values.dtype}, not float32")


def _require_finite_logs(logs: Mapping[str, Tensor | float], when: str) -> None:
    finite = all(torch.as_tensor(value).isfinite().all() for value in logs.values())
    require(finite, f"logs numbers that are not finite {when}")


def _require_finite(method: Method, prediction: Prediction, batch: Batch, when: str) -> None:
    """Weights and all that may be read of a prediction."""
    bad = [key for key, value in method.state_dict().items() if not value.isfinite().all()]
    require(not bad, f"has {bad} that are not finite {when}")
    for what, values in _readable(prediction, batch.present).items():
        require("logits" not in what or values.isfinite().all(), f"has {what} that are not finite {when}")
