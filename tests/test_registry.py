"""The registry: what classes say of themselves and of options, remembered exactly, and mistakes explained."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
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
    """Modules are imported again."""
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
    assert about.authors_training == getattr(imported, "authors_training", None)
    assert about.unfit_optimizers == getattr(imported, "unfit_optimizers", None)
    assert about.predicts_per_sample == getattr(imported, "predicts_per_sample", True)
    assert about.encodes_per_sample == getattr(imported, "encodes_per_sample", True)
    assert about.reads == getattr(imported, "reads", ("features",))
    assert about.twin_of == getattr(imported, "twin_of", "")
    assert about.samples_of == getattr(imported, "samples_of", "")
    assert about.summary == inspect.cleandoc(imported.__doc__).splitlines()[0]
    assert entry.path == Path(inspect.getfile(imported))
    assert entry.config is imported.Config
    assert about.config_schema == imported.Config.model_json_schema()
    fields = imported.Config.model_fields
    required = {name for name, field in fields.items() if field.is_required()}
    dumped = imported.Config.model_construct().model_dump(mode="json", exclude=required)
    assert about.defaults.keys() == fields.keys() - required
    assert {name: about.defaults[name] for name in dumped} == dumped


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


# -- what is remembered ----------------------------------------------------------------------------

ANYTHING = '''
"""A method whose options use what they like."""

import enum
import math
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, FilePath, field_validator, model_validator
from pydantic_core import PydanticCustomError
from .helper import LIMIT, Shared


class Speed(enum.Enum):
    SLOW, FAST = "slow", "fast"


class Part(BaseModel):
    size: int = Field(gt=0)


def odd(value: int) -> int:
    if value % 2 == 0:
        raise PydanticCustomError("even", "{value} is even {here}", {"value": value})
    return value


class Mine:
    """Does anything."""

    title = "".join(["My", " method"])

    class Config(Shared):
        """Options."""

        speed: Speed = Speed.SLOW
        rate: float = Field(default=math.pi, lt=LIMIT)
        count: Annotated[int, AfterValidator(odd)] = 3
        parts: tuple[Part, ...] = ()
        either: int | tuple[str, ...] = 1
        place: Path | None = None
        size: int

        @model_validator(mode="after")
        def _sound(self):
            if self.rate > self.size:
                raise ValueError("rate must be at most size")
            assert self.count != 13, "bad luck"
            return self

        def check_modalities(self, modalities):
            if len(modalities) > self.size:
                raise ValueError(f"no room for {', '.join(modalities)}")
'''
HELPER = """
from mlabench.hyperparameters import Hyperparameters

LIMIT = 7


class Shared(Hyperparameters):
    name: str = "x"
"""
GIVEN: list[dict[str, Any]] = [
    {"size": 4},
    {"size": 4, "speed": "fast", "parts": [{"size": 2}], "either": ["a"], "place": "~/some/where"},
    {},
    {"size": "4", "rate": 7, "count": 4, "speed": "fastest", "parts": [{"size": 0}, {"sise": 1}], "either": {}},
    {"size": 3},
    {"size": 4, "count": 13},
    {"size": None, "nome": "y", "place": 3},
]


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where answers are kept, also those of files that were written just now."""
    monkeypatch.setattr(registry, "_START", float("inf"))
    monkeypatch.setenv("MLABENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "registry"


def said(entry: Entry, options: dict[str, Any]) -> object:
    """What an entry says of options: the completed ones, or the mistakes."""
    try:
        return entry.complete(options)
    except ValidationError as error:
        return json.loads(error.json(include_url=False))


def said_by_the_class(entry: Entry, options: dict[str, Any]) -> object:
    try:
        config = entry.config.model_validate_json(json.dumps(options), strict=True)
    except ValidationError as error:
        return json.loads(error.json(include_url=False))
    location = {name: str(value.expanduser()) for name, value in config if isinstance(value, Path)}
    return config.model_dump(mode="json", exclude=set(location)), location


def again(entry: Entry) -> Entry:
    """The same entry in another process."""
    forget()
    return replace(entry)


@pytest.fixture
def imports(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The modules that were imported for their classes."""
    made: list[str] = []
    really = registry._import

    def note(name: str, file: Path, *, named: bool) -> Any:
        made.append(name)
        return really(name, file, named=named)

    monkeypatch.setattr(registry, "_import", note)
    return made


def test_answers_are_those_of_the_class_and_outlive_the_process(write: Write, kept: Path, imports: list[str]) -> None:
    entry = write(ANYTHING, helper=HELPER)
    expected = [said_by_the_class(entry, options) for options in GIVEN]
    assert [isinstance(one, tuple) for one in expected] == [True, True, False, False, False, False, False]
    assert len(expected[3]) == 8
    assert [said(entry, options) for options in GIVEN] == expected
    refusals = [entry.refusal({"size": 4}, tuple("abcde"[:count])) for count in (4, 5)]
    assert refusals == ["", "no room for a, b, c, d, e"]
    imports.clear()
    later = again(entry)
    assert [said(later, options) for options in GIVEN] == expected
    assert [later.refusal({"size": 4}, tuple("abcde"[:count])) for count in (4, 5)] == refusals
    assert later.about == entry.about
    assert later.about.title == "My method"
    assert imports == []
    assert said(later, {"size": 6}) == said_by_the_class(later, {"size": 6})
    assert imports != []


@pytest.mark.parametrize("changed", ["mine", "helper", "far"])
def test_an_answer_holds_until_something_changes_that_was_loaded(
    changed: str, write: Write, kept: Path, imports: list[str], tmp_path: Path
) -> None:
    (tmp_path / "single_file.py").write_text("VALUE = 3\n")
    texts = {"text": ANYTHING, "helper": f"import single_file\n{HELPER}"}
    entry = write(**texts)
    assert entry.complete({"size": 4}).config["rate"] > 3
    (tmp_path / "some_package" / "stranger.py").write_text("VALUE = 3\n")
    imports.clear()
    assert again(entry).complete({"size": 4}).config["rate"] > 3
    assert imports == []
    file = (
        tmp_path
        / {"mine": "some_package/mine.py", "helper": "some_package/helper.py", "far": "single_file.py"}[changed]
    )
    file.write_text(file.read_text() + "\nADDED = 1\n")
    assert again(entry).complete({"size": 4}).config["rate"] > 3
    assert imports != []


def test_an_answer_holds_until_a_package_is_installed(
    write: Write, kept: Path, imports: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = write(ANYTHING, helper=HELPER)
    assert entry.about
    monkeypatch.setattr(registry, "_installed", lambda: "another world")
    imports.clear()
    assert again(entry).about == entry.about
    assert imports != []


def test_a_file_that_was_written_after_the_start_is_not_trusted(
    write: Write, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python may have loaded what was there before."""
    monkeypatch.setattr(registry, "_START", time.time() - 3600)
    assert write(ANYTHING, helper=HELPER).about.title == "My method"
    assert not kept.exists()


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "no text": lambda _: b"\xff\x00\n\xfe",
    "cut": lambda content: content[: len(content) // 2],
    "a changed letter": lambda content: content.replace(b"Does anything", b"Does nothing!"),
    "another seal": lambda content: b"0" * 64 + content[64:],
    "null": lambda content: content[:65] + b"null",
    "a list": lambda content: content[:65] + b"[]",
    "no answers": lambda content: content[:65] + b'{"files": []}',
    "nested too deeply": lambda content: content[:65] + b"[" * 100_000,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_costs_time_only(damage: str, write: Write, kept: Path) -> None:
    entry = write(ANYTHING, helper=HELPER)
    about = entry.about
    (file,) = kept.iterdir()
    whole = file.read_bytes()
    file.write_bytes(DAMAGE[damage](whole))
    assert again(entry).about == about
    assert file.read_bytes() == whole


def test_a_cache_that_cannot_be_written_costs_time_only(
    write: Write, kept: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MLABENCH_CACHE", str(tmp_path / "file"))
    entry = write(ANYTHING, helper=HELPER)
    assert entry.about.title == again(entry).about.title == "My method"


def test_processes_may_write_at_once(write: Write, kept: Path) -> None:
    """The last one wins; what others asked is asked again."""
    entry = write(ANYTHING, helper=HELPER)
    one, two = replace(entry), replace(entry)
    assert one.about == two.about
    both = [said(each, {"size": size}) for each, size in ((one, 4), (two, 5), (one, 6), (two, 7))]
    assert [said(again(entry), {"size": size}) for size in (4, 5, 6, 7)] == both
    assert [file.suffix for file in kept.iterdir()] == [".json"]


def test_a_path_that_must_exist_is_looked_for_each_time(write: Write, kept: Path, tmp_path: Path) -> None:
    entry = write(ANYTHING.replace("place: Path | None", "place: FilePath | None"), helper=HELPER)
    options = {"size": 4, "place": str(tmp_path / "there")}
    for there in (False, True, False):
        (tmp_path / "there").touch() if there else (tmp_path / "there").unlink(missing_ok=True)
        assert isinstance(said(again(entry), options), registry.Options) == there


def test_only_so_many_answers_are_kept(write: Write, kept: Path) -> None:
    entry = write(ANYTHING, helper=HELPER)
    for size in range(4, 304):
        entry.complete({"size": size})
    (file,) = kept.iterdir()
    answers = json.loads(file.read_text().split("\n", 1)[1])["answers"]
    assert len(answers) == 200
    assert any('"size": 303' in question for question in answers)


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


CONFIG = "class Config(Hyperparameters):\n        rate: "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class Config: pass", "mine.py: Mine.Config: must derive from mlabench.hyperparameters"),
        (f"{CONFIG}Callable[[], int] = print", "mine.py: Mine: cannot be described: Cannot generate a JsonSchema"),
        (f"{CONFIG}type(print) = 3", "mine.py:4: cannot be imported: PydanticSchemaGenerationError: Unable to"),
        ("version = 'four'", "mine.py: Mine: cannot be described: 1 validation error for About version"),
        ("version = 1 / 0", "mine.py:4: cannot be imported: ZeroDivisionError: division by zero."),
        ("version = = 1", "mine.py:4: cannot be imported: SyntaxError: invalid syntax"),
        ("import nothing_at_all", "mine.py:4: cannot be imported: ModuleNotFoundError: No module named"),
    ],
)
def test_a_class_that_cannot_be_described(text: str, message: str, write: Write) -> None:
    head = "from collections.abc import Callable\nfrom mlabench.hyperparameters import Hyperparameters\n"
    with pytest.raises(UserError) as caught:
        _ = write(f"{head}class Mine:\n    {text}\n").about
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(caught.value.file))
    assert "\n" not in str(caught.value)


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
    before = write().about.source_hash
    assert len(before) == 12
    assert write(METHOD.replace(old, new)).about.source_hash == before


@pytest.mark.parametrize(("old", "new"), CODE)
def test_code_counts(old: str, new: str, write: Write) -> None:
    assert old in METHOD
    assert write(METHOD.replace(old, new)).about.source_hash != write().about.source_hash


@pytest.mark.parametrize(
    "line",
    [
        "from some_package.helper import double",
        "from some_package import helper",
        "from .helper import double",
        "from . import helper",
        "import some_package.helper",
    ],
)
def test_neighbours_that_are_imported_count(line: str, write: Write) -> None:
    text = f"{METHOD}\n{line}\n"
    hashes = {
        state: write(text, helper=helper, stranger=stranger).about.source_hash
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
        write(text, helper="from .deep import x as double\nfrom .mine import Mine", deep=f"x = {x}").about.source_hash
        for x in (1, 2)
    }
    assert len(hashes) == 2


def test_mla_is_hashed_with_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    files: list[str] = []
    monkeypatch.setattr(registry, "_code", lambda file: files.append(file.name) or "")
    known = registry.get("methods", "mla")
    registry.source_hash(known.path, known.module)
    assert files == ["method.py", "dynamic_fusion.py", "gradient_modification.py", "fusion.py"]


@pytest.mark.parametrize(
    "line",
    [
        "from mlabench.fusion import JointHeadMethod",
        "from mlabench import fusion",
        "import mlabench.fusion as parts",
        "from .helper import JointHeadMethod",
    ],
)
@pytest.mark.parametrize("module", ["some_package.mine", "single_file"])
def test_what_is_inherited_from_fusion_counts(
    line: str, module: str, write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    helper = "from mlabench.fusion import JointHeadMethod"
    path = write(f"{METHOD}\n{line}\n", helper=helper, other=METHOD).path
    without = path.with_name("other.py")
    monkeypatch.setattr(registry, "_FUSION", tmp_path / "fusion.py")
    hashes = []
    for text in ("x = 1", "x = 1  # one", "x = 2"):
        (tmp_path / "fusion.py").write_text(text)
        hashes.append((registry.source_hash(path, module), registry.source_hash(without, module)))
    assert hashes[0] == hashes[1]
    # A single file has no neighbours.
    assert (hashes[0][0] != hashes[2][0]) == (module == "some_package.mine" or "helper" not in line)
    assert hashes[0][1] == hashes[2][1]


def test_hashes_tell_methods_apart() -> None:
    hashes = {name: entry.about.source_hash for name, entry in registry.entries("methods").items()}
    assert len(set(hashes.values())) == len(hashes)
