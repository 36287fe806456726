"""Results, caches, features and suites from elsewhere are data: nothing in them runs or chooses where we write."""

from __future__ import annotations

import ast
import io
import pickle
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from mlabench.cli import data as cli_data
from mlabench.datasets.manifest.feature_files import read_array, read_arrays
from mlabench.encoders.weights import load_weights
from mlabench.errors import UserError
from mlabench.media import UnreadableError
from mlabench.missing import Missing
from mlabench.record import Failure, Record
from mlabench.reporting.build import build_report
from mlabench.reporting.tables.formats import file_name
from mlabench.store import cache
from mlabench.store.records import MODEL, PREDICTIONS, RECORD, CorruptRecordError, Store, read_record
from mlabench.suite import load_suite
from mlabench.suite.plan import Plan, PlannedTrial
from mlabench.training.checkpoint import Checkpoints
from tests.command_line import ROOT
from tests.records import make_record, make_trial
from tests.reporting.browser import browser, needs_browser

SOURCES = [path for folder in ("mlabench", "baselines") for path in (ROOT / folder).rglob("*.py")]


# -- the source ----------------------------------------------------------------------------------

#: Modules that execute what they read, or start shells.
FORBIDDEN = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "tarfile", "pty", "commands"}
#: ``encoders/weights.py`` names the error by which ``torch.load(weights_only=True)`` refuses; ``unpacking.py`` reads
#: members of archives as streams, and extracts none.
ALLOWED = {("mlabench/encoders/weights.py", "pickle"), ("mlabench/datasets/sources/unpacking.py", "tarfile")}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def keyword(call: ast.Call, name: str) -> object:
    return next((ast.unparse(entry.value) for entry in call.keywords if entry.arg == name), None)


def unsafe(path: Path) -> Iterator[str]:
    """What in a source file could run what it reads."""
    tree, place = ast.parse(path.read_bytes()), path.relative_to(ROOT).as_posix()
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        yield from (
            f"imports {name}" for name in names if name.split(".")[0] in FORBIDDEN and (place, name) not in ALLOWED
        )
    for name, call in calls(tree):
        last = name.rpartition(".")[2]
        if name in ("eval", "exec", "compile", "__import__"):
            yield f"calls {name}"
        if name == "torch.load" and keyword(call, "weights_only") != "True":
            yield "torch.load without weights_only=True"
        reads_arrays = name in ("np.load", "numpy.load", "npy.read_array", "NpzFile", "np.lib.format.read_array")
        if reads_arrays and keyword(call, "allow_pickle") != "False":
            yield f"{name} without allow_pickle=False"
        if name.startswith("yaml.") and last in (
            "load",
            "load_all",
            "full_load",
            "unsafe_load",
            "Loader",
            "FullLoader",
        ):
            yield name
        if keyword(call, "shell") not in (None, "False") or name in ("os.system", "os.popen"):
            yield "a shell"
        if last in ("extractall", "extract", "unpack_archive"):
            yield f"{name} unpacks an archive"
        if keyword(call, "trust_remote_code") not in (None, "False"):
            yield "trusts remote code"


def test_nothing_in_the_package_runs_what_it_reads() -> None:
    found = {path.relative_to(ROOT).as_posix(): list(unsafe(path)) for path in SOURCES}
    assert {path: problems for path, problems in found.items() if problems} == {}


@pytest.mark.parametrize(
    "code",
    [
        "import pickle", "from marshal import loads", "torch.load(path)", "np.load(path)", "eval(text)", "exec(text)",
        "yaml.load(text)", "subprocess.run(x, shell=True)", "archive.extractall(folder)", "os.system(x)",
        "np.load(path, allow_pickle=True)", "AutoModel.from_pretrained(x, trust_remote_code=True)",
    ],
)  # fmt: skip
def test_the_search_finds_what_it_should(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.test_security.ROOT", tmp_path)
    (tmp_path / "one.py").write_text(code)
    assert list(unsafe(tmp_path / "one.py"))


# -- malicious files -----------------------------------------------------------------------------


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.target,)


@pytest.fixture
def proof(tmp_path: Path) -> Iterator[Path]:
    """What must not be there in the end."""
    path = tmp_path / "it ran"
    pickle.loads(pickle.dumps(Payload(path)))
    assert path.exists(), "the payload works"
    path.unlink()
    yield path
    assert not path.exists()


@pytest.fixture
def payload(proof: Path) -> bytes:
    return pickle.dumps(Payload(proof))


def test_a_record_is_not_unpickled(payload: bytes, tmp_path: Path) -> None:
    store, trial = Store(tmp_path / "results"), make_trial()
    store.write(make_record(trial))
    (store.folder(trial.id) / RECORD).write_bytes(payload)
    assert store.read(trial.id) is None
    assert [name for name, _ in store.set_aside] == [trial.id]


@pytest.mark.parametrize("name", [PREDICTIONS, MODEL])
def test_files_beside_a_record_are_those_that_it_was_written_with(name: str, payload: bytes, tmp_path: Path) -> None:
    store, trial = Store(tmp_path / "results"), make_trial()
    store.write(make_record(trial))
    (store.folder(trial.id) / name).write_bytes(payload)
    with pytest.raises(CorruptRecordError, match="checksum"):
        read_record(store.folder(trial.id))


def test_a_record_reads_no_file_but_its_own(tmp_path: Path) -> None:
    """Not /dev/zero, say, which has no end."""
    store, trial = Store(tmp_path / "results"), make_trial()
    forged = make_record(trial).model_copy(update={"files": {"/dev/zero": "0" * 64, "../../secret": "0" * 64}})
    folder = store.folder(trial.id)
    folder.mkdir(parents=True)
    from mlabench.store.records import _seal

    (folder / RECORD).write_text(_seal(forged.model_dump_json(indent=1)))
    assert read_record(folder).status == "ok"


def test_predictions_are_not_unpickled(proof: Path, tmp_path: Path) -> None:
    path = tmp_path / PREDICTIONS
    np.savez(path, ids=np.array([Payload(proof)], dtype=object))
    store, trial = Store(tmp_path / "results"), make_trial()
    store.write(make_record(trial))
    path.rename(store.folder(trial.id) / PREDICTIONS)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        store.predictions(trial.id)


def test_checkpoints_run_no_code(proof: Path, payload: bytes, tmp_path: Path) -> None:
    """Whether they are plain pickles or archives as torch writes them."""
    import hashlib

    archive = io.BytesIO()
    torch.save({"identity": {}, "snapshot": {"stage": Payload(proof)}}, archive)
    checkpoints = Checkpoints(tmp_path / "one", {})
    for content in (payload, archive.getvalue()):
        for digest in (b"", hashlib.sha256(content).hexdigest().encode()):
            checkpoints.path.write_bytes(digest + content)
            assert checkpoints.load() is None


def test_features_are_not_unpickled(proof: Path, payload: bytes, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.array([Payload(proof)], dtype=object))
    with pytest.raises(UnreadableError):
        read_array(tmp_path / "one.npy")
    np.savez(tmp_path / "all.npz", audio=np.array([Payload(proof)], dtype=object))
    (tmp_path / "all.safetensors").write_bytes(payload)
    for name in ("all.npz", "all.safetensors"):
        with pytest.raises(UserError, match="cannot be read"):
            read_arrays(tmp_path / name, ["audio"], rows=1)


def test_cached_arrays_are_not_unpickled(proof: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLABENCH_CACHE", str(tmp_path / "cache"))

    def make(draft: cache.Draft) -> None:
        draft.values[:] = 1
        draft.finish(draft.todo, {})

    def array() -> cache.CachedArray:
        return cache.cached_array("one", {"a": 1}, (2, 3), np.dtype(np.float32), make)

    folder = array().folder
    np.save(folder / cache.VALUES, np.array([Payload(proof)], dtype=object))
    with pytest.raises(UserError, match="damaged"):
        array()
    np.save(folder / cache.VALUES, np.ones((1, 3), np.float32))
    with pytest.raises(UserError, match=r"damaged .*shape \(1, 3\)"):
        array()


@pytest.mark.parametrize("suffix", [".pt", ".bin", ".safetensors"])
def test_weights_are_not_unpickled(suffix: str, proof: Path, payload: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(payload)
    with pytest.raises(UserError, match="damaged"):
        load_weights(path)
    torch.save({"a": Payload(proof)}, path)
    with pytest.raises(UserError, match="damaged"):
        load_weights(path)


# -- names ---------------------------------------------------------------------------------------

EVIL_NAMES = (
    "..", "../x", "../../../etc/passwd", "/etc/passwd", "a/b", "a\\b", "C:\\x", "a\0b", "x" * 300, ".hidden", "-rf",
    "con", "NUL.txt", "com1", "．．／x", "a\u2215b", "a\u202eb", "a b", "a\nb", "", "~", "$HOME", "*",
)  # fmt: skip


@pytest.mark.parametrize("name", EVIL_NAMES)
def test_a_suite_cannot_be_called_so(name: str) -> None:
    with pytest.raises(UserError) as caught:
        load_suite({"name": name, "dataset": "stamps", "encoders": "mlp", "methods": ["concat"]})
    assert caught.value.field == "name"
    assert not caught.value.others


@pytest.mark.parametrize("name", EVIL_NAMES)
def test_names_of_files_are_plain(name: str) -> None:
    """Whatever labels, datasets, methods, modalities and rates are called."""
    trial = make_trial(method=name)
    trial = trial.model_copy(update={"dataset": trial.dataset.model_copy(update={"name": name})})
    trial = trial.model_copy(update={"missing": Missing(protocol="per_modality", rates={name: 0.5})})
    for made in (trial.id, file_name(name)):
        assert re.fullmatch(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]*", made)
    assert len(trial.id) < 100


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a\0b", "x" * 300])
def test_a_plan_from_elsewhere_does_not_choose_where_its_report_goes(name: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    good = Plan(name="good", modalities=("audio",), cells=())
    store.write_plan(good)
    forged = good.model_copy(update={"name": name})
    (tmp_path / "plans" / "forged.json").write_text(forged.model_dump_json())
    assert store.plans() == [good]
    assert [error.file for error in store.unread] == [str(tmp_path / "plans" / "forged.json")]


# -- HTML ----------------------------------------------------------------------------------------

EVIL = """<script>window.hacked=1</script><img src=x onerror="window.hacked=1">"'&`</script>"""


class Elements(HTMLParser):
    """All elements of a page, with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def evil_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report in which every text that comes from elsewhere is markup."""
    folder = tmp_path_factory.mktemp("evil")
    store, complete = Store(folder / "results"), (Missing(),)
    cells = []
    for number, label in enumerate(("concat", f"late {EVIL}", "mla")):
        for seed in (0, 1):
            trial = make_trial(method=f"concat{EVIL}" if number == 1 else label, seed=seed)
            if number == 2 and seed == 1:
                failure = Failure(kind=f"Error{EVIL}", message=EVIL, traceback=EVIL)
                store.write(Record(trial=trial, status="failed", failure=failure, environment={EVIL: EVIL}))
            else:
                record = make_record(trial, 0.5 + 0.1 * number)
                store.write(record.model_copy(update={"notes": [EVIL], "environment": {EVIL: EVIL, "x": [EVIL]}}))
            cells.append(PlannedTrial(label=label, trial=trial, tests=complete))
    plan = Plan(
        name="evil", title=EVIL, questions=("Q1", "Q2", "Q4"), paper=EVIL, modalities=("audio",),
        cells=tuple(cells), source=f"title: {EVIL}\n", command=f"mlabench run {EVIL}",
    )  # fmt: skip
    build_report(store, [plan], folder / "report", console=Console(file=io.StringIO()))
    return folder / "report" / "report.html"


def test_no_text_becomes_markup(evil_page: Path) -> None:
    text = evil_page.read_text()
    assert "window.hacked" in text, "the texts are shown"
    page = Elements()
    page.feed(text)
    assert not [attributes for _, attributes in page.found if any(name.startswith("on") for name in attributes)]
    addresses = [value or "" for _, one in page.found for name, value in one.items() if name in ("href", "src")]
    assert not [one for one in addresses if re.match(r"\s*(javascript|vbscript|data:text|https?:)", one, re.IGNORECASE)]
    assert not [attributes for tag, attributes in page.found if tag == "img" and attributes["src"] == "x"]
    scripts = [attributes.get("type") for tag, attributes in page.found if tag == "script"]
    assert scripts.count(None) == 1, "ours, at the end"
    assert {*scripts} <= {None, "application/json", "text/plain"}


@needs_browser
def test_nothing_runs_in_a_browser(evil_page: Path, tmp_path: Path) -> None:
    with browser(tmp_path / "profile") as page:
        page.open(evil_page)
        assert page.evaluate("document.querySelectorAll('section').length") > 2
        assert page.evaluate("typeof window.hacked") == "undefined"


def test_markdown_and_latex_escape_too(evil_page: Path) -> None:
    for path in evil_page.parent.rglob("*.md"):
        outside = re.sub(r"^(`{3,})yaml\n.*?^\1", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
        assert "<script" not in outside, path
        assert "<img" not in outside, path
    tables = list(evil_page.parent.rglob("tables/*.tex"))
    assert tables
    for path in tables:
        assert not re.search(r"(?<!\\)[&#]\w*script|<script", path.read_text()), path


def test_masks_are_exported_into_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pattern's file is called after dataset and recipe, of which only modalities may be called anything."""
    recipe = Missing(protocol="per_modality", rates={"../../x": 0.5, "/y": 0.5})
    assert cli_data._mask_file(tmp_path, "stamps", recipe).parent == tmp_path
