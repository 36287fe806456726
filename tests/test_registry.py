"""The registry: what classes say of themselves and of options, remembered exactly, and mistakes explained."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from mlabench import registry
from mlabench.errors import UserError
from mlabench.registry import Entry, Kind

KINDS: tuple[Kind, ...] = get_args(Kind)
REGISTERED = [(kind, name) for kind in KINDS for name in registry.entries(kind)]

METHOD = '''
"""A module."""

from __future__ import annotations

import torch
from typing import Literal
from pydantic import Field, field_validator
from collections.abc import Sequence
from mlabench.hyperparameters import Hyperparameters


class Mine(torch.nn.Module):
    """Does something.

    At length.
    """

    title: str = "My method"
    paper = "https://example.org"
    version = 4

    class Config(Hyperparameters):
        """Options."""

        rate: float = Field(default=0.5, gt=0, description="How fast.")
        order: Literal["up", "down"] | tuple[str, ...] = "up"

        @field_validator("rate")
        @classmethod
        def _small(cls, value: float) -> float:
            return value

    def loss(self, batch):
        # How it is done.
        return batch * 2
'''

Write = Callable[..., Entry]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a package of source files and registers ``Mine`` of one of them."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(text: str = METHOD, module: str = "some_package.mine", attribute: str = "Mine", **others: str) -> Entry:
        folder = tmp_path / "some_package"
        folder.mkdir(exist_ok=True)
        for name, content in {"__init__": "", "mine": text, **others}.items():
            (folder / f"{name}.py").write_text(content, encoding="utf-8")
        forget()
        return Entry("methods", "mine", module, attribute, "some-package")

    yield write
    forget()


def forget() -> None:
    """Imports are made again."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ("some_package", "single_file")]:
        del sys.modules[name]


# -- what a class says of itself ------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), REGISTERED)
def test_what_is_remembered_is_what_the_class_says(kind: Kind, name: str) -> None:
    entry = registry.get(kind, name)
    imported, about = entry.load(), entry.about
    assert about.title == (getattr(imported, "title", "") or name)
    assert about.paper == getattr(imported, "paper", "")
    assert about.version == getattr(imported, "version", 1)
    assert about.limits == getattr(imported, "limits", {})
    assert about.claims == getattr(imported, "claims", ())
    assert about.predicts_per_sample == getattr(imported, "predicts_per_sample", True)
    assert about.reads == getattr(imported, "reads", ("features",))
    assert about.twin_of == getattr(imported, "twin_of", "")
    assert about.summary == inspect.cleandoc(imported.__doc__).splitlines()[0]
    assert entry.path == Path(inspect.getfile(imported))
    assert entry.config is imported.Config
    assert about.config_schema == imported.Config.model_json_schema()
    required = {name for name, field in imported.Config.model_fields.items() if field.is_required()}
    assert about.defaults == imported.Config.model_construct().model_dump(mode="json", exclude=required)


LISTING = f"""
import sys; from mlabench import registry
for kind in {KINDS}:
    for entry in registry.entries(kind).values():
        entry.about, entry.search_space
"""


def test_the_second_listing_imports_neither_torch_nor_numpy() -> None:
    for code in (LISTING, f"{LISTING}\nassert 'torch' not in sys.modules and 'numpy' not in sys.modules"):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_a_class_of_another_package(write: Write) -> None:
    entry = write()
    about = entry.about
    assert (about.title, about.paper, about.version) == ("My method", "https://example.org", 4)
    assert about.summary == "Does something."
    assert entry.config(order=["a", "b"]).model_dump() == {"rate": 0.5, "order": ("a", "b")}  # type: ignore[call-arg]
    assert entry.complete({"order": ["a", "b"]}).config == {"rate": 0.5, "order": ["a", "b"]}
    for _ in range(2):
        with pytest.raises(ValidationError, match="greater than 0"):
            entry.complete({"rate": 0})


def test_what_is_not_written_has_a_default(write: Write) -> None:
    about = write("class Mine:\n    pass\n").about
    assert (about.title, about.paper, about.version, about.summary) == ("mine", "", 1, "")
    assert (about.options, about.defaults) == ({}, {})


@pytest.mark.parametrize("module", ["some_package", "single_file", "some_package.deeper.still"])
def test_a_module_may_be_a_package_or_a_single_file(module: str, write: Write, tmp_path: Path) -> None:
    (tmp_path / "single_file.py").write_text(METHOD)
    (tmp_path / "some_package" / "deeper").mkdir(parents=True)
    (tmp_path / "some_package" / "deeper" / "still.py").write_text(METHOD)
    assert write(module=module, __init__=METHOD).about.version == 4


# -- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["no_such_package.mine", "some_package.nothing", "nothing_at_all"])
def test_a_module_that_is_not_there(module: str, write: Write) -> None:
    with pytest.raises(UserError) as caught:
        _ = write(module=module).path
    assert f"the method 'mine' is registered by some-package as {module}:Mine" in str(caught.value)
    assert "Reinstall some-package" in caught.value.remedy


def test_a_class_that_is_not_there(write: Write, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        _ = write(attribute="Yours").about
    assert "there is no such class, although some-package registers it as 'mine'" in caught.value.problem
    assert caught.value.field == "Yours"
    assert caught.value.file == str(tmp_path / "some_package" / "mine.py")


def fake_points(*points: tuple[str, str, str]) -> Callable[..., list[Any]]:
    """Entry points as (name, module:attribute, package)."""

    def entry_points(group: str) -> list[Any]:
        assert group == "mlabench.methods"
        parts = [(name, *value.split(":"), package) for name, value, package in points]
        return [
            SimpleNamespace(name=name, module=module, attr=attribute, dist=SimpleNamespace(name=package))
            for name, module, attribute, package in parts
        ]

    return entry_points


def read_entries() -> dict[str, Entry]:
    """Without the cache."""
    found: dict[str, Entry] = registry.entries.__wrapped__("methods")
    return found


def test_a_name_registered_by_two_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    points = fake_points(("mine", "one.mine:Mine", "one"), ("mine", "two.mine:Mine", "two"))
    monkeypatch.setattr(registry, "entry_points", points)
    with pytest.raises(UserError, match="'mine' is registered twice among methods: by one and by two") as caught:
        read_entries()
    assert "Uninstall one of them" in caught.value.remedy


def test_the_same_class_found_twice_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    points = fake_points(("z", "one.z:Z", "one"), ("a", "one.a:A", "one"), ("z", "one.z:Z", "one"))
    monkeypatch.setattr(registry, "entry_points", points)
    assert list(read_entries()) == ["a", "z"]
    assert read_entries()["a"] == Entry("methods", "a", "one.a", "A", "one")


def test_an_unknown_name_gets_the_nearest_spelling() -> None:
    with pytest.raises(UserError, match=r"unknown method 'mlaa'\. Did you mean 'mla'\?"):
        registry.get("methods", "mlaa")
    with pytest.raises(UserError, match=r"unknown encoder 'zzz'\. Known: .*mlp"):
        registry.get("encoders", "zzz")
    assert registry.parse_name("encoders", "mlp") == (registry.get("encoders", "mlp"), "")
    assert registry.parse_name("encoders", "timm:a:b") == (registry.get("encoders", "timm"), "a:b")
    for name, problem in (
        ("tim:resnet18", "unknown encoder 'tim'. Did you mean 'timm'?"),
        ("timm:", "'timm:': 'timm' needs a model after the colon. `mlabench ls encoders timm` lists its options."),
        ("mlp:big", "'mlp:big': 'mlp' takes no model. `mlabench ls encoders mlp` lists its options."),
    ):
        with pytest.raises(UserError) as caught:
            registry.parse_name("encoders", name)
        assert str(caught.value) == problem
    assert registry.suggest("stamp", ["clipart", "stamps"]) == "Did you mean 'stamps'?"
    assert registry.suggest("zzz", ["clipart", "stamps"]) == ""


# -- the hash of the source -----------------------------------------------------------------------

PROSE = [
    ("# How it is done.", "# How it is done, said differently."),
    ('"""Does something.', '"""Does something else.'),
    ('"""A module."""', ""),
    ("return batch * 2", "return (\n            batch * 2  # twice\n        )"),
]
CODE = [
    ("batch * 2", "batch * 3"),
    ("version = 4", "version = 5"),
    ("default=0.5", "default=0.25"),
    ("gt=0", "ge=0"),
    ("def loss", "def Loss"),
]


@pytest.mark.parametrize(("old", "new"), PROSE)
def test_comments_docstrings_and_layout_do_not_count(old: str, new: str, write: Write) -> None:
    assert old in METHOD
    before = write().source_hash
    assert len(before) == 12
    assert write(METHOD.replace(old, new)).source_hash == before


@pytest.mark.parametrize(("old", "new"), CODE)
def test_code_counts(old: str, new: str, write: Write) -> None:
    assert old in METHOD
    assert write(METHOD.replace(old, new)).source_hash != write().source_hash


@pytest.mark.parametrize(
    "line",
    [
        "from some_package.helper import double",
        "from some_package import helper",
        "from .helper import double",
        "from . import helper",
    ],
)
def test_neighbours_that_are_imported_count(line: str, write: Write) -> None:
    text = f"{METHOD}\n{line}\n"
    hashes = {
        state: write(text, helper=helper, stranger=stranger).source_hash
        for state, helper, stranger in [
            ("start", "def double(x): return 2 * x", "x = 1"),
            ("neighbour changed", "def double(x): return x + x", "x = 1"),
            ("neighbour's prose changed", "def double(x): return 2 * x  # twice", "x = 1"),
            ("stranger changed", "def double(x): return 2 * x", "x = 2"),
        ]
    }
    assert hashes["neighbour changed"] != hashes["start"]
    assert hashes["neighbour's prose changed"] == hashes["start"]
    assert hashes["stranger changed"] == hashes["start"]


def test_neighbours_of_neighbours_count(write: Write) -> None:
    text = f"{METHOD}\nfrom .helper import double\n"
    hashes = {
        write(text, helper="from .deep import x as double\nfrom .mine import Mine", deep=f"x = {x}").source_hash
        for x in (1, 2)
    }
    assert len(hashes) == 2


def test_mla_is_hashed_with_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    files: list[str] = []
    monkeypatch.setattr(registry, "_code", lambda file: files.append(file.name) or "")
    known = registry.get("methods", "mla")
    registry.source_hash(known.path, known.module)
    assert files == ["method.py", "dynamic_fusion.py", "gradient_modification.py"]


def test_hashes_tell_methods_apart() -> None:
    hashes = {name: entry.source_hash for name, entry in registry.entries("methods").items()}
    assert len(set(hashes.values())) == len(hashes)
