"""Runs the real entry point, in this process or in one of its own."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from contextlib import chdir, nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil

from mlabench import registry
from mlabench.cli.app import main
from mlabench.store.records import Store

ROOT = Path(__file__).parents[1]
MLABENCH = str(Path(sys.executable).with_name("mlabench"))

#: A sweep over real data that takes a few seconds: 2 methods x 2 rates x 2 seeds.
SMALL = """
dataset: stamps
encoders: mlp
methods: [concat, mla]
missing: {rates: [0, 0.5]}
seeds: [0, 1]
limit: 150
training: {epochs: 2, batch_size: 32}
"""


def invoke(*arguments: str | Path, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs ``mlabench`` with these arguments in this process, which spares the start of another one.

    What plugins it registers is forgotten afterwards. An exception that a process would end in with a traceback is
    raised.
    """
    words = ["mlabench", *map(str, arguments)]
    out, err = io.StringIO(), io.StringIO()
    try:
        with (
            chdir(cwd) if cwd else nullcontext(),
            patch.object(sys, "argv", words),
            patch.dict(os.environ, environment),
            patch.dict(registry._ADDED),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            try:
                main(words[1:])
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        registry.entries.cache_clear()
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def mlabench(*arguments: str | Path, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs ``mlabench`` with these arguments and waits for it."""
    return subprocess.run(
        [MLABENCH, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        timeout=300,
        check=False,
    )


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    """Starts ``mlabench`` in a process group of its own, to be interrupted or killed."""
    # Shells start background jobs with interrupts ignored, which children inherit: CI may be such a job.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return subprocess.Popen(
            [MLABENCH, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent to notice does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def lasting(results: Path) -> dict[str, Any]:
    """Everything in a results folder that must not differ between two runs: records less cost and environment."""
    store = Store(results)
    content: dict[str, Any] = {}
    for record in store.records():
        arrays = store.predictions(record.trial.id)
        assert arrays is not None
        content[record.trial.id] = (
            json.dumps(record.model_dump(mode="json", exclude={"cost", "environment"}), sort_keys=True),
            {name: array.tolist() for name, array in arrays.items()},
        )
    assert store.set_aside == []
    return content
