"""Weights of networks from files, without ever unpickling code."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mlabench.errors import UserError

#: Names of files that hold weights.
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
_REMEDY = f"Give a file with a state dict of tensors: {', '.join(SUFFIXES)}."
#: Under which training scripts keep the state dict inside a larger checkpoint.
_NESTED = ("state_dict", "model", "model_state_dict")
#: What ``DataParallel`` puts in front of every name.
_PARALLEL = "module."


def load_weights(path: Path) -> dict[str, Tensor]:
    """The state dict in a ``.safetensors`` file, or in one that ``torch.save`` wrote, on the CPU.

    It may be part of a larger checkpoint, under a usual name; the prefix that ``DataParallel`` leaves is removed.
    """
    path = path.expanduser()
    if not path.is_file():
        raise UserError("is not a file with weights.", remedy=_REMEDY, file=str(path))
    if path.suffix not in SUFFIXES:
        raise UserError(f"cannot hold weights: its name ends in {path.suffix!r}.", remedy=_REMEDY, file=str(path))
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about pickles that are refused right after
                content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        problem = "is damaged, or holds more than tensors, and is not loaded, since that might run code."
        raise UserError(problem, remedy=_REMEDY, file=str(path)) from error
    except Exception as error:  # a damaged file makes the parsers raise anything
        raise UserError("is damaged, or holds no weights.", remedy=_REMEDY, file=str(path)) from error
    return _state_dict(content, path)


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    if isinstance(content, Mapping):
        nested = next((content[key] for key in _NESTED if key in content), None)
        content = nested if isinstance(nested, Mapping) else content
    state = content if isinstance(content, Mapping) else {}
    if not state or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()):
        raise UserError("holds no state dict of tensors by name.", remedy=_REMEDY, file=str(path))
    prefix = _PARALLEL if all(name.startswith(_PARALLEL) for name in state) else ""
    return {name.removeprefix(prefix): value for name, value in state.items()}


def load_into(network: nn.Module, weights: Mapping[str, Tensor], path: Path, unused: Sequence[str] = ()) -> None:
    """Puts ``weights`` of the file ``path`` into ``network``; every name and shape must fit.

    Names that start with one of the prefixes ``unused``, such as a classifier's, need not be in the network.
    """
    own = network.state_dict()
    given = {name: value for name, value in weights.items() if name in own or not name.startswith(tuple(unused))}
    mistakes = {
        "missing": [name for name in own if name not in given],
        "not in the network": [name for name in given if name not in own],
        "of another shape": [
            f"{name} {_shape(value)} instead of {_shape(own[name])}"
            for name, value in given.items()
            if name in own and value.shape != own[name].shape
        ],
    }
    if any(mistakes.values()):
        listed = "; ".join(f"{kind}: {_first(names)}" for kind, names in mistakes.items() if names)
        raise UserError(
            f"does not fit the network ({listed}).",
            remedy="Give weights of the same architecture, or choose the architecture of the weights.",
            file=str(path),
        )
    network.load_state_dict(given)


def weights_by_name(network: str, source: str) -> UserError:
    """The error for ``pretrained: true`` where no index has the weights; ``source`` says how to get them."""
    return UserError(
        f"the published weights of {network} cannot be downloaded by name.",
        remedy=f"{source} and give `pretrained: PATH`, or train from scratch: `pretrained: false`.",
        field="pretrained",
    )


def _shape(value: Tensor) -> str:
    return f"[{', '.join(map(str, value.shape))}]"


def _first(names: Sequence[str], limit: int = 5) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
