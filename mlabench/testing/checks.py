"""The checks that every method passes, whoever wrote it.

Each is a few lines on tiny networks and random numbers; none knows what the method computes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, get_args
from unittest import SkipTest

import safetensors.torch
import torch
from torch import Tensor

from mlabench.method import Batch, Claim, Limit, Method, Prediction
from mlabench.testing.check import Check, ContractError, require, skip_unless
from mlabench.testing.fitting import adam, fit, parameters, predict
from mlabench.testing.subject import Subject, Which
from mlabench.testing.toys import fill_absent, make_batch, make_task, only, take

_checks: list[Check] = []


def _check(why: str) -> Callable[[Callable[[Subject], None]], Callable[[Subject], None]]:
    def register(run: Callable[[Subject], None]) -> Callable[[Subject], None]:
        _checks.append(Check(run, why))
        return run

    return register


# -- training ------------------------------------------------------------------------------------


@_check("otherwise the learning curves and the check for divergence have nothing to go by")
def takes_steps_and_logs_them(subject: Subject) -> None:
    """A training step moves parameters and returns finite, detached scalars."""
    method = subject.build()
    batch = subject.training_batch(12, missing=0.4)
    before = parameters(method)
    stage = method.stages(4)[0]
    method.on_stage_start(stage)
    method.train()
    logs = method.training_step(batch, adam(method))
    require("loss" in logs, "does not return the loss from training_step")
    for name, value in logs.items():
        scalar = isinstance(value, Tensor) and value.numel() == 1
        require(scalar and not value.requires_grad, f"returns {name!r} from training_step, not as a detached scalar")
        require(value.isfinite().all(), f"logs {float(value)} as {name!r}")
    require(_changed(method, before), "moves no parameter in a training step")


@_check("a method that cannot overfit a dozen samples does not follow its loss")
def learns_a_small_batch(subject: Subject) -> None:
    """Training on 16 complete samples ends with all of them classified, whatever the number of modalities."""
    for count in subject.counts:
        method = subject.build(make_task(count))
        batch = make_batch(method.task, 16)
        require(not _right(method, batch).all(), f"classifies samples of {count} modalities before it is trained")
        fit(method, [batch], 200)
        right = int(_right(method, batch).sum())
        require(right == 16, f"gets {right} of 16 samples of {count} modalities right after 200 steps on them")


@_check("a method that is thrown off by incomplete samples cannot be compared where modalities are missing")
def learns_from_incomplete_samples(subject: Subject) -> None:
    """With modalities missing from a small batch, the complete samples are learned, and most of all."""
    skip_unless(subject, "missing in training")
    method = subject.build()
    batch = subject.training_batch(16, missing=0.4)
    fit(method, [batch], 200)
    seen = batch if subject.able("missing at test") else make_batch(method.task, 16)
    right, complete = _right(method, seen), batch.present.all(dim=1)
    require(right[complete].all(), "does not learn the complete samples of a batch whose others are incomplete")
    require(right.sum() > 8, f"gets {int(right.sum())} of 16 samples right, some of them incomplete, after 200 steps")


@_check("what is absent is unknown, so whatever depends on it means nothing")
def ignores_absent_inputs(subject: Subject) -> None:
    """Losses, weights and predictions are the same, bit by bit, with zeros and with NaN in absent inputs."""
    skip_unless(subject, "missing in training", "missing at test")
    results = []
    for value in (0.0, torch.nan):
        method = subject.build(normalise=True)
        logs = fit(method, [fill_absent(subject.training_batch(30, missing=0.4), value)], 4)
        batch = subject.test_batch(30, missing=0.4)
        results.append((logs, parameters(method), predict(method, fill_absent(batch, value))))
    (logs, state, prediction), (poisoned_logs, poisoned_state, poisoned_prediction) = results
    require(logs == poisoned_logs, "logs other losses when NaN stands in the inputs of absent modalities")
    for key, expected in state.items():
        require(torch.equal(poisoned_state[key], expected), f"learns other {key!r} from NaN in absent modalities")
    for what in _differences(poisoned_prediction, prediction, batch.present, rtol=0.0, atol=0.0):
        require(False, f"predicts other {what} when NaN stands in the inputs of absent modalities")
    require(prediction.fused.isfinite().all(), "predicts numbers that are not finite")


@_check("at high missing rates some batches lack a modality altogether")
def bears_one_modality(subject: Subject) -> None:
    """A batch in which nobody has the others trains and predicts, and leaves the encoders of the others alone."""
    skip_unless(subject, "missing in training", "missing at test")
    learned = False
    for column, modality in enumerate(subject.task.modalities):
        method = subject.build(normalise=True)
        batch = fill_absent(only(subject.training_batch(8, missing=0.0), column), torch.nan)
        fit(method, [subject.training_batch(8, missing=0.0)], 4)
        before = parameters(method)
        if subject.able("missing in training"):
            steps = adam(method)
            method.train()
            for _ in range(3):
                logs = method.training_step(batch, steps)
                finite = all(value.isfinite().all() for value in logs.values())
                require(finite, f"logs numbers that are not finite when all samples have {modality} only")
            moved = _changed(method, before)
            for other in subject.task.modalities:
                if other != modality:
                    touched = [key for key in moved if key.startswith(f"encoders.{other}.")]
                    require(not touched, f"moves the encoder of {other} with a batch that has {modality} only")
            learned = learned or any(key.startswith(f"encoders.{modality}.") for key in moved)
        if subject.able("missing at test"):
            _require_finite(method, predict(method, batch), batch, f"all samples have {modality} only")
    require(learned or not subject.able("missing in training"), "moves no encoder with batches of one modality")


@_check("the last batch of an epoch may be that small")
def bears_one_sample(subject: Subject) -> None:
    """A batch of one sample trains and predicts."""
    method = subject.build()
    batch = take(subject.training_batch(8, missing=0.4), [3])
    logs = fit(method, [batch], 4)
    finite = all(torch.tensor(value).isfinite() for row in logs for value in row.values())
    require(finite, "logs numbers that are not finite in a batch of one sample")
    alone = take(subject.test_batch(8, missing=0.4), [3])
    _require_finite(method, predict(method, alone), alone, "a batch has one sample")


@_check("results could not be reproduced, nor runs resumed")
def repeats_itself(subject: Subject) -> None:
    """The same seed gives the same weights, and the same batch the same prediction."""
    states = []
    for _ in range(2):
        method = subject.build()
        fit(method, [subject.training_batch(8, missing=0.3, seed=seed) for seed in range(3)], 3)
        states.append(parameters(method))
    for key, value in states[0].items():
        require(torch.equal(value, states[1][key]), f"learns other {key!r} from the same seed")
    batch = subject.test_batch(8, missing=0.3)
    first, second = predict(method, batch), predict(method, batch)
    for what in _differences(second, first, batch.present, rtol=0.0, atol=0.0):
        require(False, f"predicts other {what} the second time")


# -- prediction ----------------------------------------------------------------------------------


@_check("the evaluation reads these tensors without looking")
def predicts_in_the_right_form(subject: Subject) -> None:
    """Shapes, types and order are those of :class:`mlabench.method.Prediction`; weights are shares."""
    for count in subject.counts:
        task = make_task(count)
        method = subject.build(task)
        fit(method, [subject.training_batch(10, missing=0.5, task=task)], 2)
        batch = subject.test_batch(10, missing=0.5, task=task)
        prediction = predict(method, batch)
        _require_form(prediction.fused, "the fused logits", (10, 3))
        require(tuple(prediction.unimodal) == task.modalities, f"has unimodal logits of {[*prediction.unimodal]}")
        require(tuple(prediction.embedding) == task.modalities, f"has embeddings of {[*prediction.embedding]}")
        for modality in task.modalities:
            _require_form(prediction.unimodal[modality], f"the unimodal logits of {modality}", (10, 3))
            shape = tuple(prediction.embedding[modality].shape)
            require(shape == (10, 6), f"gives the embedding of {modality} the shape {shape}, not that of the encoder")
        if prediction.weight is not None:
            weight = prediction.weight
            require(weight.shape == (10, count), f"gives the weights the shape {tuple(weight.shape)}, not [B, M]")
            sums = weight.sum(dim=1)
            require(torch.allclose(sums, torch.ones(10), atol=1e-4), "has weights of a sample that do not add up to 1")
            require((weight >= 0).all(), "has negative weights")
            require((weight[~batch.present] == 0).all(), "gives an absent modality a weight")


@_check("scores would depend on the batch size and the order of the evaluation")
def predicts_sample_by_sample(subject: Subject) -> None:
    """A sample's prediction does not depend on what shares its batch, nor on its place in it."""
    if not subject.kind.predicts_per_sample:
        raise SkipTest(f"{subject.name} says that its prediction of a sample depends on the batch")
    method = subject.build(normalise=True)
    fit(method, [subject.training_batch(30, missing=0.4)], 4)
    batch = subject.test_batch(30, missing=0.4)
    whole = predict(method, batch)
    shuffled = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    for rows in (shuffled, *torch.split(torch.arange(12), 1), torch.arange(5)):
        part = take(batch, rows)
        for what in _differences(predict(method, part), _rows(whole, rows), part.present, rtol=1e-4, atol=1e-5):
            require(False, f"predicts other {what} of a sample in a batch of {len(rows)} than in one of 30")


@_check("whoever sees the answer is not predicting")
def predicts_without_labels(subject: Subject) -> None:
    """The prediction is the same, bit by bit, when labels and positions in the split are hidden."""
    method = subject.build()
    fit(method, [subject.training_batch(12, missing=0.4)], 4)
    batch = subject.test_batch(12, missing=0.4)
    hidden = dataclasses.replace(batch, label=torch.full_like(batch.label, -1), index=batch.index + 10**6)
    for what in _differences(predict(method, hidden), predict(method, batch), batch.present, rtol=0.0, atol=0.0):
        require(False, f"predicts other {what} when labels and positions in the split are hidden")


@_check("test samples must leave no trace, and one test pattern must not change the next")
def predicts_without_side_effects(subject: Subject) -> None:
    """Predicting changes no weight and no statistic."""
    method = subject.build(normalise=True)
    fit(method, [subject.training_batch(30, missing=0.4)], 4)
    before = parameters(method)
    predict(method, subject.test_batch(12, missing=0.4, seed=1))
    for key in _changed(method, before):
        require(False, f"changes {key!r} while predicting")


@_check("unimodal accuracy is said to be that of one modality alone")
def keeps_modalities_apart(subject: Subject) -> None:
    """Unimodal logits do not change with other modalities' inputs; fused logits depend on the inputs."""
    method = subject.build()
    batch = subject.test_batch(12, missing=0.0)
    fit(method, [batch], 4)
    expected = predict(method, batch)
    other = subject.test_batch(12, missing=0.0, seed=1)
    for modality in method.task.modalities:
        inputs = {**other.inputs, modality: batch.inputs[modality]}
        mixed = predict(method, dataclasses.replace(batch, inputs=inputs))
        same = torch.allclose(mixed.unimodal[modality], expected.unimodal[modality], rtol=1.3e-6, atol=1e-5)
        require(same, f"has unimodal logits of {modality} that change with the inputs of other modalities")
    swapped = predict(method, dataclasses.replace(batch, inputs=other.inputs))
    require(not torch.allclose(swapped.fused, expected.fused), "has fused logits that do not depend on the inputs")


# -- weights and arithmetic ----------------------------------------------------------------------


@_check("kept weights are evaluated later, under new test patterns, in another process")
def reloads_its_weights(subject: Subject) -> None:
    """In each stage, a new object with the saved state predicts the same, bit by bit."""
    method = subject.build()
    training, batch = subject.training_batch(12, missing=0.4), subject.test_batch(12, missing=0.4)
    for stage in method.stages(4):
        method.on_stage_start(stage)
        steps = adam(method)
        method.train()
        for _ in range(3):
            method.training_step(training, steps)
        saved = safetensors.torch.save({key: value.contiguous() for key, value in method.state_dict().items()})
        reloaded = subject.build(seed=1)
        reloaded.load_state_dict(safetensors.torch.load(saved))
        for what in _differences(predict(reloaded, batch), predict(method, batch), batch.present, rtol=0.0, atol=0.0):
            require(False, f"predicts other {what} from saved weights, as not all that it needs is in its state_dict")


@_check("suites may ask for bf16-mixed precision")
def computes_in_bfloat16(subject: Subject) -> None:
    """Under autocast it trains, keeps its weights in float32, and predicts about the same as in float32."""
    method = subject.build()
    with torch.autocast("cpu", torch.bfloat16):
        logs = fit(method, [fill_absent(subject.training_batch(16, missing=0.4), torch.nan)], 8)
        batch = fill_absent(subject.test_batch(16, missing=0.4), torch.nan)
        prediction = predict(method, batch)
    finite = all(torch.tensor(value).isfinite() for row in logs for value in row.values())
    require(finite, "logs numbers that are not finite in bfloat16")
    narrow = [key for key, value in method.state_dict().items() if value.dtype == torch.bfloat16]
    require(not narrow, f"keeps {narrow} in bfloat16")
    _require_form(prediction.fused, "the fused logits under bfloat16 autocast", (16, 3))
    _require_finite(method, prediction, batch, "arithmetic is in bfloat16")
    exact = predict(method, batch).fused
    require(torch.allclose(prediction.fused, exact, rtol=0.1, atol=0.1), "predicts something else in bfloat16")


# -- description ---------------------------------------------------------------------------------


@_check("listings, plans and tables read this from the source file, without importing it")
def describes_itself(subject: Subject) -> None:
    """Title, docstring sections, link to the paper and described options, all readable without an import."""
    kind, entry = subject.kind, subject.entry
    if entry is None:
        require(False, "is defined in no file")
        return
    require(kind.title, "has no title")
    literals = ("title", "paper", "version", "limits", "claims", "predicts_per_sample")
    for attribute in literals:
        value = getattr(kind, attribute)
        read = entry.literal(attribute, getattr(Method, attribute))
        require(read == value, f"has {attribute} {value!r}, where its source says {read!r} in the class itself")
    require(not kind.paper or kind.paper.startswith("https://"), f"has a paper that is no https link, {kind.paper!r}")
    require(kind.version >= 1, f"has version {kind.version}, not 1 or more")
    require(entry.summary.endswith("."), "has no docstring that begins with a sentence in one line")
    for section in ("Unimodal logits:", "Absent modality:"):
        require(section in entry.doc, f"has no {section!r} in its docstring")
    for limit in kind.limits:
        require(limit in get_args(Limit), f"has an unknown limit {limit!r}")
    for claim in kind.claims:
        require(claim in get_args(Claim), f"has an unknown claim {claim!r}")
    same = entry.config.model_json_schema() == kind.Config.model_json_schema()
    require(same, "has a Config that reads otherwise from the source than from the class")
    for name, field in kind.Config.model_fields.items():
        require(field.description, f"has an option {name!r} without a description")


# -- all of them ---------------------------------------------------------------------------------

#: Every check, in an order in which the first failures explain later ones.
CHECKS: tuple[Check, ...] = tuple(_checks)


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


def _rows(prediction: Prediction, rows: Tensor) -> Prediction:
    return Prediction(
        prediction.fused[rows],
        {modality: values[rows] for modality, values in prediction.unimodal.items()},
        {modality: values[rows] for modality, values in prediction.embedding.items()},
        None if prediction.weight is None else prediction.weight[rows],
    )


def _differences(
    actual: Prediction, expected: Prediction, present: Tensor, *, rtol: float, atol: float
) -> Iterable[str]:
    """What differs among all that may be read: rows of absent modalities may hold anything."""

    def differ(one: Tensor, other: Tensor) -> bool:
        return one.shape != other.shape or not torch.allclose(one, other, rtol=rtol, atol=atol)

    if differ(actual.fused, expected.fused):
        yield "fused logits"
    for column, modality in enumerate(expected.unimodal):
        rows = present[:, column]
        if differ(actual.unimodal[modality][rows], expected.unimodal[modality][rows]):
            yield f"unimodal logits of {modality}"
        if differ(actual.embedding[modality][rows], expected.embedding[modality][rows]):
            yield f"embeddings of {modality}"
    if (actual.weight is None) != (expected.weight is None):
        yield "weights"
    elif actual.weight is not None and expected.weight is not None:
        shares, others = actual.weight[present], expected.weight[present]
        yield from ["weights"] if differ(shares, others) else []


def _changed(method: Method, before: dict[str, Tensor]) -> list[str]:
    return [key for key, value in method.state_dict().items() if not torch.equal(value, before[key])]


def _require_form(values: Tensor, what: str, shape: tuple[int, ...]) -> None:
    require(tuple(values.shape) == shape, f"gives {what} the shape {tuple(values.shape)}, not {shape}")
    require(values.dtype == torch.float32, f"gives {what} as {values.dtype}, not float32")


def _require_finite(method: Method, prediction: Prediction, batch: Batch, when: str) -> None:
    """Weights and all that may be read of a prediction."""
    bad = [key for key, value in method.state_dict().items() if not value.isfinite().all()]
    require(not bad, f"has {bad} that are not finite when {when}")
    require(prediction.fused.isfinite().all(), f"has fused logits that are not finite when {when}")
    for column, modality in enumerate(method.task.modalities):
        values = prediction.unimodal[modality][batch.present[:, column]]
        require(values.isfinite().all(), f"has unimodal logits of {modality} that are not finite when {when}")
