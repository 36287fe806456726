"""The checks let a sound method pass, and each mistake is caught by the check that is for it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar
from unittest import SkipTest

import pytest
import torch

from mlabench.errors import UserError
from mlabench.method import Limit, Method
from mlabench.testing import CHECKS, Check, ContractError, build_method, check_method, fit, make_batch, make_task
from tests.testing import broken
from tests.testing.broken import Sound

#: What each mistake must be caught by, and a piece of the sentence that says so. Other checks may suffer, too.
CAUGHT: dict[type[Method], tuple[str, str]] = {
    broken.ReadsAbsentInputs: ("ignores_absent_inputs", "NaN"),
    broken.ScalesByTheBatch: ("predicts_sample_by_sample", "other fused logits of a sample in a batch of 1 than in"),
    broken.EncodesByThePattern: ("predicts_from_stored_features", "other fused logits from features that were stored"),
    broken.LooksAtTheLabel: ("predicts_without_labels", "other fused logits when labels"),
    broken.RemembersTheSplit: ("predicts_without_labels", "other fused logits when labels"),
    broken.DrawsFromElsewhere: ("repeats_itself", "from the same seed"),
    broken.DropsWhilePredicting: ("repeats_itself", "other fused logits the second time"),
    broken.CountsPredictions: ("predicts_without_side_effects", "changes 'count' while predicting"),
    broken.KeepsStateElsewhere: ("reloads_its_weights", "not all that it needs is in its state_dict"),
    broken.MissesAClass: ("predicts_in_the_right_form", "unimodal logits of audio the shape (10, 2), not (10, 3)"),
    broken.ForgetsAModality: ("predicts_in_the_right_form", "has unimodal logits of ['image']"),
    broken.HasWideLogits: ("predicts_in_the_right_form", "the fused logits as torch.float64, not float32"),
    broken.HasHalfTheWeight: ("predicts_in_the_right_form", "do not add up to 1"),
    broken.StaysInBfloat16: ("computes_in_bfloat16", "as torch.bfloat16, not float32"),
    broken.MixesModalities: ("keeps_modalities_apart", "unimodal logits of audio that change"),
    broken.SaysTheSameToAll: ("keeps_modalities_apart", "do not depend on the inputs"),
    broken.NeedsAllModalities: ("bears_one_modality", "not finite when all samples have audio only"),
    broken.DecaysTheAbsent: ("bears_one_modality", "moves the encoder of image with a batch that has audio only"),
    broken.NeedsTwoSamples: ("bears_one_sample", "not finite in a batch of one sample"),
    broken.LogsTheGraph: ("takes_steps_and_logs_them", "not as a detached scalar"),
    broken.LogsNothing: ("takes_steps_and_logs_them", "does not return the loss"),
    broken.NeverSteps: ("takes_steps_and_logs_them", "moves no parameter"),
    broken.ClimbsItsLoss: ("learns_a_small_batch", "of 16 samples right after 60 steps"),
    broken.UnlearnsTheComplete: ("learns_from_incomplete_samples", "does not learn the complete samples"),
    broken.Crashes: ("predicts_sample_by_sample", "raises RuntimeError (squeezed too much)"),
    broken.HasNoSections: ("describes_itself", "has no 'Unimodal logits:' in its docstring"),
    broken.HasNoTitle: ("describes_itself", "has no title"),
    broken.HidesAnOption: ("describes_itself", "has an option 'smoothing' without a description"),
    broken.NamesAnUnknownLimit: ("describes_itself", "has an unknown limit 'missing somewhere'"),
}
BY_NAME: dict[str, Check] = {check.__name__: check for check in CHECKS}


@pytest.mark.parametrize("check", CHECKS)
def test_a_sound_method_passes(check: Check) -> None:
    check(Sound, smoothing=0.1)


@pytest.mark.parametrize("kind", CAUGHT, ids=lambda kind: kind.__name__)
def test_each_mistake_is_caught(kind: type[Method]) -> None:
    name, sentence = CAUGHT[kind]
    with pytest.raises(ContractError) as caught:
        BY_NAME[name](kind)
    message = str(caught.value)
    assert message.startswith(f"{kind.__name__} ")
    assert sentence in message
    assert message.endswith(f": {BY_NAME[name].why}. [{name}]")
    assert "\n" not in message


def test_every_check_catches_something() -> None:
    assert {name for name, _ in CAUGHT.values()} == set(BY_NAME)


@pytest.mark.parametrize(
    ("kind", "also"),
    [
        (broken.HasHalfTheWeight, {"predicts_in_the_right_form"}),
        (broken.LooksAtTheLabel, {"predicts_without_labels"}),
        (broken.CountsPredictions, {"predicts_without_side_effects"}),
    ],
)
def test_all_failures_are_told_at_once(kind: type[Method], also: set[str]) -> None:
    with pytest.raises(ContractError) as caught:
        check_method(kind)
    failed = {line.rpartition("[")[2].rstrip("]") for line in str(caught.value).splitlines()}
    assert failed == {"describes_itself", *also}


# -- methods that cannot do everything -------------------------------------------------------------


class _TwoCompleteModalities(Sound):
    limits: ClassVar[Mapping[Limit, str]] = {
        "more than two modalities": "it compares two.",
        "missing in training": "it needs both.",
        "missing at test": "it needs both.",
    }

    def loss(self, batch):  # type: ignore[no-untyped-def]
        assert batch.present.all() and len(self.task.modalities) == 2
        return super().loss(batch)

    def predict(self, batch):  # type: ignore[no-untyped-def]
        assert batch.present.all() and len(self.task.modalities) == 2
        return super().predict(batch)


class _CompleteTraining(Sound):
    limits: ClassVar[Mapping[Limit, str]] = {"missing in training": "it needs all."}

    def loss(self, batch):  # type: ignore[no-untyped-def]
        assert batch.present.all()
        return super().loss(batch)


class _CompleteTest(Sound):
    limits: ClassVar[Mapping[Limit, str]] = {"missing at test": "it needs all."}

    def predict(self, batch):  # type: ignore[no-untyped-def]
        assert batch.present.all()
        return super().predict(batch)


class _ByBatch(broken.ScalesByTheBatch):
    predicts_per_sample = False


class _ByPattern(broken.EncodesByThePattern):
    predicts_per_sample = False
    encodes_per_sample = False


@pytest.mark.parametrize(
    ("kind", "left_out"),
    [
        (
            _TwoCompleteModalities,
            {"ignores_absent_inputs", "bears_one_modality", "learns_from_incomplete_samples"},
        ),
        (_CompleteTraining, {"learns_from_incomplete_samples"}),
        (_CompleteTest, set()),
        (_ByBatch, {"predicts_sample_by_sample"}),
        (_ByPattern, {"predicts_sample_by_sample", "predicts_from_stored_features"}),
    ],
)
def test_a_method_is_checked_on_what_it_can_do(kind: type[Method], left_out: set[str]) -> None:
    skipped = set()
    for check in CHECKS:
        if check.__name__ == "describes_itself":
            continue
        try:
            check(kind)
        except SkipTest as reason:
            skipped.add(check.__name__)
            assert kind.__name__ in str(reason)
    assert skipped == left_out


def test_what_is_left_out_is_told() -> None:
    assert check_method("mla_released").keys() == {"predicts_sample_by_sample"}


# -- which method -----------------------------------------------------------------------------------


def test_a_method_can_be_given_by_name_or_file(tmp_path: Path) -> None:
    check = BY_NAME["describes_itself"]
    check("concat")
    path = tmp_path / "sound.py"
    path.write_text("from tests.testing.broken import Sound as Base\n\n\nclass Mine(Base):\n    title = 'Mine'\n")
    with pytest.raises(ContractError, match=r"^Mine has no docstring"):
        check(path)
    path.write_text("from mlabench.method import Method\n\n\nclass One(Method): ...\n\n\nclass Two(Method): ...\n")
    with pytest.raises(UserError, match="one method was expected, found: One, Two"):
        check(path)
    with pytest.raises(UserError, match="unknown method 'concatt'"):
        check("concatt")


def test_a_class_without_a_source_file_is_told_so() -> None:
    namespace: dict[str, type[Method]] = {"Sound": Sound}  # type: ignore[dict-item]
    exec("class Typed(Sound):\n    title = 'Typed'\n    __module__ = 'nowhere'", namespace)
    with pytest.raises(ContractError, match="Typed is defined in no file"):
        BY_NAME["describes_itself"](namespace["Typed"])


@pytest.mark.parametrize("kind", [Sound, broken.Crashes])
def test_checks_use_one_thread(kind: type[Method], monkeypatch: pytest.MonkeyPatch) -> None:
    before, during = torch.get_num_threads(), set()
    encode = Method.encode_present
    monkeypatch.setattr(Method, "encode_present", lambda *args: during.add(torch.get_num_threads()) or encode(*args))
    torch.set_num_threads(3)
    try:
        with contextlib.suppress(ContractError):
            BY_NAME["predicts_sample_by_sample"](kind)
        method = build_method(Sound, make_task())
        fit(method, [make_batch(method.task)], 1)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert during == {1}


def test_pytest_is_not_needed() -> None:
    code = "import sys, mlabench.testing; assert not {'pytest', '_pytest'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
