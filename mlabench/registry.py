"""Finds methods, datasets and encoders by name: built in, from other packages, or from single files.

Packages register all three through entry points, the same door for everybody:

    [project.entry-points."mlabench.methods"]
    mine = "my_package.my_method:MyMethod"

A file that ``--plugin`` names registers the classes that it defines (:func:`register`). Importing a method imports
torch, which takes seconds, so what a class says of itself and of options is kept in the user's cache.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import json
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.machinery import SourceFileLoader
from importlib.metadata import entry_points
from importlib.util import find_spec, resolve_name
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError, to_jsonable_python

from mlabench.authors import AuthorsTraining, UnfitOptimizers
from mlabench.errors import UserError
from mlabench.hyperparameters import Hyperparameters, Values

Kind = Literal["methods", "datasets", "encoders"]

#: What each kind derives from: a module, and the name of a class in it.
_CONTRACTS: dict[Kind, tuple[str, str]] = {
    "methods": ("mlabench.method", "Method"),
    "datasets": ("mlabench.datasets", "Dataset"),
    "encoders": ("mlabench.encoders", "Encoder"),
}


class About(BaseModel):
    """What a class says of itself: attributes that its contract explains, and what follows from its code."""

    title: str
    paper: str = ""
    version: int = 1
    limits: dict[str, str] = {}
    claims: tuple[str, ...] = ()
    authors_training: AuthorsTraining | None = None
    unfit_optimizers: UnfitOptimizers | None = None
    predicts_per_sample: bool = True
    encodes_per_sample: bool = True
    reads: tuple[str, ...] = ("features",)
    twin_of: str = ""
    samples_of: str = ""
    #: The first line of its docstring.
    summary: str
    #: The JSON schema of its ``Config``, and the options that have a default.
    config_schema: dict[str, Any]
    defaults: dict[str, Any]
    #: Differs between versions of its source (:func:`source_hash`).
    source_hash: str

    @property
    def options(self) -> dict[str, dict[str, Any]]:
        """The JSON schema of each option."""
        schema = self.config_schema
        if "$ref" in schema:  # as of options that contain themselves
            schema = schema["$defs"][schema["$ref"].removeprefix("#/$defs/")]
        return dict(schema.get("properties", {}))


class Options(NamedTuple):
    """Valid options with every default filled in, as JSON; paths on this machine apart, since they decide no result."""

    config: dict[str, Any]
    location: dict[str, str]


@dataclass(frozen=True)
class Entry:
    """One registered class, not imported yet.

    Attributes:
        kind: What it is.
        name: How suites call it.
        module: The module that defines it.
        attribute: The class in that module.
        package: Who registered it, as listings say it.
        file: Where a module lies that Python does not find by its name; None for all others.
    """

    kind: Kind
    name: str
    module: str
    attribute: str
    package: str
    file: Path | None = None

    @cached_property
    def path(self) -> Path:
        """The source file, found without importing anything."""
        path = self.file or source_file(self.module)
        if path is None:
            raise UserError(
                f"the {self.kind[:-1]} {self.name!r} is registered by {self.package} as "
                f"{self.module}:{self.attribute}, but there is no such module.",
                remedy=f"Reinstall {self.package}, or correct its entry point.",
            )
        return path

    def load(self) -> type[Any]:
        """Imports the class."""
        module = _import(self.module, self.path, named=self.file is None)
        found: type[Any] | None = getattr(module, self.attribute, None)
        if found is None:
            raise self.error(f"there is no such class, although {self.package} registers it as {self.name!r}.")
        return found

    @property
    def config(self) -> type[Hyperparameters]:
        """The class of its options. It is imported for this; :attr:`about` and :meth:`complete` rarely need it."""
        config = getattr(self.load(), "Config", Hyperparameters)
        if not (isinstance(config, type) and issubclass(config, Hyperparameters)):
            raise self.error("must derive from mlabench.hyperparameters.Hyperparameters.", "Config")
        return config

    @cached_property
    def about(self) -> About:
        """What the class says of itself."""
        return About.model_validate(self._answers.get("about", self._describe))

    @property
    def search_space(self) -> dict[str, Values]:
        """What may be tried for its options, by name."""
        found: dict[str, Values] = {}
        for name, option in self.about.options.items():
            try:
                found |= {name: Values.model_validate(option["tune"])} if "tune" in option else {}
            except ValidationError as error:
                raise self.error(f"'tune' is malformed: {error.errors()[0]['msg']}.", f"Config.{name}") from None
        return found

    def complete(self, options: Mapping[str, Any]) -> Options:
        """Checks options as strictly as JSON and fills in the defaults; raises pydantic's ``ValidationError``."""

        def ask() -> dict[str, Any]:
            fields = self.config.model_fields.items()
            try:
                config = self.config.model_validate_json(json.dumps(options), strict=True)
            except ValidationError as error:
                return {"errors": json.loads(error.json(include_url=False))}
            location = {name: str(value) for name, value in config if isinstance(value, Path)}
            # What lies at a dataset's path is known by the fingerprint, also where the path is optional.
            optional = {name for name, field in fields if Path in (field.annotation, *get_args(field.annotation))}
            hidden = location.keys() | (optional if self.kind == "datasets" else ())
            return {"config": config.model_dump(mode="json", exclude={*hidden}), "location": location}

        # Whether a `FilePath` is valid depends on what lies there.
        remembered = not re.search('"(file|directory)-path"', json.dumps(self.about.config_schema))
        answer = self._answers.get(f"complete {json.dumps(options)}", ask) if remembered else ask()
        if "errors" in answer:
            details: list[InitErrorDetails] = []
            for error in answer["errors"]:
                kind = PydanticCustomError(error["type"], error["msg"], error.get("ctx"))
                details.append({"type": kind, "loc": tuple(error["loc"]), "input": error["input"]})
            raise ValidationError.from_exception_data(f"{self.attribute}.Config", details)
        location = {name: str(Path(place).expanduser()) for name, place in answer["location"].items()}
        return Options(answer["config"], location)

    def refusal(self, options: Mapping[str, Any], modalities: tuple[str, ...]) -> str:
        """Why valid options do not fit these modalities; empty if they do."""

        def ask() -> str:
            try:
                self.config(**options).check_modalities(modalities)
            except ValueError as error:
                return str(error)
            return ""

        return str(self._answers.get(f"refusal {json.dumps([options, modalities])}", ask))

    def error(self, problem: str, field: str = "", remedy: str = "") -> UserError:
        """A mistake in the class, or in a field of it."""
        return UserError(problem, remedy=remedy, file=str(self.path), field=f"{self.attribute}.{field}".rstrip("."))

    @cached_property
    def _answers(self) -> _Answers:
        return _Answers(self.path, self.module, f"{self.kind} {self.name} {self.attribute}")

    def _describe(self) -> dict[str, Any]:
        kind, config = self.load(), self.config
        required = {name for name, field in config.model_fields.items() if field.is_required()}
        own = {name: getattr(kind, name) for name in About.model_fields if hasattr(kind, name)}
        try:
            own |= {
                "title": vars(kind).get("title") or self.name,  # a derived method has a title of its own, or its name
                "summary": (kind.__doc__ or "").strip().split("\n")[0],
                "config_schema": config.model_json_schema(),
                # Not by dumping it, which leaves out options that are not part of a trial unless they are set.
                "defaults": {
                    option: to_jsonable_python(value)
                    for option, value in config.model_construct()
                    if option not in required
                },
                "source_hash": source_hash(self.path, self.module),
            }
            return About.model_validate(own).model_dump(mode="json")
        except Exception as error:
            raise self.error(f"cannot be described: {_one_line(error)}") from error


def cache_folder() -> Path:
    """Where all that can be computed again is kept: ``$MLABENCH_CACHE``, or ``~/.cache/mlabench``."""
    return Path(os.environ.get("MLABENCH_CACHE") or Path.home() / ".cache" / "mlabench")


class _Answers:
    """What a class has answered, kept as JSON in the user's cache, so that it need not be imported again.

    An answer holds until a file changes that was loaded when it was given; Python and installed packages count by their
    versions. A cache that is damaged or cannot be written only costs time.
    """

    def __init__(self, source: Path, module: str, about: str) -> None:
        self._source, self._module = source, module
        key = hashlib.sha256(f"{source} {about}".encode()).hexdigest()[:16]
        self._file = cache_folder() / "registry" / f"{source.stem}-{key}.json"
        self._known: dict[str, Any] = {}
        with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
            seal, text = self._file.read_text(encoding="utf-8").split("\n", 1)
            content = json.loads(text)
            if seal == _seal(text, content["files"]):
                self._known = content["answers"]

    def get(self, question: str, ask: Callable[[], Any]) -> Any:
        """The answer to a question, from the class itself if it was not asked before."""
        if question not in self._known:
            self._known[question] = json.loads(json.dumps(ask()))
            with suppress(OSError):
                self._write()
        return self._known[question]

    def _write(self) -> None:
        loaded = (str(getattr(module, "__file__", "")) for name, module in [*sys.modules.items()] if name != "__main__")
        files = sorted({*map(str, _sources(self._source, self._module)), *filter(_may_change, loaded)})
        if any(Path(file).stat().st_mtime > _START for file in files):
            return  # it may have been another file when it was loaded
        text = json.dumps({"files": files, "answers": dict([*self._known.items()][-200:])})
        partial = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(f"{_seal(text, files)}\n{text}", encoding="utf-8")
        partial.replace(self._file)


_START = time.time()
_STANDARD_LIBRARY = f"{Path(os.__file__).parent}{os.sep}"
_PACKAGES = ("site-packages", "dist-packages")


def _may_change(file: str) -> bool:
    """Whether a loaded file is source code of neither Python nor an installed package."""
    own = file.endswith(".py") and not file.startswith(_STANDARD_LIBRARY)
    return own and Path(file).is_absolute() and not any(folder in Path(file).parts for folder in _PACKAGES)


def _seal(text: str, files: Iterable[str]) -> str:
    """A hash of a text, of files, of Python and of the installed packages."""
    digest = hashlib.sha256(f"{_installed()} {text}".encode())
    for file in files:
        digest.update(_digest(file, Path(file).stat().st_mtime_ns))
    return digest.hexdigest()


@cache
def _digest(file: str, _changed: int) -> bytes:
    return hashlib.sha256(Path(file).read_bytes()).digest()


@cache
def _installed() -> str:
    folders = [Path(folder) for folder in sys.path if folder.endswith(_PACKAGES)]
    return str([sys.version, *sorted(path.name for folder in folders for path in folder.glob("*.dist-info"))])


def source_file(module: str) -> Path | None:
    """The source file of a module, found without importing anything (a package's ``__init__`` may be slow)."""
    top, *rest = module.split(".")
    spec = find_spec(top)
    for root in (spec.submodule_search_locations or []) if spec else []:
        for path in (Path(root, *rest).with_suffix(".py"), Path(root, *rest, "__init__.py")):
            if path.is_file():
                return path
    return Path(spec.origin) if spec and spec.origin and not rest else None


def source_hash(path: Path, module: str) -> str:
    """First 12 hex digits of a hash of a module, of those it imports from its folder, and of ``mlabench.fusion``.

    Imports count whether direct or not. The hash is taken over the syntax tree without docstrings: comments, prose and
    layout change no result.
    """
    return hashlib.sha256("".join(map(_code, _sources(path, module))).encode()).hexdigest()[:12]


#: Where many methods inherit their loss and prediction from.
_FUSION = Path(__file__).with_name("fusion.py")


def _sources(path: Path, module: str) -> list[Path]:
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    neighbours = [path]
    fusion = False
    for file in neighbours:  # grows as neighbours import each other
        for name in _imports(file, package):
            above, _, last = name.rpartition(".")
            neighbour = path.with_name(f"{last}.py")
            fusion = fusion or name == "mlabench.fusion"
            if package and above == package and neighbour.is_file() and neighbour not in neighbours:
                neighbours.append(neighbour)
    return [path, *sorted(neighbours[1:]), *([_FUSION] if fusion else ())]


def _imports(file: Path, package: str) -> Iterator[str]:
    """The modules that a file of a package imports, and what it takes from them, which may be modules, too."""
    for node in ast.walk(ast.parse(file.read_bytes(), str(file))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (package or not node.level):
            source = resolve_name("." * node.level + (node.module or ""), package)
            yield from (source, *(f"{source}.{alias.name}" for alias in node.names))


def _code(file: Path) -> str:
    """A source file without comments, docstrings and layout. Unlike a dump, it is the same in most Python versions."""
    tree = ast.parse(file.read_bytes(), str(file))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [
                one for one in node.body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))
            ]
    return ast.unparse(tree)


def _import(name: str, file: Path, *, named: bool) -> ModuleType:
    """Imports a module by its name or, if Python does not know that, from its file."""
    if name in sys.modules:
        return sys.modules[name]
    try:
        if named:
            return importlib.import_module(name)
        made = sys.modules[name] = ModuleType(name)
        made.__file__ = str(file)
        SourceFileLoader(name, str(file)).exec_module(made)
    except Exception as error:
        sys.modules.pop(name, None)
        if isinstance(error, UserError):
            raise
        places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
        places += [(error.filename or "", error.lineno)] if isinstance(error, SyntaxError) else []
        lines = [line for place, line in places if place == str(file)]
        problem = f"cannot be imported: {type(error).__name__}: {_one_line(error)}"
        raise UserError(problem, file=str(file), line=lines[-1] if lines else None) from error
    return made


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") + "."


def register(files: Iterable[Path]) -> tuple[Path, ...]:
    """Registers what the files of ``--plugin`` define, for the rest of this process.

    These are the classes at the top level of a file that derive from :class:`mlabench.method.Method`,
    :class:`mlabench.datasets.Dataset` or :class:`mlabench.encoders.Encoder`, unless the name starts with an underscore.
    A class is called by its attribute ``name`` if that is a text, else by its own name in snake case.

    Returns:
        The absolute paths, for other processes to register the same.
    """
    paths = tuple(Path(file).expanduser().resolve() for file in files)
    for entry in (entry for path in paths for entry in read(path)):
        other = entries(entry.kind).get(entry.name, entry)
        if (other.attribute, other.file) != (entry.attribute, entry.file):
            problem = f"there is a {entry.kind[:-1]} {entry.name!r} already, from {other.package}."
            raise entry.error(problem, remedy='Give the class another name: `name = "..."`.')
        if other is entry or other != entry:
            _ADDED[entry.kind, entry.name] = entry
            entries.cache_clear()
    return paths


def read(path: Path) -> list[Entry]:
    """The classes that the file at this absolute path defines, in its order."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read this plugin ({error.strerror or error}).", file=str(path)) from error
    # A file that has changed is another module.
    module = f"mlabench_plugin_{hashlib.sha256(bytes(path) + content).hexdigest()[:8]}_{path.stem}"
    classes = _Answers(path, module, "").get("classes", lambda: _classes(_import(module, path, named=False)))
    found = [Entry(kind, name, module, attribute, str(path), path) for kind, name, attribute in classes]
    if not found:
        bases = ", ".join(map(".".join, _CONTRACTS.values()))
        problem = "this plugin defines no method, dataset or encoder."
        raise UserError(problem, remedy=f"Derive a class from {bases}.", file=str(path))
    for entry in found:
        if not re.fullmatch(r"\w[\w-]*", entry.name):
            problem = f"{entry.name!r} is not a valid name."
            raise entry.error(problem, "name", "Use letters, digits, '_' and '-' only.")
    return found


def _classes(module: ModuleType) -> list[tuple[Kind, str, str]]:
    """Kind, name and attribute of what a plugin defines."""
    found: list[tuple[Kind, str, str]] = []
    for attribute, value in vars(module).items():
        own = isinstance(value, type) and (value.__module__, value.__qualname__) == (module.__name__, attribute)
        if own and not attribute.startswith("_"):
            name = vars(value).get("name")
            for kind, (contract, base) in _CONTRACTS.items():
                if contract in sys.modules and issubclass(value, getattr(sys.modules[contract], base)):
                    found.append((kind, name if isinstance(name, str) else snake_case(attribute), attribute))
    return found


def snake_case(name: str) -> str:
    """``SumOfLogits`` as ``sum_of_logits``, ``MLAReleased`` as ``mla_released``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


#: What :func:`register` registered.
_ADDED: dict[tuple[Kind, str], Entry] = {}


@cache
def entries(kind: Kind) -> dict[str, Entry]:
    """All registered classes of one kind, by name, in alphabetical order."""
    found = {entry.name: entry for entry in _ADDED.values() if entry.kind == kind}
    for point in entry_points(group=f"mlabench.{kind}"):
        entry = Entry(kind, point.name, point.module, point.attr, point.dist.name if point.dist else "?")
        other = found.setdefault(entry.name, entry)
        if (other.module, other.attribute) != (entry.module, entry.attribute):
            raise UserError(
                f"the name {entry.name!r} is registered twice among {kind}: by {other.package} and by {entry.package}.",
                remedy="Uninstall one of them, or rename its entry point.",
            )
    return dict(sorted(found.items()))


def get(kind: Kind, name: str) -> Entry:
    """The registered class called ``name``."""
    known = entries(kind)
    if name not in known:
        raise UserError(f"unknown {kind[:-1]} {name!r}.", remedy=suggest(name, known) or f"Known: {', '.join(known)}.")
    return known[name]


def parse_name(kind: Kind, name: str) -> tuple[Entry, str]:
    """The registered class of ``name`` or ``name:model``, and that model; the latter is empty in the first case."""
    prefix, colon, model = name.partition(":")
    if not colon or name in entries(kind):
        return get(kind, name), ""
    entry = get(kind, prefix)
    if not model or "model" not in entry.about.options:
        takes = "needs a model after the colon" if not model else "takes no model"
        raise UserError(f"{name!r}: {prefix!r} {takes}.", remedy=f"`mlabench ls {kind} {prefix}` lists its options.")
    return entry, model


def suggest(name: str, known: Iterable[str]) -> str:
    """``Did you mean 'x'?`` for the nearest of the ``known`` spellings, or an empty string."""
    near = difflib.get_close_matches(name, [*known], n=1, cutoff=0.5)
    return f"Did you mean {near[0]!r}?" if near else ""
