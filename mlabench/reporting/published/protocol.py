"""The protocol behind MLA's own tables, as its released code has it, and where a trial departs from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mlabench.suite import PlannedTrial
from mlabench.trial import SGD, Component, Step

_RESNET = ("timm", {"model": "resnet18", "pretrained": False})
_M3AE = ("m3ae", {"variant": "base"})

#: The encoders by dataset and modality. Those for Kinetics-Sounds are not in the released code.
_ENCODERS: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "crema_d": {"audio": _RESNET, "video": _RESNET},
    "food101": {"text": _M3AE, "image": _M3AE},
    "mvsa": {"text": _M3AE, "image": _M3AE},
    "iemocap": {"audio": ("cav_mae", {}), "image": _M3AE, "text": _M3AE},
}

#: Value of the option ``split`` that is the paper's; Kinetics-Sounds has none, as its list was not published.
_SPLIT = "mla"

#: From the README and the arguments of the released code, which ran one seed.
_EPOCHS, _BATCH, _OPTIMIZER, _SCHEDULE = 100, 64, SGD(momentum=0.9, weight_decay=1e-4), Step()


def departures(cells: Iterable[PlannedTrial]) -> list[str]:
    """What the paper did otherwise, as far as the trials say; each said once."""
    cells = list(cells)
    found = list(dict.fromkeys(sentence for cell in cells for sentence in _departures(cell)))
    folds, seeds = ({getattr(cell.trial, name) for cell in cells} - {None} for name in ("fold", "seed"))
    if folds:
        found.append(f"{len(folds)} folds (paper: one split)")
    if len(seeds) > 1:
        found.append(f"{len(seeds)} {'repeats' if folds else 'seeds'} (released code: one run)")
    return found


def _departures(cell: PlannedTrial) -> Iterator[str]:
    trial = cell.trial
    dataset, training = trial.dataset, trial.training
    if dataset.name == "kinetics_sounds":
        yield "split and encoders (the paper's were not released)"
    elif (split := dataset.config.get("split")) != _SPLIT:
        yield f"split {split} (paper: its own list)"
    for modality, (name, options) in _ENCODERS.get(dataset.name, {}).items():
        used = trial.encoders.get(modality)
        if used and (used.name != name or any(used.config.get(option) != value for option, value in options.items())):
            yield f"{modality} encoder {_name(used)} (released code: {_name(Component(name=name, config=options))})"
    if training.selection != "best_test":
        yield f"epoch selected by {training.selection} (released code: the best on the test split)"
    if training.precision != "32":
        where = " where the machine has it" if training.precision == "auto" else ""
        yield f"bfloat16{where} (released code: 32-bit arithmetic)"
    if training.epochs != _EPOCHS or training.batch_size != _BATCH:
        yield (f"{training.epochs} epochs in batches of {training.batch_size} (released code: {_EPOCHS} and {_BATCH})")
    if training.optimizer != _OPTIMIZER or training.schedule != _SCHEDULE:
        yield (
            f"{training.optimizer.name} with a {training.schedule.name} schedule, learning rate "
            f"{training.optimizer.lr:g} (released code: sgd with a step schedule, {_OPTIMIZER.lr:g}, and its "
            "other settings)"
        )
    tests = {test.protocol for test in cell.tests}
    if trial.missing.protocol == "complete" and tests & {"balanced", "independent"}:
        yield "modalities missing in the test split only (released code: in training as well)"
    if "independent" in {*tests, trial.missing.protocol}:
        yield "modalities missing independently of each other (released code: a balanced draw)"


def _name(encoder: Component) -> str:
    model = encoder.config.get("model", encoder.config.get("variant", ""))
    pretrained = encoder.config.get("pretrained")
    extra = [str(model)] if model else []
    if "pretrained" in encoder.config:
        extra.append("pre-trained" if pretrained else "from scratch")
    return " ".join([encoder.name, *extra])
