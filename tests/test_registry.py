"""The registry: what is read from source files is what an import would give, and mistakes are explained."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from mlabench import registry
from mlabench.errors import UserError
from mlabench.hyperparameters import Hyperparameters
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
        return Entry("methods", "mine", module, attribute, "some-package")

    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] == "some_package"]:
        del sys.modules[name]


# -- reading without importing --------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), REGISTERED)
def test_reading_is_as_good_as_importing(kind: Kind, name: str) -> None:
    entry = registry.get(kind, name)
    imported = entry.load()
    assert entry.title == (getattr(imported, "title", "") or name)
    assert entry.paper == getattr(imported, "paper", "")
    assert entry.version == getattr(imported, "version", 1)
    assert entry.doc == inspect.cleandoc(imported.__doc__)
    assert entry.summary == entry.doc.splitlines()[0]
    assert entry.path == Path(inspect.getfile(imported))
    assert entry.config.model_json_schema() == imported.Config.model_json_schema()
    assert dict(entry.config.model_construct()) == dict(imported.Config.model_construct())
    assert issubclass(entry.config, Hyperparameters)


def test_all_that_a_listing_shows_is_read_without_torch() -> None:
    code = (
        "import sys; from mlabench import registry\n"
        f"for kind in {KINDS}:\n"
        "    for entry in registry.entries(kind).values():\n"
        "        entry.title, entry.paper, entry.version, entry.doc, entry.source_hash, entry.config.model_fields\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_class_of_another_package(write: Write) -> None:
    entry = write(METHOD.replace("import torch", "import torch\nraise RuntimeError('imported')"))
    assert (entry.title, entry.paper, entry.version) == ("My method", "https://example.org", 4)
    assert entry.doc == "Does something.\n\nAt length."
    assert entry.summary == "Does something."
    assert entry.config(order=["a", "b"]).model_dump() == {"rate": 0.5, "order": ("a", "b")}  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="greater than 0"):
        entry.config(rate=0)  # type: ignore[call-arg]
    with pytest.raises(RuntimeError, match="imported"):
        entry.load()


OPTIONS = '''
"""Options that several classes share."""

from __future__ import annotations

from typing import Literal
from pydantic import Field
from mlabench.hyperparameters import Hyperparameters

Direction = Literal["up", "down"]


class Shared(Hyperparameters):
    """Options."""

    rate: float = Field(default=0.5, gt=0, description="How fast.")
    order: Direction = "up"

    def check_modalities(self, modalities: tuple[str, ...]) -> None:
        raise ValueError(f"not {modalities}")
'''

INHERITS = """
from {source} import Direction as Way, Shared


class Mine:
    class Config(Shared):
        order: Way = "down"
"""


@pytest.mark.parametrize("source", ["some_package.options", ".options"])
def test_options_shared_by_the_classes_of_a_package(source: str, write: Write, tmp_path: Path) -> None:
    entry = write(INHERITS.format(source=source), options=OPTIONS)
    assert entry.config().model_dump() == {"rate": 0.5, "order": "down"}
    with pytest.raises(ValueError, match="greater than 0"):
        entry.config(rate=0)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match=r"not \('audio',\)"):
        entry.config().check_modalities(("audio",))
    assert "some_package" not in sys.modules
    schema = entry.config.model_json_schema()
    assert schema == entry.load().Config.model_json_schema()
    before = entry.source_hash
    assert write(INHERITS.format(source=source), options=OPTIONS.replace("0.5", "0.6")).source_hash != before


@pytest.mark.parametrize(
    ("module", "options", "name"),
    [
        (
            "options",
            OPTIONS.replace("from pydantic", "import torch\nSIZE = torch.get_num_threads()\nfrom pydantic"),
            "torch",
        ),
        ("options", OPTIONS.replace("from pydantic", "from torch import Size\nSIZE = Size()\nfrom pydantic"), "Size"),
        ("options", "", "Shared"),
        ("choices", OPTIONS, "Shared"),
    ],
)
def test_shared_options_obey_the_same_rule(module: str, options: str, name: str, write: Write) -> None:
    entry = write(INHERITS.format(source=f".{module}"), **{module: options})
    with pytest.raises(UserError, match=f"Config uses '{name}', but may use") as caught:
        _ = entry.config
    assert caught.value.file == str(entry.path.with_name("options.py") if "torch" in options else entry.path)


def test_what_is_not_written_has_a_default(write: Write) -> None:
    entry = write("class Mine:\n    pass\n")
    assert (entry.title, entry.paper, entry.version, entry.doc, entry.summary) == ("mine", "", 1, "", "")
    assert entry.config is Hyperparameters


def test_a_module_may_be_a_package_or_a_single_file(write: Write, tmp_path: Path) -> None:
    assert write(module="some_package", __init__=METHOD).version == 4
    (tmp_path / "single_file.py").write_text(METHOD)
    assert write(module="single_file").version == 4


# -- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["no_such_package.mine", "some_package.nothing", "nothing_at_all"])
def test_a_module_that_is_not_there(module: str, write: Write) -> None:
    with pytest.raises(UserError) as caught:
        _ = write(module=module).path
    assert f"the method 'mine' is registered by some-package as {module}:Mine" in str(caught.value)
    assert "Reinstall some-package" in caught.value.remedy


def test_a_class_that_is_not_there(write: Write, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        _ = write(attribute="Yours").title
    assert "no class 'Yours' at the top level" in caught.value.problem
    assert "the method 'mine'" in caught.value.problem
    assert caught.value.file == str(tmp_path / "some_package" / "mine.py")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("size: int = torch.get_num_threads()", "torch"),
        ("size: Tensor | None = None", "Tensor"),
        ("size: int = SIZE", "SIZE"),
    ],
)
def test_a_config_with_a_name_it_may_not_use(line: str, name: str, write: Write) -> None:
    text = METHOD.replace('order: Literal["up", "down"] | tuple[str, ...] = "up"', line)
    entry = write(text.replace("class Mine", "from torch import Tensor\n\nSIZE = 3\n\nclass Mine"))
    with pytest.raises(UserError) as caught:
        _ = entry.config
    assert f"Config uses {name!r}, but may use names of typing, pydantic" in caught.value.problem
    assert caught.value.field == "Mine.Config"
    assert caught.value.file == str(entry.path)


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
        write(text, helper="from .deep import x\nfrom .mine import Mine", deep=f"x = {x}").source_hash for x in (1, 2)
    }
    assert len(hashes) == 2


def test_mla_is_hashed_with_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    files: list[str] = []
    monkeypatch.setattr(registry, "_code", lambda file: files.append(file.name) or "")
    known = registry.get("methods", "mla")
    _ = Entry(known.kind, known.name, known.module, known.attribute, known.package).source_hash
    assert files == ["method.py", "dynamic_fusion.py", "gradient_modification.py", "options.py"]


def test_hashes_tell_methods_apart() -> None:
    hashes = {name: entry.source_hash for name, entry in registry.entries("methods").items()}
    assert len(set(hashes.values())) == len(hashes)
