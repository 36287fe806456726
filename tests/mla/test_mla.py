"""MLA's training step and prediction against independent computations in NumPy."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mlabench.errors import UserError
from mlabench.method import SGD, AdamW, Batch, Optimization, Progress
from mlabench.mla.gradient_modification import Projector
from mlabench.mla.method import MLA
from mlabench.mla.released import MLAReleased
from mlabench.suite import load_suite
from mlabench.testing import Updater, adam, build_method, fit, make_batch, make_task, only, parameters, sgd, take
from mlabench.training.loop import make_optimizer
from mlabench.trial import Training

Array = NDArray[np.float64]
RATE = 0.1


def build(modalities: int = 2, **options: Any) -> MLA:
    method = build_method("mla", make_task(modalities), **options)
    assert isinstance(method, MLA)
    return method


def features_of(method: MLA, batch: Batch, modality: str) -> tuple[Array, NDArray[np.int64]]:
    """Features and labels of the samples that have the modality."""
    rows = batch.present[:, method.task.modalities.index(modality)]
    with torch.no_grad():
        features = method.encoders[modality](batch.inputs[modality][rows])
    return features.double().numpy(), batch.label[rows].numpy()


def cross_entropy(weight: Array, bias: Array, features: Array, labels: NDArray[np.int64]) -> tuple[float, Array, Array]:
    """Mean cross-entropy of a linear head, and its gradients."""
    logits = features @ weight.T + bias
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    loss = -np.log(probabilities[np.arange(len(labels)), labels]).mean()
    delta = (probabilities - np.eye(len(bias))[labels]) / len(labels)
    return float(loss), delta.T @ features, delta.sum(axis=0)


class Head:
    """A linear head in NumPy."""

    def __init__(self, method: MLA, modality: str) -> None:
        head = method.head(modality)
        self.weight, self.bias = (value.detach().double().numpy().copy() for value in (head.weight, head.bias))

    def check(self, method: MLA, modality: str) -> None:
        np.testing.assert_allclose(method.head(modality).weight.detach(), self.weight, rtol=0, atol=1e-6)
        np.testing.assert_allclose(method.head(modality).bias.detach(), self.bias, rtol=0, atol=1e-6)


def heads_of(method: MLA) -> dict[str, Head]:
    """One for each modality, or the same for all."""
    found = {id(method.head(modality)): Head(method, modality) for modality in method.task.modalities}
    return {modality: found[id(method.head(modality))] for modality in method.task.modalities}


def by_hand(
    method: MLA, batch: Batch, heads: Mapping[str, Head], p: Array, alpha: float, *, projector: str | None
) -> tuple[dict[str, float], Array]:
    """One mini-batch of plain SGD on the heads; returns the losses and the new P."""
    losses = {}
    for modality in method.task.modalities:
        features, labels = features_of(method, batch, modality)
        head = heads[modality]
        losses[modality], weight_gradient, bias_gradient = cross_entropy(head.weight, head.bias, features, labels)
        h = features.mean(axis=0)
        new_p = p - np.outer(p @ h, p @ h) / (alpha + h @ p @ h)
        if projector is not None:
            weight_gradient = weight_gradient @ (new_p if projector == "current" else p)
        p = new_p
        head.weight -= RATE * weight_gradient
        head.bias -= RATE * bias_gradient
    return losses, p


@pytest.mark.parametrize("missing", [0.0, 0.4])
@pytest.mark.parametrize("projector", ["current", "previous", None])
@pytest.mark.parametrize("head", ["shared", "own"])
def test_two_steps_of_the_head_by_hand(head: str, projector: str | None, missing: float) -> None:
    options = {"gradient_modification": "none"} if projector is None else {"projector": projector}
    method = build(3, alpha=0.3, head=head, **options)
    heads, p = heads_of(method), np.eye(6)
    assert len(set(map(id, heads.values()))) == (1 if head == "shared" else 3)
    steps = sgd(method, RATE)
    for seed in range(2):
        batch = make_batch(method.task, 12, missing=missing, seed=seed)
        losses, p = by_hand(method, batch, heads, p, 0.3, projector=projector)
        logs = method.training_step(batch, steps)
        for modality, loss in losses.items():
            assert float(logs[f"loss/{modality}"]) == pytest.approx(loss, rel=1e-5)
            heads[modality].check(method, modality)
        assert float(logs["loss"]) == pytest.approx(np.mean(list(losses.values())), rel=1e-5)
        if isinstance(method.gradient_modification, Projector):
            np.testing.assert_allclose(method.gradient_modification.projector, p, rtol=0, atol=1e-6)
        assert logs["loss"].requires_grad is False


@pytest.mark.parametrize("kind", ["owm", "owm_frobenius", "released", "added", "ogd", "none"])
def test_each_modification_of_the_gradient_is_the_one_that_it_is_called(kind: str) -> None:
    """The change of the head's weight in one step on the second modality."""
    method = build(3, gradient_modification=kind, alpha=0.3)
    batch = make_batch(method.task, 12)
    means = [features_of(method, batch, modality)[0].mean(axis=0) for modality in ("audio", "image")]
    method.training_step(only(batch, 0), sgd(method, RATE))
    head = Head(method, "image")
    features, labels = features_of(method, batch, "image")
    _, gradient, _ = cross_entropy(head.weight, head.bias, features, labels)
    p = np.eye(6)
    for h in means:
        k = p @ h
        matrix = np.outer(k, k)
        p = p - matrix / (0.3 + (np.outer(k, h) if kind in ("released", "added") else h @ k))
        if kind != "owm":
            p /= np.linalg.norm(p)
    audio = means[0]
    expected = {
        "owm": gradient @ p,
        "owm_frobenius": gradient @ p,
        "released": gradient @ p.T,
        "added": gradient + gradient @ p.T,
        "ogd": gradient - np.outer(gradient @ audio, audio) / (audio @ audio),
        "none": gradient,
    }[kind]
    method.training_step(only(batch, 1), sgd(method, RATE))
    head.weight -= RATE * expected
    np.testing.assert_allclose(method.head("image").weight.detach(), head.weight, rtol=0, atol=1e-6)


def test_one_update_per_modality_in_turn_each_on_its_own_encoder() -> None:
    method = build(3)
    batch = make_batch(method.task)
    seen = []

    class Spy(Updater):
        def update(self, loss: torch.Tensor, before_step: Any = None) -> None:
            before = parameters(method)
            super().update(loss, before_step)
            moved = {key for key, value in parameters(method).items() if not torch.equal(value, before[key])}
            seen.append(sorted({key.split(".")[1] for key in moved if key.startswith("encoders.")}))
            assert {"heads.shared.weight", "heads.shared.bias"} <= moved

    method.training_step(batch, Spy(adam(method).optimizer))
    method.training_step(batch, Spy(adam(method).optimizer))
    assert seen == [["audio"], ["image"], ["text"]] * 2


def test_encoder_gradients_are_not_modified() -> None:
    """The encoder descends on the gradient through the unmodified head."""
    results = []
    for kind in ("owm", "none"):
        method = build(gradient_modification=kind)
        batch = only(make_batch(method.task), 0)
        method.training_step(batch, sgd(method))
        results.append(parameters(method))
    for key in (key for key in results[0] if key.startswith(("encoders", "heads.shared.bias"))):
        torch.testing.assert_close(results[0][key], results[1][key])
    assert not torch.allclose(results[0]["heads.shared.weight"], results[1]["heads.shared.weight"])


def test_alpha_within_an_epoch() -> None:
    method = build(alpha=0.1, alpha_schedule="within_epoch")
    batch = make_batch(method.task)
    heads, p = heads_of(method), np.eye(6)
    for step, alpha in enumerate([0.1, 0.1**1.25, 0.1**1.5, 0.1**1.75]):
        _, p = by_hand(method, batch, heads, p, alpha, projector="current")
        steps = sgd(method, RATE)
        steps.progress = Progress(2, 5, step, 4)
        method.training_step(batch, steps)
        heads["audio"].check(method, "audio")


@pytest.mark.parametrize("missing", [False, True])
def test_idle_steps_move_encoders_that_had_their_turn(missing: bool) -> None:
    """With momentum ``m``, decay ``w`` and no gradient: ``v <- m v + w x``, ``x <- x - lr v``, once per later turn."""
    lr, momentum, decay = 0.1, 0.9, 0.05
    states = {}
    for idle in (False, True):
        method = build(3, idle_steps=idle, gradient_modification="none")
        steps = Updater(torch.optim.SGD(method.parameters(), lr, momentum=momentum, weight_decay=decay))
        batch = make_batch(method.task)
        states[idle, 0] = parameters(method)
        method.training_step(only(batch, 0, 2) if missing else batch, steps)
        states[idle, 1] = parameters(method)
    later = {"audio": 1, "image": 0, "text": 0} if missing else {"audio": 2, "image": 1, "text": 0}
    for key in (key for key in states[False, 0] if key.startswith("encoders.")):
        start, x = states[False, 0][key].double(), states[False, 1][key].double()
        v = (start - x) / lr
        for _ in range(later[key.split(".")[1]]):
            v = momentum * v + decay * x
            x = x - lr * v
        torch.testing.assert_close(states[True, 1][key].double(), x, rtol=0, atol=1e-6)


def test_idle_steps_leave_frozen_parameters_alone() -> None:
    method = build(2, idle_steps=True)
    for parameter in method.encoders["audio"].parameters():
        parameter.requires_grad_(False)
    before = parameters(method)
    method.training_step(make_batch(method.task), Updater(torch.optim.SGD(method.parameters(), 0.1, weight_decay=0.1)))
    after = parameters(method)
    assert all(torch.equal(after[key], before[key]) for key in before if key.startswith("encoders.audio."))


def test_modality_that_no_sample_has_is_skipped() -> None:
    method = build(3)
    steps = Updater(torch.optim.SGD(method.parameters(), 0.1, momentum=0.9, weight_decay=0.1))
    full = make_batch(method.task)
    method.training_step(full, steps)
    before = parameters(method)
    logs = method.training_step(only(full, 0, 2), steps)
    assert set(logs) == {"loss", "loss/audio", "loss/text", "hgm/norm_ratio"}
    assert float(logs["loss"]) == pytest.approx(float(logs["loss/audio"] + logs["loss/text"]) / 2)
    # Neither momentum nor weight decay moves the encoder that had no turn.
    after = parameters(method)
    for key, value in before.items():
        assert torch.equal(after[key], value) == key.startswith(("encoders.image.", "places")), key


def test_modified_gradient_is_nearly_orthogonal_to_the_mean_features() -> None:
    method = build(alpha=1e-6)
    batch = only(make_batch(method.task), 0)
    features, _ = features_of(method, batch, "audio")
    before = method.head("audio").weight.detach().clone()
    method.training_step(batch, sgd(method))
    step = (method.head("audio").weight.detach() - before).double().numpy()
    assert np.abs(step @ features.mean(axis=0)).max() < 1e-5
    assert np.abs(step @ features.T).max() > 1e-3


@dataclasses.dataclass
class Order:
    """Notes the order in which modalities are encoded."""

    seen: list[str]

    def watch(self, method: MLA) -> None:
        for modality in method.task.modalities:
            method.encoders[modality].register_forward_hook(lambda *_, name=modality: self.seen.append(name))


def order_of_next_step(method: MLA, optimization: Optimization) -> list[str]:
    order = Order([])
    order.watch(method)
    method.training_step(make_batch(method.task), optimization)
    return order.seen


def test_order_given_by_name() -> None:
    method = build(3, order=("text", "audio", "image"))
    assert order_of_next_step(method, sgd(method)) == ["text", "audio", "image"]
    method.on_epoch_end({"loss": 1.0, "loss/audio": 5.0, "loss/image": 1.0, "loss/text": 2.0})
    assert order_of_next_step(method, sgd(method))[:3] == ["text", "audio", "image"]


@pytest.mark.parametrize(
    ("logs", "expected"),
    [
        ({"loss/audio": 0.3, "loss/image": 0.9, "loss/text": 0.5}, ["image", "text", "audio"]),
        ({"loss/audio": 0.3, "loss/text": 0.5}, ["text", "audio", "image"]),  # nobody had an image
    ],
)
def test_weak_to_strong_puts_the_largest_loss_first(logs: Mapping[str, float], expected: list[str]) -> None:
    method = build(3, order="weak_to_strong")
    assert list(method.order) == ["audio", "image", "text"]
    method.on_epoch_end({"loss": 0.5, **logs})
    assert order_of_next_step(method, sgd(method)) == expected


def test_given_order_does_not_change() -> None:
    method = build(3)
    method.on_epoch_end({"loss": 0.5, "loss/audio": 0.3, "loss/image": 0.9, "loss/text": 0.5})
    assert order_of_next_step(method, sgd(method)) == ["audio", "image", "text"]


@pytest.mark.parametrize(
    "order", [("audio",), ("audio", "image", "audio"), ("audio", "image", "text"), ("audio", "smell")]
)
def test_order_must_name_each_modality_once(order: tuple[str, ...]) -> None:
    """Said when a plan is made, and by the method itself."""
    with pytest.raises(ValueError, match="order must name each of"):
        MLA.Config(order=order).check_modalities(("audio", "image"))
    with pytest.raises(ValueError, match="order must name each of"):
        build(order=order)


def test_a_wrong_order_is_a_mistake_in_the_suite(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("dataset: clipart\nmethods: [mla, {name: mla, order: [audio, image]}]\n")
    with pytest.raises(UserError, match="order must name each of the modalities image, text once") as caught:
        load_suite(path)
    assert caught.value.field == "methods.1"


def test_unequal_widths_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"equal width.*'audio': 6.*'image': 8"):
        build(widths=[6, 8])


def trained(batch: Batch, **options: Any) -> MLA:
    method = build(3, **options)
    fit(method, [batch], 5)
    method.eval()
    return method


@pytest.mark.parametrize("fusion", ["sample", "average"])
@pytest.mark.parametrize("absent_votes", [False, True])
@pytest.mark.parametrize("head", ["shared", "own"])
def test_prediction_by_hand(head: str, absent_votes: bool, fusion: str) -> None:
    batch = make_batch(make_task(3), 10, missing=0.4)
    method = trained(batch, dynamic_fusion=fusion, absent_votes=absent_votes, head=head)
    with torch.no_grad():
        prediction = method.predict(batch)
    for sample in range(len(batch)):
        logits, scores = [], []
        for column, modality in enumerate(method.task.modalities):
            own = Head(method, modality)
            z = own.bias
            if here := bool(batch.present[sample, column]):
                features, _ = features_of(method, take(batch, [sample]), modality)
                z = (features @ own.weight.T + own.bias)[0]
                np.testing.assert_allclose(prediction.unimodal[modality][sample], z, rtol=1e-4, atol=1e-6)
                np.testing.assert_allclose(prediction.embedding[modality][sample], features[0], rtol=1e-4, atol=1e-6)
            if here or absent_votes:
                p = np.exp(z) / np.exp(z).sum()
                logits.append(z)
                scores.append(np.exp((p * np.log(p)).sum()) if fusion == "sample" else 1.0)
        share = np.array(scores) / np.sum(scores)
        np.testing.assert_allclose(prediction.fused[sample], share @ np.array(logits), rtol=1e-4, atol=1e-6)
        present = batch.present[sample].numpy()
        among_present = share[present] / share[present].sum() if absent_votes else share
        assert prediction.weight is not None
        np.testing.assert_allclose(prediction.weight[sample, batch.present[sample]], among_present, rtol=1e-4)
        assert (prediction.weight[sample, ~batch.present[sample]] == 0).all()


def test_prediction_with_weights_of_the_batch() -> None:
    batch = make_batch(make_task(3), 10)
    method = trained(batch, dynamic_fusion="batch", fusion_batch=4)
    with torch.no_grad():
        whole = method.predict(batch)
        parts = [method.predict(take(batch, list(rows))) for rows in (range(4), range(4, 8), range(8, 10))]
    torch.testing.assert_close(whole.fused, torch.cat([part.fused for part in parts]))
    assert whole.weight is not None
    assert len(whole.weight.unique(dim=0)) == 3
    # One weight for all: the fused logits are the same mixture of the unimodal ones.
    share = whole.weight[0]
    mixture = sum(share[column] * whole.unimodal[m][:4] for column, m in enumerate(method.task.modalities))
    torch.testing.assert_close(whole.fused[:4], mixture)


def test_the_released_preset_is_mla_with_other_defaults() -> None:
    batches = [make_batch(make_task(3), 12, missing=0.3, seed=seed) for seed in range(3)]
    results = []
    for name, options in (
        ("mla_released", {}),
        (
            "mla",
            {
                "gradient_modification": "none",
                "alpha_schedule": "within_epoch",
                "idle_steps": True,
                "dynamic_fusion": "batch",
                "absent_votes": True,
            },
        ),
    ):
        method = build_method(name, make_task(3), **options)
        fit(method, batches, 3, sgd)
        method.eval()
        with torch.no_grad():
            results.append((parameters(method), method.predict(batches[0]).fused))
    assert isinstance(build_method("mla_released", make_task(3)), MLAReleased)
    (state, fused), (other_state, other_fused) = results
    assert all(torch.equal(other_state[key], value) for key, value in state.items())
    assert torch.equal(fused, other_fused)


def test_presets_share_their_options() -> None:
    own, released = (dict(kind.Config()) for kind in (MLA, MLAReleased))
    assert own.keys() == released.keys()
    assert {name for name in own if own[name] != released[name]} == {
        "gradient_modification",
        "alpha_schedule",
        "idle_steps",
        "dynamic_fusion",
        "absent_votes",
    }
    assert MLA.predicts_per_sample
    assert not MLAReleased.predicts_per_sample


# -- how much of the gradient HGM leaves, resets, weight decay ------------------------------------


@pytest.mark.parametrize("low", [False, True])
def test_the_norm_ratio_by_hand(low: bool) -> None:
    """From the closed form ``P = (I + H H^T / alpha)^-1``; a mean over the turns of a batch."""
    method = build(2, alpha=0.3)
    batch = make_batch(method.task, 12)
    ratios, means = [], []
    rate_of_none = Updater(torch.optim.SGD(method.parameters(), 0.0))
    for modality in method.task.modalities:
        features, labels = features_of(method, batch, modality)
        head = Head(method, modality)
        _, gradient, _ = cross_entropy(head.weight, head.bias, features, labels)
        means.append(features.mean(axis=0))
        h = np.array(means).T
        p = np.linalg.inv(np.eye(6) + h @ h.T / 0.3)
        ratios.append(np.linalg.norm(gradient @ p) / np.linalg.norm(gradient))
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        logs = method.training_step(batch, rate_of_none)
    assert float(logs["hgm/norm_ratio"]) == pytest.approx(np.mean(ratios), rel=2e-2 if low else 1e-5)
    assert np.mean(ratios) < 0.99


def test_no_norm_ratio_where_nothing_is_modified() -> None:
    method = build(2, gradient_modification="none")
    assert "hgm/norm_ratio" not in method.training_step(make_batch(method.task), sgd(method))


@pytest.mark.parametrize(("reset", "forgets"), [("never", ()), ("epoch", (0, 3)), ("round", tuple(range(6)))])
def test_when_the_projector_is_reset(reset: str, forgets: tuple[int, ...]) -> None:
    """Two epochs of three batches; what is in P are the mean features since the last reset, in closed form."""
    method = build(2, alpha=0.3, reset=reset)
    batch = make_batch(method.task, 12)
    means: list[Array] = []
    for place in range(6):
        steps = Updater(torch.optim.SGD(method.parameters(), 0.0))
        steps.progress = Progress(place // 3, 2, place % 3, 3)
        means = [] if place in forgets else means
        means += [features_of(method, batch, modality)[0].mean(axis=0) for modality in method.task.modalities]
        method.training_step(batch, steps)
        h = np.array(means).T
        assert isinstance(method.gradient_modification, Projector)
        p = np.linalg.inv(np.eye(6) + h @ h.T / 0.3)
        np.testing.assert_allclose(method.gradient_modification.projector, p, rtol=0, atol=1e-5)


@pytest.mark.parametrize("optimizer", [SGD(lr=0.1, momentum=0.0, weight_decay=0.5), AdamW(lr=0.1, weight_decay=0.5)])
@pytest.mark.parametrize("decays", [True, False])
def test_weight_decay_of_the_head_is_optional(optimizer: SGD | AdamW, decays: bool) -> None:
    """Without a gradient but zero, weights shrink by ``1 - lr wd``, or stay."""
    method = build(2, head_weight_decay=decays)
    before = parameters(method)
    for parameter in method.parameters():
        parameter.grad = torch.zeros_like(parameter)
    make_optimizer(method, Training(optimizer=optimizer)).step()
    for name, value in method.named_parameters():
        stays = name.startswith("heads.") and not decays
        torch.testing.assert_close(value.detach(), before[name] * (1.0 if stays else 0.95))


def test_mla_without_hgm_and_with_own_heads_is_late_fusion_that_reads_out_alike() -> None:
    """Bit for bit: weights and predictions, with missing modalities too."""
    task = make_task(3)
    batches = [make_batch(task, 12, missing=0.3, seed=seed) for seed in range(3)]
    results = []
    for name, options in (
        ("mla", {"gradient_modification": "none", "head": "own"}),
        ("late_fusion", {"fusion": "entropy", "readout": "logits"}),
    ):
        torch.manual_seed(0)
        method = build_method(name, task, **options)
        fit(method, batches, 3, sgd)
        method.eval()
        with torch.no_grad():
            results.append((parameters(method), method.predict(batches[0]).fused))
    (own, fused), (other, other_fused) = results
    del own["places"]  # the order of the turns
    assert own.keys() == other.keys()
    assert all(torch.equal(other[key], value) for key, value in own.items())
    assert torch.equal(fused, other_fused)
