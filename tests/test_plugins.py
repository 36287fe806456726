"""Classes from single files: which ones a file registers, under what names, in all processes, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlabench import registry
from mlabench.errors import UserError
from tests.command_line import SMALL, invoke, lasting, mlabench

MINE = '''
from __future__ import annotations

from baselines.concat import Concat
from mlabench.datasets.embedded.stamps.dataset import Stamps
from mlabench.encoders.features import MLP
from mlabench.hyperparameters import Hyperparameters


class TwinOfConcat(Concat):
    """Concatenation under another name."""

    title = "Twin"
    limits = {"more than two modalities": "it is a twin."}
    predicts_per_sample = False

    class Config(Hyperparameters):
        """None."""


class OtherStamps(Stamps):
    """The same stamps."""

    name = "my-stamps"


class Layers(MLP):
    """The same layers."""
'''

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str = MINE, name: str = "mine.py") -> Path:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


@pytest.fixture
def clean() -> Iterator[None]:
    """Forgets what a test registers."""
    before = dict(registry._ADDED)
    yield
    registry._ADDED.clear()
    registry._ADDED.update(before)
    registry.entries.cache_clear()


def names(path: Path) -> list[tuple[str, str]]:
    return [(entry.kind, entry.name) for entry in registry.read(path)]


# -- which classes, and what they are called ---------------------------------------------------------


def test_a_file_defines_methods_datasets_and_encoders(write: Write) -> None:
    assert names(write()) == [("methods", "twin_of_concat"), ("datasets", "my-stamps"), ("encoders", "layers")]


@pytest.mark.parametrize(
    "head",
    [
        "from mlabench.method import Method\nclass Mine(Method): ...",
        "from mlabench.method import Method as Base\nclass Mine(Base):\n    name = property(lambda self: 'x')",
        "from mlabench import method\nclass Mine(method.Method): ...",
        "import mlabench.method\nclass Mine(mlabench.method.Method): ...",
        "import mlabench.method as contract\nclass Mine(contract.Method): ...",
        "from mlabench.method import Method\nclass _Base(Method): ...\nclass Mine(_Base): ...",
        "from abc import ABC\nfrom baselines.qmf import QMF\nclass Mine(ABC, QMF): ...",
        "from mlabench.mla.released import MLAReleased\nclass Mine(MLAReleased): ...",
        "try:\n    from mlabench.method import Method\nexcept ImportError:\n    raise\nclass Mine(Method): ...",
    ],
)
def test_base_classes_are_followed_through_imports(head: str, write: Write) -> None:
    assert names(write(head)) == [("methods", "mine")]


def test_what_is_something_else_is_left_alone(write: Write) -> None:
    text = """
    from torch import nn
    from baselines.concat import Concat
    from mlabench.method import Method
    class Net(nn.Module): ...
    class _Hidden(Method): ...
    Again = Concat
    method = _Hidden
    class Mine(Method):
        class Inner(Method): ...
    """
    assert names(write("\n".join(line[4:] for line in text.splitlines()))) == [("methods", "mine")]


@pytest.mark.parametrize(
    ("written", "expected"),
    [("SumOfLogits", "sum_of_logits"), ("QMF", "qmf"), ("MLAReleased", "mla_released"), ("Two2Three", "two2_three")],
)
def test_snake_case(written: str, expected: str) -> None:
    assert registry.snake_case(written) == expected


def test_a_file_is_imported_once_until_it_changes(write: Write) -> None:
    """What it defines, what that says of itself, and what it says of options: all is remembered."""
    text = MINE.replace('"""None."""', 'rate: float = Field(default=0.1, gt=0, description="How fast.")')
    path = write(text.replace("\nclass", "\nfrom pydantic import Field\n\nclass", 1))
    code = (
        "import sys; from pathlib import Path; from mlabench import registry; from pydantic import ValidationError\n"
        f"registry.register([Path({str(path)!r})])\n"
        "entry = registry.get('methods', 'twin_of_concat')\n"
        "print(entry.about.title, entry.complete({'rate': 0.2}).config, entry.refusal({}, ('audio', 'text')))\n"
        "try: entry.complete({'rate': 0, 'x': {'y': []}})\n"
        "except ValidationError as error: print(error)\n"
        "print('torch' in sys.modules)\n"
    )

    def said() -> list[str]:
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        return done.stdout.splitlines()

    first = said()
    assert first[0] == "Twin {'rate': 0.2} "
    assert "greater than 0" in first[3]
    assert "not permitted" in first[5]
    assert first[-1] == "True"
    assert said() == [*first[:-1], "False"]
    path.write_text(path.read_text().replace('"Twin"', '"Other"'))
    assert said() == [first[0].replace("Twin", "Other"), *first[1:]]


def test_a_registered_class_is_the_one_in_the_file(write: Write, clean: None) -> None:
    path = write()
    assert registry.register([path, path]) == (path.resolve(), path.resolve())
    entry = registry.get("methods", "twin_of_concat")
    kind = entry.load()
    assert (kind.__name__, kind.title) == ("TwinOfConcat", entry.about.title)
    assert kind is registry.get("methods", "twin_of_concat").load()
    assert (entry.path, entry.package) == (path.resolve(), str(path.resolve()))
    before = entry.about.source_hash
    write(MINE.replace('"Twin"', '"Twins"'))
    (changed, *_) = registry.read(path.resolve())
    assert changed.about.source_hash != before


# -- mistakes ----------------------------------------------------------------------------------------

MISTAKES = {
    "no such file": (None, "cannot read this plugin (No such file or directory)"),
    "no Python": ("class Mine(:\n", "mine.py:1: cannot be imported: SyntaxError: "),
    "a stray return": ("return 1\n", "mine.py:1: cannot be imported: SyntaxError: 'return' outside function"),
    "no text": ("\0", "cannot be imported: "),
    "nothing in it": ("x = 1\n", "this plugin defines no method, dataset or encoder. Derive a class from mlabench"),
    "a taken name": (
        "from mlabench.method import Method\nclass Concat(Method): ...\n",
        "mine.py: Concat: there is a method 'concat' already, from mlabench. Give the class another name",
    ),
    "two of one name": (
        "from mlabench.method import Method\nclass A(Method): ...\nclass B(Method):\n    name = 'a'\n",
        "mine.py: B: there is a method 'a' already, from ",
    ),
    "no name": (
        "from mlabench.method import Method\nclass Mine(Method):\n    name = 'a b'\n",
        "mine.py: Mine.name: 'a b' is not a valid name. Use letters",
    ),
    "another method's name": (
        "from baselines.concat import Concat\nclass Mine(Concat):\n    name = 'qmf'\n",
        "mine.py: Mine: there is a method 'qmf' already",
    ),
    "a missing module": (
        "x = 1\nimport nothing_of_the_kind\n",
        "mine.py:2: cannot be imported: ModuleNotFound",
    ),
    "an error within": (
        "def f():\n    raise ValueError('half done.')\nf()\n",
        "mine.py:2: cannot be imported: Value",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_gets_one_clear_message(case: str, write: Write, clean: None, tmp_path: Path) -> None:
    text, message = MISTAKES[case]
    path = write(text) if text is not None else tmp_path / "mine.py"
    with pytest.raises(UserError) as caught:
        registry.register([path])
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MINE + "\n\nimport nothing_of_the_kind\n", "31: cannot be imported: ModuleNotFoundError: No module named"),
        (MINE + "\n\nraise ValueError('half done.')\n", "31: cannot be imported: ValueError: half done."),
    ],
)
def test_what_cannot_be_imported_stops_a_run_before_it_starts(text: str, message: str, write: Write) -> None:
    path, suite = write(text), write(SMALL, "s.yaml")
    done = invoke("run", suite, "--plugin", path, "--results", path.with_name("results"))
    assert done.returncode == 2
    assert f"error: {path}:{message}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not path.with_name("results").exists()


def test_a_broken_plugin_stops_every_command(write: Write, tmp_path: Path) -> None:
    suite = write(SMALL, "s.yaml")
    done = invoke("validate", suite, "--plugin", "no.py", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {tmp_path / 'no.py'}: cannot read this plugin (No such file or directory).\n"


# -- in commands -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plugin and a suite that needs all it defines, run once, by two workers."""
    folder = tmp_path_factory.mktemp("plugged")
    (folder / "mine.py").write_text(MINE.replace('    limits = {"more than two modalities": "it is a twin."}\n', ""))
    text = SMALL.replace("stamps", "my-stamps").replace("mlp", "layers").replace("mla", "twin_of_concat")
    (folder / "s.yaml").write_text(text.replace("limit: 150", "limit: 60"))
    done = mlabench("run", "s.yaml", "--plugin", "mine.py", "--jobs", "2", cwd=folder)
    assert done.returncode == 0, done.stderr + done.stdout
    return folder


def test_workers_know_the_plugin(workplace: Path) -> None:
    """Both methods are the same code, so their records hold the same numbers."""
    records = lasting(workplace / "results")
    assert len(records) == 8
    twins = sorted(text for key, (text, _) in records.items() if "twin_of_concat" in key)
    assert len(twins) == 4
    for key, (text, arrays) in records.items():
        trial = json.loads(text)["trial"]
        assert trial["dataset"]["name"] == "my-stamps"
        assert {encoder["name"] for encoder in trial["encoders"].values()} == {"layers"}
        if trial["method"]["name"] == "twin_of_concat":
            like = {**trial, "method": {**trial["method"], "name": "concat"}}
            (other,) = [one for one in records.values() if json.loads(one[0])["trial"] == like]
            assert other[1] == arrays, key


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("plan s.yaml", "8 trials, 0 to run"),
        ("status s.yaml", "done"),
        ("validate s.yaml", "valid, 8 trials"),
        ("show s.yaml", "twin_of_concat"),
        ("methods twin* --json", "depends on what shares"),
        ("ls datasets my*", "my-stamps"),
        ("ls encoders layers", "mine.py"),
        ("schema", "twin_of_concat"),
        ("data list", "my-stamps"),
        ("data stats my-stamps", "Samples of my-stamps"),
        ("masks export s.yaml --out masks", "my-stamps-balanced"),
        ("doctor", "my-stamps"),
        ("report s.yaml --include-limited --out report", "Twin"),
    ],
)
def test_commands_know_the_plugin(command: str, expected: str, workplace: Path) -> None:
    done = invoke(*command.split(), "--plugin", "mine.py", cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout


def test_results_are_reported_without_the_plugin(workplace: Path) -> None:
    done = invoke("report", "results", "--include-limited", "--out", "again", cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert "Twin" in done.stdout
    assert invoke("validate", "s.yaml", cwd=workplace).returncode == 2


def test_a_changed_plugin_makes_its_trials_stale(workplace: Path) -> None:
    changed = (workplace / "mine.py").read_text().replace('"Twin"', '"Twins"')
    (workplace / "changed").mkdir()
    (workplace / "changed" / "mine.py").write_text(changed)
    (found,) = json.loads(invoke("status", "s.yaml", "--plugin", "changed/mine.py", "--json", cwd=workplace).stdout)
    assert found["stale"] == 4


def test_limits_are_listed(write: Write) -> None:
    path = write()
    (row,) = json.loads(invoke("methods", "twin*", "--json", "--plugin", path).stdout)
    assert row["limits"] == [
        "more than two modalities: it is a twin.",
        "a prediction depends on what shares the sample's batch",
    ]
    (row,) = json.loads(invoke("methods", "concat", "--json").stdout)
    assert row["limits"] == []
