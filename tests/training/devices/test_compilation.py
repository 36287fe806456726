"""Compiled encoders: the same numbers up to rounding, the same weights' names, copies with weights of their own."""

from __future__ import annotations

import copy
import os
import shutil
from pathlib import Path

import pytest
import torch

from mlabench.store.records import Store
from mlabench.testing import adam, build_method, fill_absent, make_batch, make_task, parameters
from mlabench.training.cost import Meter
from mlabench.training.devices.compilation import compile_encoders
from tests.command_line import invoke, mlabench

TASK = make_task(2)
SUITE = """
dataset: {name: stamps, modalities: [audio, text]}
encoders: mlp
methods: [unimodal]
limit: 60
training: {epochs: 1, batch_size: 32}
"""

needs_compiler = pytest.mark.skipif(shutil.which(os.environ.get("CXX") or "g++") is None, reason="no C++ compiler")


@needs_compiler
@pytest.mark.slow
def test_training_is_the_same_up_to_rounding() -> None:
    plain, compiled = (build_method("mla", TASK, normalise=True) for _ in range(2))
    meter = Meter(compiled, torch.device("cpu"))
    compile_encoders(compiled)
    batches = [fill_absent(make_batch(TASK, missing=0.4, seed=seed), torch.nan) for seed in range(3)]
    losses = []
    for method in (plain, compiled):
        steps = adam(method)
        with meter.running():
            losses.append([method.training_step(batch, steps)["loss"].item() for batch in batches])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    ours = parameters(compiled)
    assert list(ours) == list(parameters(plain))
    for name, value in parameters(plain).items():
        assert torch.allclose(ours[name], value, rtol=1e-4, atol=1e-5), name
    # Hooks see each pass once.
    present = torch.cat([batch.present for batch in batches]).sum(dim=0).tolist()
    costs = meter.costs(3, dict(zip(TASK.modalities, present, strict=True)))
    passes = [costs[f"{way}_passes_{modality}"] for way in ("forward", "backward") for modality in TASK.modalities]
    assert passes == [1.0] * 4


@needs_compiler
@pytest.mark.slow
def test_a_copy_has_weights_of_its_own() -> None:
    method = build_method("concat", TASK)
    compile_encoders(method)
    encoder = method.encoders["audio"]
    inputs = torch.randn(5, *TASK.shapes["audio"])
    with torch.no_grad():
        expected = encoder.layers(inputs)
        teacher = copy.deepcopy(encoder)
        for parameter in encoder.parameters():
            parameter.zero_()
        assert torch.allclose(teacher(inputs), expected, atol=1e-6)
        assert not encoder(inputs).any()


@needs_compiler
@pytest.mark.slow
def test_a_record_says_that_its_encoders_were_compiled(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE)
    done = mlabench("run", tmp_path / "suite.yaml", "--results", tmp_path, "--device", "cpu", "--compile")
    assert done.returncode == 0, done.stdout + done.stderr
    (record,) = Store(tmp_path).records()
    assert record.status == "ok"
    assert record.environment["compiled"] is True


def test_no_compiler_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE)
    done = invoke("run", tmp_path / "suite.yaml", "--results", tmp_path, "--compile", CXX="no-such-compiler")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --compile: there is no C++ compiler 'no-such-compiler' here.")
