"""The commands that one starts with: a suite or a method from a template, and whether everything is in place."""

from __future__ import annotations

import keyword
import os
import platform
import re
import shlex
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from mlabench import __version__
from mlabench.cli.options import DEVICES, AsJson, PluginOption, Results, choice, use_plugins
from mlabench.errors import UserError, cannot_write

new_app = typer.Typer(name="new", help="Write the files of something new, ready to run.", no_args_is_help=True)

# -- from templates ------------------------------------------------------------------------------


def init(
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="Where to write it.")] = Path("suite.yaml"),
) -> None:
    """Write a commented suite that runs as it is, to start from."""
    write_suite(file)
    typer.echo(f"Wrote {file}. Next:\n  {shlex.join(['mlabench', 'run', str(file)])}")


@new_app.command("method")
def new_method(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What suites will call it, e.g. my_method.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write the two files.")] = Path(),
) -> None:
    """Write a method that works, and its test, to start from."""
    method, test = write_method(name, out)
    run = ["mlabench", "run", "stamps", "--plugin", str(method)]
    run += ["--method", "concat", "--method", name, "--limit", "200"]
    typer.echo(f"Wrote {method} and {test}. Next:\n  {shlex.join(['pytest', str(test)])}\n  {shlex.join(run)}")


def write_suite(path: Path) -> None:
    """Writes a commented suite."""
    if path.suffix not in (".yaml", ".yml"):
        raise UserError("a suite's name ends in .yaml.", remedy=f"Call it {path.with_suffix('.yaml')}.", file=str(path))
    _write({path: "suite.yaml"}, {})


def write_method(name: str, folder: Path) -> tuple[Path, Path]:
    """Writes a method, which suites will call ``name``, and its test. Returns their paths."""
    _check_name(name)
    words = {
        "MyMethod": "".join(word.capitalize() for word in name.split("_")),
        "my_method": name,
        "My method": name.replace("_", " ").capitalize(),
    }
    method, test = folder / f"{name}.py", folder / f"test_{name}.py"
    _write({method: "my_method.py", test: "test_my_method.py"}, words)
    return method, test


def _check_name(name: str) -> None:
    from mlabench import registry

    problem, remedy = "", "Choose another."
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or keyword.iskeyword(name):
        problem = f"{name!r} cannot be a method's name."
        remedy = "Use lower-case letters, digits and underscores, such as my_method."
    elif taken := registry.entries("methods").get(name):
        problem = f"there is a method {name!r} already, from {taken.package}."
    elif find_spec(name) is not None:
        problem = f"{name!r} is the name of a Python module that the new file would hide."
    if problem:
        raise UserError(problem, remedy=remedy, field="NAME")


def _write(templates: dict[Path, str], words: dict[str, str]) -> None:
    """Writes new files from templates with other words: all of them or, if one is there already, none."""
    for path in templates:
        if path.exists():
            raise UserError("there is such a file already.", remedy="Choose another name or folder.", file=str(path))
    for path, template in templates.items():
        text = files("mlabench.templates").joinpath(template).read_text(encoding="utf-8")
        for old, new in words.items():
            text = text.replace(old, new)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise cannot_write("this file", path, error) from error


# -- what is in place ----------------------------------------------------------------------------


def doctor(
    results: Results = Path("results"),
    device: Annotated[
        str | None, typer.Option("--device", help="Also try a device with torch: auto, cpu, cuda or mps.")
    ] = None,
    plugin: PluginOption = None,
    as_json: AsJson = False,
) -> None:
    """Show versions, machine, disk space, and which packages and data are there."""
    from mlabench.cli.console import make_console, print_listing

    use_plugins(plugin)
    if device is not None:
        choice("--device", device, DEVICES)
    print_listing(make_console(), "What there is", ("Part", "What", "State"), examine(results, device), as_json=as_json)


def examine(results: Path, device: str | None) -> Iterator[tuple[str, str, str]]:
    """Part, what and state of all to know before a run or from a bug report; imports torch only to try a device."""
    from mlabench import registry
    from mlabench.cli.listings import data_state

    yield "program", "mlabench", __version__
    yield "program", "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield from _machine(results)
    if device is not None:
        yield "device", device, _try(device)
    yield from _packages()
    for name, entry in registry.entries("datasets").items():
        yield "data", name, data_state(entry.load())


def _machine(results: Path) -> Iterator[tuple[str, str, str]]:
    import psutil

    from mlabench.registry import cache_folder
    from mlabench.running import default_jobs

    yield "machine", "cores", f"{os.cpu_count()}, of which {default_jobs('cpu')} may be used"
    yield "machine", "memory", f"{_gib(psutil.virtual_memory().available)} free"
    gpus = "there seem to be some; --device cuda tries them" if shutil.which("nvidia-smi") else "no nvidia-smi"
    yield "machine", "NVIDIA GPUs", gpus
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        yield "machine", name, f"{os.environ.get(name, 'not set')}; workers take no notice"
    for what, folder in (("results", results), ("cache", cache_folder())):
        there = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
        writable = "" if os.access(there, os.W_OK) else "; NOT WRITABLE"
        yield "disk", what, f"{_gib(shutil.disk_usage(there).free)} free at {folder}{writable}"


def _try(device: str) -> str:
    import torch

    from mlabench.training import require_device

    require_device(device)
    cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    names = [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())] if cuda else []
    return ", ".join(names) or f"usable, {torch.get_num_threads()} threads here"


def _packages() -> Iterator[tuple[str, str, str]]:
    """The installed version of all that mlabench needs, and of what its extras add."""
    for requirement in requires("mlabench") or ():
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        extra = re.search(r"""extra == ['"](\w+)""", requirement)
        if name == "mlabench" or (extra and extra[1] == "dev"):
            continue
        try:
            state = version(name)
        except PackageNotFoundError:
            state = f"missing: pip install 'mlabench[{extra[1]}]'" if extra else "MISSING: reinstall mlabench"
        yield f"packages of the extra {extra[1]}" if extra else "packages", name, state


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"
