"""Files that anybody may have written, changed at random: refused in a sentence or set aside, never a traceback."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from mlabench.datasets.manifest.dataset import Manifest
from mlabench.errors import UserError
from mlabench.missing import read_pattern, write_pattern
from mlabench.record import Record
from mlabench.reporting.build import build_report, print_summary
from mlabench.reporting.evidence import Archive
from mlabench.reporting.published import load_published
from mlabench.reporting.suite_report import report_suite
from mlabench.store import leases
from mlabench.store.records import RECORD, Store, _seal
from mlabench.suite import Overrides, load_suite
from mlabench.suite.plan import Plan, PlannedTrial
from mlabench.training.checkpoint import Checkpoints
from tests.records import make_record, make_trial
from tests.training.test_checkpoint import IDENTITY, snapshot

fuzz = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

TRIAL = make_trial(rate=0.5)
PLAN = Plan(
    name="one", modalities=("audio",), cells=(PlannedTrial(label="Concat", trial=TRIAL, tests=(TRIAL.missing,)),)
)
RECORD_TEXT = make_record(TRIAL).model_dump_json(indent=1)
QUIET = Console(file=io.StringIO())

leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["../../x", "\x00", "/dev/zero", "balanced-0.5", "ok", "failed", "stamps", "concat", "complete"])
)
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Paths of everything in a JSON value."""
    yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield from places(inner, (*path, key))


@st.composite
def altered(draw: st.DrawFn, text: str) -> str:
    """The same JSON with one to three of its values replaced, removed or added to."""
    content = json.loads(text)
    for _ in range(draw(st.integers(1, 3))):
        *parents, last = draw(st.sampled_from([path for path in places(content) if path] or [("x",)]))
        inside = content
        for key in parents:
            inside = inside[key]
        if draw(st.booleans()) and isinstance(inside, dict):
            inside.pop(last, None)
        else:
            inside[last] = draw(anything)
    return json.dumps(content, indent=1)


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The same bytes cut short, or with some of them changed."""
    if draw(st.booleans()):
        return content[: draw(st.integers(0, len(content) - 1))]
    changed = bytearray(content)
    for place in draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        changed[place] = draw(st.integers(0, 255))
    return bytes(changed)


deep = st.sampled_from(["[" * 100_000, '{"a":' * 5_000 + "1" + "}" * 5_000])


def put(store: Store, content: bytes) -> None:
    shutil.rmtree(store.root, ignore_errors=True)
    folder = store.folder(TRIAL.id)
    folder.mkdir(parents=True)
    (folder / RECORD).write_bytes(content)


def read_and_report(store: Store) -> None:
    """What commands do with records: each is read, or set aside, or refused; and nothing is lost."""
    try:
        record = store.read(TRIAL.id)
    except UserError as error:
        assert "\n" not in str(error)
        return
    if record is None:
        assert [name for name, _ in store.set_aside] == [TRIAL.id]
        assert len(list((store.root / "set_aside").iterdir())) == 1
    else:
        Record.model_validate_json(record.model_dump_json())
        print_summary(PLAN, store, QUIET)
        report_suite(PLAN, Archive(store), store.root, include_limited=True, published=())


@fuzz
@given(content=damaged(_seal(RECORD_TEXT).encode()) | st.binary(max_size=50))
def test_a_damaged_record(content: bytes, tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    put(store, content)
    read_and_report(store)


@fuzz
@given(text=altered(RECORD_TEXT) | anything.map(lambda value: json.dumps(value, indent=1)) | deep)
def test_a_forged_record_with_a_right_checksum(text: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    put(store, _seal(text if text.endswith("\n}") else text + "\n}").encode(errors="replace"))
    read_and_report(store)


@fuzz
@given(
    content=damaged(PLAN.model_dump_json().encode())
    | altered(PLAN.model_dump_json()).map(str.encode)
    | deep.map(str.encode)
)
def test_a_plan(content: bytes, tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    put(store, _seal(RECORD_TEXT).encode())
    path = store.root / "plans" / "one.json"
    path.parent.mkdir()
    path.write_bytes(content)
    try:
        for plan in store.plans():
            print_summary(plan, store, QUIET)
            report_suite(plan, Archive(store), store.root, include_limited=True, published=())
    except UserError as error:
        assert str(error)


LEASE = json.dumps({"host": leases._host(), "pid": 1, "born": 0.0, "token": "t", "began": 0.0, "stage": "train"})


@fuzz
@given(content=damaged(LEASE.encode()) | altered(LEASE).map(str.encode) | deep.map(str.encode))
def test_a_lease(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "leases" / "one.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    for holder in leases.holders(tmp_path).values():
        assert isinstance(holder.machine, str)
    leases.is_held(tmp_path, "one")
    leases.release_of(tmp_path, "one", 1)
    lease = leases.claim(tmp_path, "one")
    if lease is not None:
        lease.release()


@pytest.mark.parametrize("with_right_checksum", [False, True])
def test_a_checkpoint(with_right_checksum: bool, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "one", IDENTITY)
    checkpoints.save(snapshot())
    content = checkpoints.path.read_bytes()[64:]

    @fuzz
    @given(content=damaged(content))
    def check(content: bytes) -> None:
        import hashlib

        digest = hashlib.sha256(content if with_right_checksum else b"").hexdigest().encode()
        checkpoints.path.write_bytes(digest + content)
        checkpoints.load()

    check()


MANIFEST = "id,label,split,sound\n" + "".join(
    f"{name}{number},{label},{split},text {number}\n"
    for split in ("train", "validation", "test")
    for name, label in (("a", "x"), ("b", "y"))
    for number, name in ((f"{split}{place}", name) for place in range(2))
)
PUBLISHED = "table,dataset,method,metric,accuracy\nMLA-Table2,IEMOCAP,MLA,multi,71.25\n"


def test_a_manifest(tmp_path: Path) -> None:
    def read(path: Path) -> None:
        data = Manifest(Manifest.Config(file=path, modalities={"sound": "text"})).load()
        assert len(data.train)

    refuse_or_read(MANIFEST.encode(), tmp_path / "table.csv", read)


def test_a_missing_pattern(tmp_path: Path) -> None:
    ids, modalities = ["a", "b", "c"], ["audio", "image"]
    present = np.array([[True, False], [True, True], [False, True]])
    path = tmp_path / "pattern.csv"
    write_pattern(path, ids, modalities, present, {})
    refuse_or_read(path.read_bytes(), path, lambda path: read_pattern(path, ids, modalities))


def test_published_numbers(tmp_path: Path) -> None:
    refuse_or_read(PUBLISHED.encode(), tmp_path / "published.csv", load_published)


def refuse_or_read(content: bytes, path: Path, read: Callable[[Path], object]) -> None:
    """The file as it is can be read; changed at random, it is read or refused."""
    path.write_bytes(content)
    read(path)

    @fuzz
    @given(
        changed=damaged(content)
        | st.binary(max_size=40)
        | st.just(content + b"x" * 200_000)
        | st.just(b'"' + content * 900)
    )
    def check(changed: bytes) -> None:
        path.write_bytes(changed)
        try:
            read(path)
        except UserError as error:
            assert str(path) in str(error)

    check()


words = st.sampled_from(
    [
        "training",
        "epochs",
        "optimizer",
        "lr",
        "methods",
        "0",
        "label",
        "seeds",
        "missing",
        "rates",
        "name",
        "dataset",
        "limit",
    ]
)
fields = st.lists(words, max_size=4).map(".".join)
yaml_values = st.text(max_size=12) | st.sampled_from(
    ["1", "-1", "1e999", "[0]", "{name: sgd}", "../x", "null", "&a [*a]"]
)


@fuzz
@given(
    setting=st.tuples(fields, st.sampled_from(["=", "", "=="]), yaml_values).map("".join) | st.text(max_size=20),
    seeds=st.none() | st.text(alphabet="0123456789-, x", max_size=8),
    rates=st.none() | st.text(alphabet="0123456789.,-e ", max_size=8),
)
def test_flags(setting: str, seeds: str | None, rates: str | None, tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    path.write_text("dataset: stamps\nencoders: mlp\nmethods: [concat]\n")
    try:
        load_suite(path, Overrides(settings=(setting,), seeds=seeds, rates=rates))
    except UserError as error:
        assert str(error)


def test_a_report_of_forged_predictions(tmp_path: Path) -> None:
    """The report reads predictions whose record has the right checksum of whatever they are."""
    store = Store(tmp_path / "results")
    arrays = {"ids": np.array(["a"]), "labels": np.array([0]), f"{TRIAL.missing.key}/fused": np.array(["x"])}
    store.write(make_record(TRIAL), arrays)
    build_report(store, [PLAN], tmp_path / "report", console=QUIET)
