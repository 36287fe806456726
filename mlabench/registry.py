"""Finds methods, datasets and encoders by name: built in, from other packages, or from single files.

Packages register all three through entry points, the same door for everybody:

    [project.entry-points."mlabench.methods"]
    mine = "my_package.my_method:MyMethod"

What a file defines is added by :mod:`mlabench.plugins`.

Listing and validating must not import torch (about two seconds), so an :class:`Entry` reads titles,
docstrings, versions and the ``Config`` class from the source file and imports the class only when
:meth:`Entry.load` is called.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from mlabench.errors import UserError
from mlabench.hyperparameters import Hyperparameters

Kind = Literal["methods", "datasets", "encoders"]

#: Modules that a ``Config`` may use, besides :class:`Hyperparameters` itself.
_CONFIG_MODULES = frozenset({"typing", "pydantic", "collections.abc", "pathlib", "mlabench.hyperparameters"})
#: A module beside the class's own that uses nothing else may hold options that several classes share.
_OPTIONS = "options"


@dataclass(frozen=True)
class Entry:
    """One registered class, described without importing it.

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

    @cached_property
    def _module(self) -> ast.Module:
        return _parse(self.path)

    @property
    def _package(self) -> str:
        """The package that the module's siblings belong to."""
        return self.module if self.path.name == "__init__.py" else self.module.rpartition(".")[0]

    @cached_property
    def _class(self) -> ast.ClassDef:
        for node in self._module.body:
            if isinstance(node, ast.ClassDef) and node.name == self.attribute:
                return node
        raise UserError(
            f"no class {self.attribute!r} at the top level, although {self.package} registers it as "
            f"the {self.kind[:-1]} {self.name!r}.",
            file=str(self.path),
        )

    def literal(self, attribute: str, default: Any) -> Any:
        """The value of a class attribute written as a literal, such as ``title`` or ``version``."""
        for node in self._class.body:
            if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
                continue
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == attribute for target in targets):
                try:
                    return ast.literal_eval(node.value)
                except ValueError as error:
                    raise UserError(
                        "must be written as a literal, so that it can be read without importing the file.",
                        file=str(self.path),
                        line=node.lineno,
                        field=f"{self.attribute}.{attribute}",
                    ) from error
        return default

    @property
    def title(self) -> str:
        """The name used in tables."""
        return str(self.literal("title", "")) or self.name

    @property
    def paper(self) -> str:
        """Link to the paper."""
        return str(self.literal("paper", ""))

    @property
    def limits(self) -> dict[str, str]:
        """What a method cannot do, each with the sentence that says so (:attr:`mlabench.method.Method.limits`)."""
        return dict(self.literal("limits", {}))

    @property
    def predicts_per_sample(self) -> bool:
        """Whether a method's prediction of a sample is the same whatever shares its batch."""
        return bool(self.literal("predicts_per_sample", True))

    @property
    def claims(self) -> tuple[str, ...]:
        """What a method's source claims of it (:attr:`mlabench.method.Method.claims`)."""
        return tuple(self.literal("claims", ()))

    @property
    def version(self) -> int:
        """Increases when a change to the code changes results."""
        return int(self.literal("version", 1))

    @cached_property
    def doc(self) -> str:
        """The class docstring."""
        return ast.get_docstring(self._class) or ""

    @property
    def summary(self) -> str:
        """First line of the class docstring."""
        return self.doc.split("\n", 1)[0]

    @cached_property
    def source_hash(self) -> str:
        """First 12 hex digits of a hash of the module and of those it imports, directly or not, from its folder.

        It is taken over the syntax tree without docstrings: comments, prose and layout change no result.
        """
        files = [self.path]
        for file in files:  # grows as neighbours import each other
            for node in ast.walk(_parse(file)):
                names = _neighbours(node, self._package) if isinstance(node, ast.ImportFrom) else []
                found = (self.path.with_name(f"{name}.py") for name in names)
                files += [path for path in dict.fromkeys(found) if path.is_file() and path not in files]
        digest = hashlib.sha256()
        for file in [self.path, *sorted(files[1:])]:
            digest.update(_code(file).encode())
        return digest.hexdigest()[:12]

    @cached_property
    def config(self) -> type[Hyperparameters]:
        """The nested ``Config`` class, compiled from the source file; the contract's empty one if it has none."""
        for node in self._class.body:
            if isinstance(node, ast.ClassDef) and node.name == "Config":
                return self._compile(node)
        return Hyperparameters

    def _compile(self, config: ast.ClassDef) -> type[Hyperparameters]:
        namespace: dict[str, Any] = {"Hyperparameters": Hyperparameters, "__name__": self.module}
        imports = [node for node in self._module.body if isinstance(node, ast.ImportFrom)]
        for node in imports:
            if node.module and _neighbours(node, self._package) == [_OPTIONS]:
                shared = {alias.asname or alias.name: self._options.get(alias.name) for alias in node.names}
                namespace |= {name: value for name, value in shared.items() if value is not None}
        self._execute([*filter(_may_be_used, imports), config], self.path, namespace)
        result: type[Hyperparameters] = namespace["Config"]
        return result

    @cached_property
    def _options(self) -> dict[str, Any]:
        """What the module ``options`` beside the class's own holds, compiled from its source; empty without one."""
        file = self.path.with_name(f"{_OPTIONS}.py")
        namespace: dict[str, Any] = {"__name__": f"{self._package}.{_OPTIONS}"}
        if file.is_file():
            body = _parse(file).body
            self._execute(
                [node for node in body if _may_be_used(node) or not isinstance(node, ast.Import | ast.ImportFrom)],
                file,
                namespace,
            )
        return namespace

    def _execute(self, body: list[ast.stmt], file: Path, namespace: dict[str, Any]) -> None:
        """Runs statements of a source file."""
        code = compile(ast.Module(body=body, type_ignores=[]), str(file), "exec", dont_inherit=True)
        try:
            exec(code, namespace)  # noqa: S102  (installed code, as importing it would run)
        except NameError as error:
            raise UserError(
                f"Config uses {error.name!r}, but may use names of typing, pydantic, collections.abc, pathlib, "
                f"mlabench.hyperparameters and of the module {_OPTIONS!r} beside its own only, so that it can be read "
                "without importing torch.",
                file=str(file),
                field=f"{self.attribute}.Config",
            ) from error

    def load(self) -> type[Any]:
        """Imports the class itself.

        Raises:
            UserError: If it is defined in a file of its own that cannot be imported.
        """
        module = importlib.import_module(self.module) if self.file is None else _import_file(self.module, self.file)
        result: type[Any] = getattr(module, self.attribute)
        return result


def source_file(module: str) -> Path | None:
    """The source file of a module, found without importing anything; None if there is none."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    for root in (spec.submodule_search_locations or []) if spec else []:
        for path in (Path(root, *rest).with_suffix(".py"), Path(root, *rest, "__init__.py")):
            if path.is_file():
                return path
    return Path(spec.origin) if spec and spec.origin and not rest else None


def _import_file(module: str, file: Path) -> ModuleType:
    if module in sys.modules:
        return sys.modules[module]
    spec = importlib.util.spec_from_file_location(module, file)
    if spec is None or spec.loader is None:
        raise UserError("is no Python file.", file=str(file))
    made = sys.modules[module] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(made)
    except Exception as error:
        del sys.modules[module]
        problem = f"cannot be imported: {type(error).__name__}: {error}"
        raise UserError(f"{problem.rstrip('.')}.", file=str(file)) from error
    return made


def _parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def _may_be_used(node: ast.stmt) -> bool:
    """Whether a statement imports from where a ``Config`` may."""
    return isinstance(node, ast.ImportFrom) and node.module in _CONFIG_MODULES


def _neighbours(node: ast.ImportFrom, package: str) -> list[str]:
    """The modules of ``package`` that an absolute or relative import may mean, without its name."""
    source = ".".join(part for part in (package if node.level == 1 else "", node.module or "") if part)
    if source == package:
        return [alias.name for alias in node.names]
    return [source.removeprefix(f"{package}.")] if package and source.startswith(f"{package}.") else []


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


#: Classes that :func:`add` registered.
_ADDED: list[Entry] = []


def add(found: Iterable[Entry]) -> None:
    """Registers classes for the rest of this process. Adding one again changes nothing.

    Raises:
        UserError: If the name of one is taken.
    """
    for entry in found:
        other = entries(entry.kind).get(entry.name)
        if other is None:
            _ADDED.append(entry)
            entries.cache_clear()
        elif other != entry:
            raise UserError(
                f"there is a {entry.kind[:-1]} {entry.name!r} already, from {other.package}.",
                remedy='Give the class another name: `name = "..."`.',
                file=str(entry.path),
                field=entry.attribute,
            )


@cache
def entries(kind: Kind) -> dict[str, Entry]:
    """All registered classes of one kind, by name, in alphabetical order.

    Raises:
        UserError: If two packages register the same name.
    """
    found = {entry.name: entry for entry in _ADDED if entry.kind == kind}
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
    if not model or "model" not in entry.config.model_fields:
        takes = "needs a model after the colon" if not model else "takes no model"
        raise UserError(f"{name!r}: {prefix!r} {takes}.", remedy=f"`mlabench ls {kind} {prefix}` lists its options.")
    return entry, model


def suggest(name: str, known: dict[str, Any] | list[str]) -> str:
    """``Did you mean 'x'?`` for the nearest of the ``known`` spellings, or an empty string."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"Did you mean {near[0]!r}?" if near else ""
