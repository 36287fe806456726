"""Finds methods, datasets and encoders by name: built in, from other packages, or from single files.

Packages register all three through entry points, the same door for everybody:

    [project.entry-points."mlabench.methods"]
    mine = "my_package.my_method:MyMethod"

A file that ``--plugin`` names registers every class that it defines at its top level and that derives from
:class:`mlabench.method.Method`, :class:`mlabench.datasets.Dataset` or :class:`mlabench.encoders.Encoder`, unless its
name starts with an underscore. It is called by its attribute ``name``, if it has one, else by the class name in snake
case.

Importing a method imports torch, which takes seconds. What listings and suites need to know of a class is therefore
asked once and kept in the user's cache (:class:`_Answers`).
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import importlib.util
import inspect
import json
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.machinery import SourceFileLoader
from importlib.metadata import entry_points
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from mlabench.errors import UserError
from mlabench.hyperparameters import Hyperparameters, Values

Kind = Literal["methods", "datasets", "encoders"]

#: The class that each kind derives from: its module, and its name there.
_CONTRACTS: dict[Kind, tuple[str, str]] = {
    "methods": ("mlabench.method", "Method"),
    "datasets": ("mlabench.datasets", "Dataset"),
    "encoders": ("mlabench.encoders", "Encoder"),
}
_START = time.time()
#: As many answers of a class are kept.
_KEPT = 200


class About(BaseModel):
    """What a class says of itself.

    Attributes:
        title: The name used in tables.
        paper: Link to the paper.
        version: Increases when a change to the code changes results.
        limits: What a method cannot do, each with the sentence that says so (:attr:`mlabench.method.Method.limits`).
        claims: What a method's source claims of it (:attr:`mlabench.method.Method.claims`).
        predicts_per_sample: Whether a method's prediction of a sample is the same whatever shares its batch.
        reads: The media that an encoder can read.
        twin_of: The published dataset that a dataset stands in for, if any.
        doc: The class docstring.
        config_schema: The JSON schema of its ``Config``.
        defaults: Its options that have a default, as JSON.
        places: Those of its options that may be paths.
        source_hash: See :func:`source_hash`.
    """

    model_config = ConfigDict(frozen=True)

    title: str = ""
    paper: str = ""
    version: int = 1
    limits: dict[str, str] = {}
    claims: tuple[str, ...] = ()
    predicts_per_sample: bool = True
    reads: tuple[str, ...] = ("features",)
    twin_of: str = ""
    doc: str
    config_schema: dict[str, Any]
    defaults: dict[str, Any]
    places: tuple[str, ...]
    source_hash: str

    @property
    def summary(self) -> str:
        """First line of the class docstring."""
        return self.doc.split("\n", 1)[0]

    @property
    def options(self) -> dict[str, dict[str, Any]]:
        """The JSON schema of each option."""
        return dict(self.config_schema.get("properties", {}))


class Options(NamedTuple):
    """Valid options with every default filled in, as JSON.

    Attributes:
        config: What decides results.
        location: The paths among them: where something lies on this machine, not what lies there.
    """

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
        """The source file, found without importing anything (a package's ``__init__`` may be slow)."""
        path = self.file or source_file(self.module)
        if path is not None:
            return path
        raise UserError(
            f"the {self.kind[:-1]} {self.name!r} is registered by {self.package} as "
            f"{self.module}:{self.attribute}, but there is no such module.",
            remedy=f"Reinstall {self.package}, or correct its entry point.",
        )

    def load(self) -> type[Any]:
        """Imports the class.

        Raises:
            UserError: If it is not there, or its module cannot be imported.
        """
        module = _import(self.module, self.path, by_name=self.file is None)
        try:
            result: type[Any] = attrgetter(self.attribute)(module)
        except AttributeError:
            raise UserError(
                f"no class {self.attribute!r}, although {self.package} registers it as the {self.kind[:-1]} "
                f"{self.name!r}.",
                file=str(self.path),
            ) from None
        return result

    @property
    def config(self) -> type[Hyperparameters]:
        """The class of its options. Imports the class itself: :meth:`complete` and :attr:`about` rarely have to."""
        config = getattr(self.load(), "Config", Hyperparameters)
        if not (isinstance(config, type) and issubclass(config, Hyperparameters)):
            raise self._error("must derive from mlabench.hyperparameters.Hyperparameters.", "Config")
        return config

    @property
    def source_hash(self) -> str:
        """Tells versions of its source apart (:func:`source_hash`)."""
        return self.about.source_hash

    @cached_property
    def about(self) -> About:
        """What the class says of itself.

        Raises:
            UserError: If the class cannot be imported or described.
        """
        return About.model_validate(self._answers.get("about", self._describe))

    def complete(self, options: Mapping[str, Any]) -> Options:
        """Checks options as strictly as JSON and fills in the defaults.

        Raises:
            ValidationError: What the ``Config`` says about wrong ones.
        """

        def ask() -> dict[str, Any]:
            try:
                config = self.config.model_validate_json(json.dumps(options), strict=True)
            except ValidationError as error:
                return {"errors": json.loads(error.json(include_url=False))}
            location = {name: str(value) for name, value in config if isinstance(value, Path)}
            # What lies at a path of a dataset is known by the dataset's fingerprint, also where a path is optional.
            hidden = {*location, *(self.about.places if self.kind == "datasets" else ())}
            return {"config": config.model_dump(mode="json", exclude=hidden), "location": location}

        # Whether a `FilePath` is valid depends on what lies there.
        fresh = any(f'"{kind}-path"' in json.dumps(self.about.config_schema) for kind in ("file", "directory"))
        answer = ask() if fresh else self._answers.get(f"complete {json.dumps(options)}", ask)
        if "errors" in answer:
            raise ValidationError.from_exception_data(f"{self.attribute}.Config", [*map(_detail, answer["errors"])])
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

    @property
    def search_space(self) -> dict[str, Values]:
        """What may be tried for its options (:class:`Values`), by name.

        Raises:
            UserError: If a declaration is malformed.
        """
        found = {}
        for name, option in self.about.options.items():
            if "tune" in option:
                try:
                    found[name] = Values.model_validate(option["tune"])
                except ValidationError as error:
                    raise self._error(f"'tune' is malformed: {error.errors()[0]['msg']}.", f"Config.{name}") from None
        return found

    @cached_property
    def _answers(self) -> _Answers:
        return _Answers(self.path, self.module, self.attribute)

    def _describe(self) -> dict[str, Any]:
        kind, config = self.load(), self.config
        said = {name: getattr(kind, name) for name in _SAID if hasattr(kind, name)}
        fields = config.model_fields
        required = {name for name, field in fields.items() if field.is_required()}
        try:
            about = About(
                **{**said, "title": said.get("title") or self.name},
                doc=inspect.cleandoc(kind.__doc__ or ""),
                config_schema=config.model_json_schema(),
                defaults=config.model_construct().model_dump(mode="json", exclude=required),
                places=tuple(name for name, field in fields.items() if Path in _types(field.annotation)),
                source_hash=source_hash(self.path, self.module),
            )
            return about.model_dump(mode="json")
        except (ValueError, TypeError, RuntimeError) as error:
            raise self._error(f"cannot be described: {' '.join(str(error).split())}") from error

    def _error(self, problem: str, field: str = "") -> UserError:
        return UserError(problem, file=str(self.path), field=f"{self.attribute}.{field}".rstrip("."))


#: What :class:`About` takes from attributes of the class.
_SAID = ("title", "paper", "version", "limits", "claims", "predicts_per_sample", "reads", "twin_of")


def _types(annotation: Any) -> tuple[Any, ...]:
    return annotation, *get_args(annotation)


def _detail(error: dict[str, Any]) -> InitErrorDetails:
    """One of pydantic's errors, from what :meth:`pydantic.ValidationError.json` makes of it."""
    kind = PydanticCustomError(error["type"], error["msg"], error.get("ctx"))
    return InitErrorDetails(type=kind, loc=tuple(error["loc"]), input=error["input"])


# -- answers that outlive the process ----------------------------------------------------------------


def cache_folder() -> Path:
    """Where all that can be computed again is kept: ``$MLABENCH_CACHE``, or ``~/.cache/mlabench``."""
    return Path(os.environ.get("MLABENCH_CACHE") or Path.home() / ".cache" / "mlabench")


class _Answers:
    """What a class has answered, kept as JSON in the user's cache, so that it need not be imported again.

    An answer holds as long as no file has changed that was loaded when it was given; the standard library and installed
    packages count by their versions. A cache that is damaged or cannot be written only costs time.
    """

    def __init__(self, source: Path, module: str, attribute: str) -> None:
        self._source, self._module = source, module
        name = hashlib.sha256(f"{source} {attribute}".encode()).hexdigest()[:16]
        self._file = cache_folder() / "registry" / f"{source.stem}-{name}.json"
        self._known = self._read()

    def get(self, question: str, ask: Callable[[], Any]) -> Any:
        """The answer to a question, from the class itself if it was not asked before."""
        if question not in self._known:
            self._known[question] = json.loads(json.dumps(ask()))
            self._write()
        return self._known[question]

    def _read(self) -> dict[str, Any]:
        try:
            seal, _, text = self._file.read_text(encoding="utf-8").partition("\n")
            content = json.loads(text)
            return dict(content["answers"]) if seal == _seal(text, content["files"]) else {}
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return {}

    def _write(self) -> None:
        files = sorted({*map(str, _sources(self._source, self._module)), *_loaded()})
        text = json.dumps({"files": files, "answers": dict([*self._known.items()][-_KEPT:])})
        partial = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        with suppress(OSError):
            if any(Path(file).stat().st_mtime > _START for file in files):
                return  # it may have been another file when it was loaded
            self._file.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(f"{_seal(text, files)}\n{text}", encoding="utf-8")
            partial.replace(self._file)


@cache
def _surroundings() -> str:
    """Python and the installed packages, by version."""
    folders = [Path(folder) for folder in sys.path if folder.endswith("-packages") and Path(folder).is_dir()]
    return str([sys.version, *sorted(path.name for folder in folders for path in folder.glob("*.dist-info"))])


def _loaded() -> set[str]:
    """The source files that were imported, apart from the standard library and installed packages."""
    standard = str(Path(os.__file__).parent)
    modules = [module for name, module in [*sys.modules.items()] if name != "__main__"]
    files = {str(getattr(module, "__file__", None)) for module in modules}
    own = {file for file in files if "-packages" not in file and not file.startswith(standard)}
    return {file for file in own if file.endswith(".py") and Path(file).is_absolute()}


def _seal(text: str, files: Iterable[str]) -> str:
    digest = hashlib.sha256(f"{_surroundings()} {text}".encode())
    for file in files:
        state = Path(file).stat()
        digest.update(_digest(file, state.st_mtime_ns, state.st_size))
    return digest.hexdigest()


@cache
def _digest(file: str, _changed: int, _size: int) -> bytes:
    return hashlib.sha256(Path(file).read_bytes()).digest()


# -- source files ------------------------------------------------------------------------------------


def source_file(module: str) -> Path | None:
    """The source file of a module, found without importing anything; None if there is none."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    for root in (spec.submodule_search_locations or []) if spec else []:
        for path in (Path(root, *rest).with_suffix(".py"), Path(root, *rest, "__init__.py")):
            if path.is_file():
                return path
    return Path(spec.origin) if spec and spec.origin and not rest else None


def source_hash(path: Path, module: str) -> str:
    """First 12 hex digits of a hash of a module and of those it imports, directly or not, from its folder.

    It is taken over the syntax tree without docstrings: comments, prose and layout change no result.
    """
    digest = hashlib.sha256()
    for file in _sources(path, module):
        digest.update(_code(file).encode())
    return digest.hexdigest()[:12]


def _sources(path: Path, module: str) -> list[Path]:
    """The file of a module, and those of the modules of its folder that it imports, directly or not."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    files = [path]
    for file in files:  # grows as neighbours import each other
        for node in ast.walk(_parse(file)):
            names = _neighbours(node, package) if isinstance(node, ast.ImportFrom) else []
            found = (path.with_name(f"{name}.py") for name in names)
            files += [path for path in dict.fromkeys(found) if path.is_file() and path not in files]
    return [path, *sorted(files[1:])]


def _neighbours(node: ast.ImportFrom, package: str) -> list[str]:
    """The modules of ``package`` that an absolute or relative import may mean, without its name."""
    source = ".".join(part for part in (package if node.level == 1 else "", node.module or "") if part)
    if source == package:
        return [alias.name for alias in node.names]
    return [source.removeprefix(f"{package}.")] if package and source.startswith(f"{package}.") else []


def _parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def _code(file: Path) -> str:
    """A source file without comments, docstrings and layout. Unlike a dump, it is the same in most Python versions."""
    tree = _parse(file)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [
                statement
                for statement in node.body
                if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
            ]
    return ast.unparse(tree)


def _import(name: str, file: Path, *, by_name: bool) -> ModuleType:
    """Imports a module by its name or, if Python does not know that, from its file."""
    if name in sys.modules:
        return sys.modules[name]
    try:
        if by_name:
            return importlib.import_module(name)
        loader = SourceFileLoader(name, str(file))
        made = sys.modules[name] = ModuleType(name)
        made.__file__ = str(file)
        loader.exec_module(made)
    except Exception as error:
        sys.modules.pop(name, None)
        if isinstance(error, UserError):
            raise
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
        problem = f"cannot be imported: {type(error).__name__}: {error}"
        line = frames[-1].lineno if frames else None
        raise UserError(f"{problem.rstrip('.')}.", file=str(file), line=line) from error
    return made


# -- plugins -----------------------------------------------------------------------------------------


def register(files: Iterable[Path]) -> tuple[Path, ...]:
    """Registers what the files of ``--plugin`` define, for the rest of this process. Again, it changes nothing.

    Returns:
        Their absolute paths, for other processes to register the same.

    Raises:
        UserError: If one is not there, cannot be imported, defines nothing, or takes a name that is taken.
    """
    paths = tuple(Path(file).expanduser().resolve() for file in files)
    for entry in (entry for path in paths for entry in read(path)):
        other = entries(entry.kind).get(entry.name, entry)
        if (other.attribute, other.file) != (entry.attribute, entry.file):
            raise UserError(
                f"there is a {entry.kind[:-1]} {entry.name!r} already, from {other.package}.",
                remedy='Give the class another name: `name = "..."`.',
                file=str(entry.path),
                field=entry.attribute,
            )
        if _ADDED.get((entry.kind, entry.name)) != entry:
            _ADDED[entry.kind, entry.name] = entry
            entries.cache_clear()
    return paths


def read(path: Path) -> list[Entry]:
    """The classes that the file at this absolute path defines, in its order.

    Raises:
        UserError: If it is not there, cannot be imported, or defines nothing.
    """
    try:
        text = path.read_bytes()
        compile(text, str(path), "exec", dont_inherit=True)
    except OSError as error:
        raise UserError(f"cannot read this plugin ({error.strerror or error}).", file=str(path)) from error
    except (SyntaxError, ValueError) as error:
        line = error.lineno if isinstance(error, SyntaxError) else None
        problem = error.msg if isinstance(error, SyntaxError) else str(error)
        raise UserError(f"this plugin is not valid Python: {problem}.", file=str(path), line=line) from error
    # A file that has changed is another module.
    module = f"mlabench_plugin_{hashlib.sha256(bytes(path) + text).hexdigest()[:8]}_{path.stem}"
    found = _Answers(path, module, "").get("classes", lambda: _classes(_import(module, path, by_name=False), path))
    return [Entry(kind, name, module, attribute, str(path), path) for kind, name, attribute in found]


def _classes(module: ModuleType, path: Path) -> list[tuple[Kind, str, str]]:
    """Kind, name and attribute of what a plugin defines."""
    found = []
    for attribute, value in vars(module).items():
        if not (isinstance(value, type) and (value.__module__, value.__qualname__) == (module.__name__, attribute)):
            continue  # another name for a class, or one that was imported
        if attribute.startswith("_"):
            continue
        for kind, (contract, base) in _CONTRACTS.items():
            if contract in sys.modules and issubclass(value, getattr(sys.modules[contract], base)):
                name = getattr(value, "name", snake_case(attribute))
                if not isinstance(name, str) or not re.fullmatch(r"\w[\w-]*", name):
                    raise UserError(
                        f"{name!r} is not a valid name: it may have letters, digits, '_' and '-' only.",
                        file=str(path),
                        field=f"{attribute}.name",
                    )
                found.append((kind, name, attribute))
    if not found:
        raise UserError(
            "this plugin defines no method, dataset or encoder.",
            remedy=f"Derive a class from {', '.join(map('.'.join, _CONTRACTS.values()))}.",
            file=str(path),
        )
    return found


def snake_case(name: str) -> str:
    """``SumOfLogits`` as ``sum_of_logits``, ``MLAReleased`` as ``mla_released``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


# -- names -------------------------------------------------------------------------------------------

#: What :func:`register` registered.
_ADDED: dict[tuple[Kind, str], Entry] = {}


@cache
def entries(kind: Kind) -> dict[str, Entry]:
    """All registered classes of one kind, by name, in alphabetical order.

    Raises:
        UserError: If two packages register the same name.
    """
    found = {entry.name: entry for entry in _ADDED.values() if entry.kind == kind}
    for point in entry_points(group=f"mlabench.{kind}"):
        entry = Entry(kind, point.name, point.module, point.attr, point.dist.name if point.dist else "?")
        other = found.get(entry.name)
        if other and (other.module, other.attribute) != (entry.module, entry.attribute):
            raise UserError(
                f"the name {entry.name!r} is registered twice among {kind}: by {other.package} and by {entry.package}.",
                remedy="Uninstall one of them, or rename its entry point.",
            )
        found[entry.name] = entry
    return dict(sorted(found.items()))


def get(kind: Kind, name: str) -> Entry:
    """The registered class called ``name``.

    Raises:
        UserError: If there is none; it names the nearest spelling.
    """
    known = entries(kind)
    if name in known:
        return known[name]
    raise UserError(f"unknown {kind[:-1]} {name!r}.", remedy=suggest(name, known) or f"Known: {', '.join(known)}.")


def parse_name(kind: Kind, name: str) -> tuple[Entry, str]:
    """The registered class of ``name`` or ``name:model``, and that model; the latter is empty in the first case.

    Raises:
        UserError: If there is no such class, or it has no option ``model``.
    """
    prefix, colon, model = name.partition(":")
    if not colon or name in entries(kind):
        return get(kind, name), ""
    entry = get(kind, prefix)
    if not model or "model" not in entry.about.options:
        takes = "needs a model after the colon" if not model else "takes no model"
        raise UserError(f"{name!r}: {prefix!r} {takes}.", remedy=f"`mlabench ls {kind} {prefix}` lists its options.")
    return entry, model


def suggest(name: str, known: dict[str, Any] | list[str]) -> str:
    """``Did you mean 'x'?`` for the nearest of the ``known`` spellings, or an empty string."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"Did you mean {near[0]!r}?" if near else ""
