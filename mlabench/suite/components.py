"""Turns what a suite says about a dataset, an encoder or a method into fully resolved components."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

from mlabench import registry
from mlabench.datasets import media_of
from mlabench.errors import UserError
from mlabench.media import Medium
from mlabench.registry import Kind, suggest
from mlabench.suite.method_training import resolve_training
from mlabench.suite.model import EVERY, LabelledMethod, leaves
from mlabench.suite.source import Keys, Node, dotted
from mlabench.suite.validation import Problems
from mlabench.trial import Component


def resolve(kind: Kind, node: Node, path: Keys, problems: Problems) -> Component | None:
    """The registered class that ``node`` names, with every option filled in; None after noting mistakes.

    Where a class has an option ``model``, ``name:model`` is short for both.
    """
    options = node.plain()
    if not isinstance(options, dict):
        problems.add(path, f"must be a name or a mapping with a 'name', not {json.dumps(options)}.")
        return None
    name = options.pop("name", None)
    if not isinstance(name, str):
        problems.add(path, f"needs the 'name' of one of the {kind}: {', '.join(registry.entries(kind))}.")
        return None
    try:
        entry, model = registry.parse_name(kind, name)
    except UserError as error:
        problems.adopt(path, error, at=[*path, "name"])
        return None
    if model:
        options["model"] = model
    full = problems.complete(entry, options, path)
    return Component(name=entry.name, version=entry.about.version, **full._asdict()) if full else None


def resolve_dataset(tree: Node, problems: Problems) -> tuple[Component | None, Mapping[str, Medium] | None]:
    """The dataset and what its modalities consist of; None after noting mistakes."""
    node = tree.child("dataset")
    if node is None:
        problems.add(["dataset"], "is required.", f"Known: {', '.join(registry.entries('datasets'))}.")
        return None, None
    component = resolve("datasets", node, ["dataset"], problems)
    try:
        return component, media_of(component) if component else None
    except UserError as error:
        problems.adopt(["dataset"], error)
        return component, None


def resolve_methods(tree: Node, problems: Problems) -> list[LabelledMethod]:
    """The suite's methods, in its order; mistakes and duplicates are noted."""
    methods = tree.child("methods")
    if methods is None or not isinstance(methods.value, list) or not methods.value:
        what = "is required" if methods is None else "must be a list of at least one method"
        problems.add(["methods"], f"{what}.", f"Known: {', '.join(registry.entries('methods'))}.")
        return []
    found: list[LabelledMethod] = []
    for at, node in enumerate(methods.value):
        entry = _resolve_method(tree, node, ["methods", at], problems)
        if entry is None:
            continue
        for other in found:
            if (other.method, other.training) == (entry.method, entry.training):
                problem = f"duplicate trial: {entry.label!r} has the same configuration as {other.label!r}."
                problems.add(["methods", at], problem)
            elif other.label == entry.label:
                problem = f"two different methods have the label {entry.label!r}."
                problems.add(["methods", at], problem, "Give each its own 'label'.")
        found.append(entry)
    return found


def _resolve_method(tree: Node, node: Node, path: Keys, problems: Problems) -> LabelledMethod | None:
    label = node.child("label")
    if label is not None and (not isinstance(label.value, str) or not label.value.strip()):
        problems.add([*path, "label"], f"must be text, not {json.dumps(label.plain())}.")
        return None
    training = resolve_training(tree, path, problems)
    method = resolve("methods", node.without("label", "training"), path, problems)
    if method is None:
        return None
    title = _title(method, node.child("training"))
    return LabelledMethod(label=str(label.value) if label else title, method=method, training=training)


def _title(method: Component, training: Node | None) -> str:
    """The method's title, what differs from its defaults, and its own training.

    For example ``MLA (gradient_modification="none", training.optimizer.lr=0.1)``.
    """
    entry = registry.get("methods", method.name)
    defaults, title = entry.about.defaults, entry.about.title
    changed = [f"{key}={json.dumps(value)}" for key, value in method.config.items() if defaults.get(key, ...) != value]
    own = leaves(training.plain(), ("training",)) if training else ()
    changed += [f"{dotted(path)}={json.dumps(value)}" for path, value in own]
    return f"{title} ({', '.join(changed)})" if changed else title


def resolve_encoders(
    tree: Node, media: Mapping[str, Medium] | None, problems: Problems, *, adapt: bool
) -> dict[str, Component]:
    """One encoder per modality, in the dataset's order; mistakes are noted.

    Args:
        tree: The suite.
        media: The dataset's modalities and what they consist of; None if the dataset itself is at fault.
        problems: Where mistakes go.
        adapt: The dataset was replaced on the command line: encoders of modalities that it does not
            have are left out, and those it has beyond the suite's take ``"*"``, or ``mlp``.
    """
    fallback = Node({"name": Node("mlp", tree.origin)}, tree.origin)
    written = tree.child("encoders") or Node({EVERY: fallback}, tree.origin)
    if not isinstance(written.value, dict):
        problems.add(["encoders"], "must be a mapping from modality to encoder, such as 'audio: mlp'.")
        return {}
    wanted = written.value
    if adapt:
        fitting = {key: node for key, node in wanted.items() if key in (media or ())}
        wanted = {**fitting, EVERY: wanted.get(EVERY, fallback)}
    found = {key: resolve("encoders", node, ["encoders", key], problems) for key, node in wanted.items()}
    for key in found:
        if key != EVERY:
            check_modality(key, media, ["encoders", key], problems)
    resolved = {}
    for modality, medium in (media or {}).items():
        key = modality if modality in found else EVERY
        encoder = found.get(key)
        if key not in found:
            remedy = f"Add '{modality}: NAME'; encoders that read {medium}: {_readers(medium)}."
            problems.add(["encoders"], f"no encoder for the modality {modality!r}.", remedy)
        elif encoder is not None:
            _check_medium(encoder, modality, medium, ["encoders", key], problems)
            resolved[modality] = encoder
    return resolved


def _check_medium(encoder: Component, modality: str, medium: Medium, path: Keys, problems: Problems) -> None:
    """Notes if an encoder cannot read what a modality consists of."""
    reads = _reads(encoder.name)
    if medium not in reads:
        problem = f"the encoder {encoder.name!r} reads {', '.join(reads)}, but the modality {modality!r} is {medium}."
        problems.add(path, problem, f"Encoders that read it: {_readers(medium)}.")


def _readers(medium: Medium) -> str:
    return ", ".join(name for name in registry.entries("encoders") if medium in _reads(name)) or "none"


def _reads(encoder: str) -> tuple[str, ...]:
    return registry.get("encoders", encoder).about.reads


def check_modality(name: str, modalities: Collection[str] | None, path: Keys, problems: Problems) -> None:
    """Notes if the dataset lacks a modality; None stands for a dataset that is itself at fault."""
    if modalities is not None and name not in modalities:
        remedy = suggest(name, list(modalities)) or f"It has {', '.join(modalities)}."
        problems.add(path, f"the dataset has no modality {name!r}.", remedy)
