"""A file in, a valid suite out, or every mistake in it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlabench import registry
from mlabench.errors import UserError
from mlabench.media import Medium
from mlabench.suite.components import check_modality, resolve_dataset, resolve_encoders, resolve_methods
from mlabench.suite.layers import find_suite, name_optimizer, read_layers
from mlabench.suite.method_training import OWN_TRAINING
from mlabench.suite.model import LabelledMethod, MissingSection, Rate, Settings, Suite
from mlabench.suite.overrides import Overrides, recommend
from mlabench.suite.source import Keys, Node, Origin
from mlabench.suite.validation import Problems
from mlabench.trial import Component

_COMPONENTS = ("dataset", "encoders", "methods")


def load_suite(source: Path | str | Mapping[str, Any], overrides: Overrides | None = None) -> Suite:
    """Reads, completes and checks a suite.

    Args:
        source: The path of a YAML file, the name of a suite, or what such a file holds as Python data.
        overrides: What the command line changes.

    Raises:
        UserError: If anything is wrong with the suite or the overrides; it lists all mistakes.
    """
    overrides = overrides or Overrides()
    layers = read_layers(source if isinstance(source, Mapping) else find_suite(source))
    tree = name_optimizer(overrides.apply(layers))
    return _check(tree, adapt=overrides.dataset is not None)


def load_dataset(name: str, overrides: Overrides) -> Component:
    """A dataset with its options, from the command line alone.

    Raises:
        UserError: If an option is unknown or has a wrong value.
    """
    _, problems, (component, _) = _inputs(name, overrides)
    if problems.errors or component is None:
        raise problems.error()
    return component


def load_inputs(name: str, overrides: Overrides) -> tuple[Component, dict[str, Component]]:
    """A dataset with its options, and encoders for it, from the command line alone.

    Args:
        name: The dataset's.
        overrides: Settings of ``dataset`` and ``encoders``; by default, encoders are those that the dataset recommends.

    Raises:
        UserError: If an option is unknown or has a wrong value, or an encoder does not fit.
    """
    tree, problems, (component, media) = _inputs(name, overrides)
    encoders = resolve_encoders(tree, media, problems, adapt=False)
    if problems.errors or component is None:
        raise problems.error()
    return component, encoders


def _inputs(
    name: str, overrides: Overrides
) -> tuple[Node, Problems, tuple[Component | None, Mapping[str, Medium] | None]]:
    flag = Origin("--set")
    tree = recommend(Node({"dataset": Node({"name": Node(name, flag)}, flag)}, flag), name, name)
    tree = overrides.apply(tree)
    problems = Problems(tree)
    return tree, problems, resolve_dataset(tree, problems)


def _check(tree: Node, *, adapt: bool) -> Suite:
    problems = Problems(tree)
    settings = problems.validate(Settings, tree.without(*_COMPONENTS).plain(), known=(*_COMPONENTS, "extends"))
    dataset, media = resolve_dataset(tree, problems)
    encoders = resolve_encoders(tree, media, problems, adapt=adapt)
    methods = resolve_methods(tree, problems)
    if settings is not None:
        for at, seed in enumerate(settings.seeds):
            if seed in settings.seeds[:at]:
                problems.add(["seeds", at], f"duplicate trial: the seed {seed} is listed twice.")
        _check_space(settings, problems)
        _check_missing(settings.missing, media, problems)
        _check_limits(methods, tuple(media or ()), settings.missing, problems)
    if problems.errors or settings is None or dataset is None:
        raise problems.error()
    suite = Suite(**dict(settings), dataset=dataset, encoders=encoders, methods=tuple(methods))
    suite._tree = tree
    return suite


def _check_limits(
    methods: Sequence[LabelledMethod], modalities: tuple[str, ...], missing: MissingSection, problems: Problems
) -> None:
    """Notes what a method cannot do, in the method's own words."""
    masked = missing.protocol == "file" or missing.rates != MissingSection().rates
    asked: dict[str, bool] = {
        "more than two modalities": len(modalities) > 2,
        "missing in training": masked and "train" in missing.splits,
        "missing at test": (masked and "test" in missing.splits) or "subsets" in missing.evaluate,
    }
    for at, entry in enumerate(methods):
        registered = registry.get("methods", entry.method.name)
        for limit, sentence in registered.about.limits.items():
            if asked[limit]:
                problems.add(["methods", at], f"{registered.about.title} cannot do this: {sentence}")
        if modalities and (refusal := registered.refusal(entry.method.options, modalities)):
            problems.add(["methods", at], refusal)


def _check_space(settings: Settings, problems: Problems) -> None:
    for path in settings.tuning.space:
        section, _, field = path.partition(".")
        if section != "training" or field.partition(".")[0] not in OWN_TRAINING:
            problem = "is not what methods can have of their own in the training."
            remedy = f"Such fields begin with {', '.join(f'training.{own}' for own in OWN_TRAINING)}."
            problems.add(["tuning", "space", path], problem, remedy)


def _check_missing(missing: MissingSection, modalities: Collection[str] | None, problems: Problems) -> None:
    before = len(problems.errors)
    rates = missing.rates if missing.rates != MissingSection().rates else ()
    if missing.protocol == "file":
        if rates:
            problems.add(["missing", "rates"], "the protocol 'file' takes no rates.")
        if not missing.file:
            problems.add(["missing", "file"], "is required by the protocol 'file'.")
    elif missing.file:
        problems.add(["missing", "file"], "is for the protocol 'file' only.")
    elif missing.protocol == "per_modality" and not rates:
        problems.add(["missing", "rates"], "is required by the protocol 'per_modality', such as [{audio: 0.5}].")
    else:
        for at, rate in enumerate(rates):
            _check_rate(missing.protocol, rate, ["missing", "rates", at], modalities, problems)
    if len(problems.errors) > before:
        return
    try:
        keys = [condition.key for condition in missing.conditions()]
    except UserError as error:
        problems.adopt(["missing", "file"], error)
        return
    for at, key in enumerate(keys):
        if key in keys[:at]:
            problems.add(["missing", "rates", at], f"duplicate trial: the rate {missing.rates[at]} is listed twice.")


def _check_rate(protocol: str, rate: Rate, path: Keys, modalities: Collection[str] | None, problems: Problems) -> None:
    if isinstance(rate, Mapping) and protocol != "per_modality":
        problems.add(path, f"the protocol {protocol!r} takes numbers; 'per_modality' takes mappings.")
    elif isinstance(rate, Mapping):
        for modality in rate:
            check_modality(modality, modalities, [*path, modality], problems)
    elif protocol == "per_modality":
        problems.add(path, "the protocol 'per_modality' takes mappings such as {audio: 0.5}.")
