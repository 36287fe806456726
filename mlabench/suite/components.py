"""Reads what a suite says about its dataset, encoders and methods: registered classes, by name, and their options."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError, ValidationInfo

from mlabench import registry
from mlabench.datasets import media_of
from mlabench.errors import UserError
from mlabench.media import Medium
from mlabench.registry import Kind, suggest
from mlabench.suite.document import EVERY, Keys, dotted, leaves
from mlabench.suite.sections import LabelledMethod, MissingSection, read_own_training, read_training
from mlabench.suite.validation import Mistakes, fields_at, mistake, plain_words
from mlabench.trial import Component, Training

#: The encoder of what no suite and no dataset says anything about.
MLP = {"name": "mlp"}


def resolve(kind: Kind, written: object) -> Component:
    """The registered class that is ``written``, with every option filled in.

    Where a class has an option ``model``, ``name:model`` is short for both.
    """
    if not isinstance(written, dict):
        raise mistake(f"must be a name or a mapping with a 'name', not {json.dumps(written)}.")
    name = written.get("name")
    if not isinstance(name, str):
        raise mistake(f"needs the 'name' of one of the {kind}: {', '.join(registry.entries(kind))}.")
    try:
        entry, model = registry.parse_name(kind, name)
    except UserError as error:
        raise mistake(error, at=("name",)) from None
    options = {key: value for key, value in written.items() if key != "name"} | ({"model": model} if model else {})
    # Importing the class is only needed for what lies deeper.
    with plain_words(options, lambda at: fields_at(entry.config, at) if at else [*entry.about.options]):
        return Component(name=entry.name, version=entry.about.version, **entry.complete(options)._asdict())


# -- the dataset and its encoders --------------------------------------------------------------------


def read_dataset(written: object, _: object) -> Component:
    """The dataset."""
    if written is None:
        raise mistake("is required.", f"Known: {', '.join(registry.entries('datasets'))}.")
    component = resolve("datasets", written)
    try:
        media_of(component)
    except UserError as error:
        raise mistake(error) from None
    return component


def _media(info: ValidationInfo) -> Mapping[str, Medium] | None:
    """What the dataset's modalities consist of; None if the dataset itself is at fault."""
    return media_of(info.data["dataset"]) if "dataset" in info.data else None


def read_encoders(written: object, info: ValidationInfo) -> dict[str, Component]:
    """One encoder per modality, in the dataset's order."""
    if not isinstance(written, dict):
        raise mistake("must be a mapping from modality to encoder, such as 'audio: mlp'.")
    known = _media(info)
    media, wanted = known or {}, written
    if info.context:  # the dataset was replaced on the command line
        wanted = {key: encoder for key, encoder in wanted.items() if key in media} | {EVERY: wanted.get(EVERY, MLP)}
    found, resolved = {}, {}
    with Mistakes() as mistakes:
        for key, encoder in wanted.items():
            with mistakes.below(key):
                found[key] = resolve("encoders", encoder)
            if key != EVERY:
                _check_modality(key, known, mistakes, key)
        for modality, medium in media.items():
            key = modality if modality in wanted else EVERY
            if key not in wanted:
                remedy = f"Add '{modality}: NAME'; encoders that read {medium}: {_readers(medium)}."
                mistakes.add(f"no encoder for the modality {modality!r}.", remedy)
            elif key in found:
                name = found[key].name
                reads = registry.get("encoders", name).about.reads
                if medium not in reads:
                    problem = f"the encoder {name!r} reads {', '.join(reads)}, but the modality {modality!r} is"
                    mistakes.add(f"{problem} {medium}.", f"Encoders that read it: {_readers(medium)}.", field=(key,))
                resolved[modality] = found[key]
    return resolved


def _readers(medium: Medium) -> str:
    entries = registry.entries("encoders").items()
    return ", ".join(name for name, entry in entries if medium in entry.about.reads) or "none"


def _check_modality(name: str, media: Mapping[str, Medium] | None, mistakes: Mistakes, *field: str | int) -> None:
    if media is not None and name not in media:
        remedy = suggest(name, list(media)) or f"It has {', '.join(media)}."
        mistakes.add(f"the dataset has no modality {name!r}.", remedy, field=field)


# -- what is missing ---------------------------------------------------------------------------------


def check_missing(missing: MissingSection, info: ValidationInfo) -> MissingSection:
    """Refuses rates and files that do not belong to the protocol, or to the dataset."""
    rates, of_modalities = missing.written_rates, missing.protocol == "per_modality"
    with Mistakes() as mistakes:
        if missing.protocol == "file":
            if rates:
                mistakes.add("the protocol 'file' takes no rates.", field=("rates",))
            if not missing.file:
                mistakes.add("is required by the protocol 'file'.", field=("file",))
        elif missing.file:
            mistakes.add("is for the protocol 'file' only.", field=("file",))
        elif of_modalities and not rates:
            mistakes.add("is required by the protocol 'per_modality', such as [{audio: 0.5}].", field=("rates",))
        takes = "numbers; 'per_modality' takes mappings" if not of_modalities else "mappings such as {audio: 0.5}"
        for at, rate in enumerate(rates if not mistakes else ()):
            if isinstance(rate, Mapping) is not of_modalities:
                mistakes.add(f"the protocol {missing.protocol!r} takes {takes}.", field=("rates", at))
            elif isinstance(rate, Mapping):
                for modality in rate:
                    _check_modality(modality, _media(info), mistakes, "rates", at, modality)
    try:
        keys = [condition.key for condition in missing.conditions()]
    except UserError as error:
        raise mistake(error, field=("file",)) from None
    with Mistakes() as mistakes:
        for at in repeated(keys):
            mistakes.add(f"duplicate trial: the rate {missing.rates[at]} is listed twice.", field=("rates", at))
    return missing


def repeated(values: Sequence[object]) -> list[int]:
    """The places of values that stand further up already."""
    return [at for at, value in enumerate(values) if value in values[:at]]


# -- methods -----------------------------------------------------------------------------------------


def read_methods(written: object, info: ValidationInfo) -> tuple[LabelledMethod, ...]:
    """The suite's methods, in its order, if they can do what the suite asks for."""
    modalities, asked = tuple(_media(info) or ()), {}
    if missing := info.data.get("missing"):
        masked = missing.protocol == "file" or bool(missing.written_rates)
        asked = {
            "more than two modalities": len(modalities) > 2,
            "missing in training": masked and "train" in missing.splits,
            "missing at test": (masked and "test" in missing.splits) or "subsets" in missing.evaluate,
        }

    def refusals(method: Component) -> Iterator[str]:
        entry = registry.get("methods", method.name)
        for limit, sentence in entry.about.limits.items():
            if asked.get(limit):
                yield f"{entry.about.title} cannot do this: {sentence}"
        if modalities and (refusal := entry.refusal(method.options, modalities)):
            yield refusal

    return resolve_methods(written, info.data.get("training"), refusals)


def shared_training(written: object) -> Training | None:
    """The suite's training; None if there are mistakes in it."""
    try:
        return read_training({} if written is None else written)
    except ValidationError:
        return None


def resolve_methods(
    written: object, shared: Training | None, refusals: Callable[[Component], Iterable[str]] = lambda _: ()
) -> tuple[LabelledMethod, ...]:
    """The methods that a suite lists.

    Args:
        written: What it says.
        shared: Its training; None if there are mistakes in that.
        refusals: Why a method cannot do what the suite asks for.
    """
    if not isinstance(written, list) or not written:
        what = "is required" if written is None else "must be a list of at least one method"
        raise mistake(f"{what}.", f"Known: {', '.join(registry.entries('methods'))}.")
    found: list[LabelledMethod] = []
    with Mistakes() as mistakes:
        for at, entry in enumerate(written):
            with mistakes.below(at):
                one = _method(entry, shared)
                for refusal in refusals(one.method):
                    mistakes.add(refusal, field=(at,))
                for other in found:
                    if (other.method, other.training) == (one.method, one.training):
                        problem = f"duplicate trial: {one.label!r} has the same configuration as {other.label!r}."
                        raise mistake(problem)
                    if other.label == one.label:
                        problem = f"two different methods have the label {one.label!r}."
                        raise mistake(problem, "Give each its own 'label'.")
                found.append(one)
    return tuple(found)


def _method(written: object, shared: Training | None) -> LabelledMethod:
    entry = written if isinstance(written, dict) else {}
    label, training = entry.get("label", "by default"), entry.get("training")
    with Mistakes() as mistakes:
        if not isinstance(label, str) or not label.strip():
            mistakes.add(f"must be text, not {json.dumps(label)}.", field=("label",))
        with mistakes.below("training"):
            full = read_own_training({} if training is None else training, shared) if shared else Training()
        with mistakes.below():
            options = {key: value for key, value in entry.items() if key not in ("label", "training")}
            method = resolve("methods", options if entry else written)
    return LabelledMethod(label=entry.get("label") or _title(method, training), method=method, training=full)


def _title(method: Component, training: object) -> str:
    """The method's title, what differs from its defaults, and its own training.

    For example ``MLA (gradient_modification="none", training.optimizer.lr=0.1)``.
    """
    about = registry.get("methods", method.name).about
    defaults = about.defaults
    changed: list[tuple[Keys, Any]] = [((key,), value) for key, value in method.config.items()]
    changed = [(path, value) for path, value in changed if defaults.get(str(path[0]), ...) != value]
    changed += leaves(training, ("training",)) if training and isinstance(training, dict) else ()
    changes = ", ".join(f"{dotted(path)}={json.dumps(value)}" for path, value in changed)
    return f"{about.title} ({changes})" if changes else about.title
