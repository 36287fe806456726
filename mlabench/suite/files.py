"""Suites by name: files of a folder ``suites``, or those that mlabench brings along."""

from __future__ import annotations

from pathlib import Path

from mlabench.errors import UserError
from mlabench.registry import suggest

#: Where users keep their suites, and where the checkout has mlabench's.
HERE = Path("suites")
_ENDINGS = (".yaml", ".yml")
#: The build puts the suites here; a checkout has them beside the package.
_INSTALLED = Path(__file__).parents[1] / "suites"
_CHECKED_OUT = Path(__file__).parents[2] / "suites"


def own_folder() -> Path:
    """The folder of mlabench's own suites."""
    return _INSTALLED if _INSTALLED.is_dir() else _CHECKED_OUT


def shown(path: Path) -> str:
    """A suite's file as messages name it: of those in an installation only what follows its place."""
    inside = _INSTALLED in path.parents
    return path.relative_to(_INSTALLED.parents[1]).as_posix() if inside else str(path)


def suites_by_name(folder: Path = HERE) -> dict[str, Path]:
    """All suites that are known by name: those of ``folder``, and mlabench's own where it has none of that name."""
    files = [file for one in (own_folder(), folder) for file in one.glob("*.yaml")]
    return {file.stem: file for file in sorted(files, key=lambda file: file.stem)}


def named_suite(name: str | Path, folder: Path = HERE) -> Path | None:
    """The file of the suite with this name; None for a path, and for a name that no suite has."""
    path = Path(name)
    if len(path.parts) != 1 or path.suffix in _ENDINGS:
        return None
    candidates = (one / f"{name}.yaml" for one in (folder, own_folder()))
    return next((file for file in candidates if file.is_file()), None)


def find_suite(name: str | Path) -> Path:
    """The file of a suite: a path as it is; a name is looked up in the folder ``suites`` here, then in mlabench's own.

    ``suites/NAME.yaml`` means mlabench's own, too, where there is no such file.

    Raises:
        UserError: If no suite has this name.
    """
    path = Path(name)
    if path.suffix in _ENDINGS or len(path.parts) != 1 or path.is_file():
        own = own_folder() / path.name
        return own if path.parent == HERE and not path.exists() and own.is_file() else path
    if file := named_suite(path):
        return file
    if path.is_dir():
        return path
    near = suggest(str(name), list(suites_by_name()))
    remedy = near or "Give the path of a YAML file, or one of the names that `mlabench ls suites` lists."
    raise UserError(f"there is no suite {str(name)!r}.", remedy=remedy)


def is_suite(word: str | Path) -> bool:
    """Whether a word of the command line that may name something else means a suite."""
    return Path(word).suffix in _ENDINGS or named_suite(word) is not None


def own_suite(name: str) -> Path | None:
    """The file of mlabench's own suite with this name, whatever lies in the current folder; None if there is none."""
    return {file.stem: file for file in own_folder().glob("*.yaml")}.get(name)
