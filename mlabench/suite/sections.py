"""The sections of a suite: what is missing, the training and its tuning; dataset, encoders and methods by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, ValidationInfo

from mlabench import registry
from mlabench.authors import AuthorsTraining
from mlabench.datasets import media_of
from mlabench.errors import UserError
from mlabench.hyperparameters import Values
from mlabench.media import Medium
from mlabench.missing import Missing, pattern_hash
from mlabench.registry import Kind, suggest
from mlabench.suite.document import EVERY, dotted, leaves
from mlabench.suite.validation import Mistakes, checker, fields_at, listed, mistake, one_of, plain_words
from mlabench.trial import SGD, Adam, AdamW, Component, Constant, Cosine, Step, Training

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
#: One missing rate, or one per modality.
Rate = float | Mapping[str, float]
# As pydantic checks it: choosing by form keeps the complaints to one per rate.
_CheckedRate = Annotated[
    Annotated[Fraction, Tag("rate")] | Annotated[dict[str, Fraction], Tag("rates")],
    Discriminator(lambda rate: "rates" if isinstance(rate, Mapping) else "rate"),
]
_Split = Literal["train", "test"]
_Evaluation = Literal["diagonal", "matrix", "subsets"]
_SelectedUnder = Literal["train", "test", "mixed"]


class Section(BaseModel):
    """Frozen; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class MissingSection(Section):
    """Which modalities are missing where."""

    protocol: Literal["balanced", "independent", "per_modality", "file"] = Field(
        default="balanced", description="How missing modalities are drawn."
    )
    rates: Annotated[tuple[_CheckedRate, ...], listed(_CheckedRate)] = Field(
        default=(0.0,),
        description="Missing rates in [0, 1), the columns of the table; for per_modality, mappings from modality "
        "to rate.",
    )
    splits: Annotated[tuple[_Split, ...], listed(_Split)] = Field(
        default=("train", "test"),
        description="Where modalities are missing; train includes validation, unless 'select' says otherwise.",
    )
    pattern_seed: int = Field(default=0, ge=0, description="Seed of the patterns, shared by all methods and seeds.")
    evaluate: Annotated[tuple[_Evaluation, ...], listed(_Evaluation)] = Field(
        default=("diagonal",),
        description="Test patterns of each training: its own rate (diagonal, always there), every rate of the suite "
        "(matrix), every combination of whole modalities (subsets).",
    )
    select: _SelectedUnder = Field(
        default="train",
        description="Patterns of the validation split, by which the epoch is selected: the training's (train), the "
        "mean over the rates under which the training is tested (test), or over both (mixed).",
    )
    file: str = Field(default="", description="The pattern of the protocol file; relative to the suite.")

    @property
    def written_rates(self) -> tuple[Rate, ...]:
        """The rates; empty if they are the default."""
        return () if self.rates == MissingSection().rates else self.rates

    def conditions(self) -> list[Missing]:
        """One recipe per rate. A rate of zero is ``complete`` whatever the protocol, so that trials are shared."""
        if self.protocol == "file":
            return [Missing(protocol="file", file=self.file, sha256=pattern_hash(Path(self.file)))]
        return [self._recipe(rate) for rate in self.rates]

    def _recipe(self, rate: Rate) -> Missing:
        if isinstance(rate, Mapping):
            rates = {modality: value for modality, value in sorted(rate.items()) if value > 0}
            return Missing(protocol="per_modality", rates=rates, seed=self.pattern_seed) if rates else Missing()
        return Missing.at("independent" if self.protocol == "independent" else "balanced", rate, self.pattern_seed)


# -- folds -------------------------------------------------------------------------------------------


class FoldsSection(Section):
    """How the dataset is divided into folds."""

    by: str = Field(
        default="",
        description="The units that are kept whole, a division of the dataset such as session or speaker; by default "
        "its own groups.",
    )
    count: int | None = Field(
        default=None, ge=2, description="Number of folds; by default each value of the division is one."
    )


#: How a suite writes them.
WrittenFolds = Literal[0, "none"] | Annotated[int, Field(ge=2)] | str | FoldsSection | None

_check_folds = checker(FoldsSection)


def read_folds(written: object, _: object = None) -> FoldsSection | None:
    """The folds: a number, the name of a division, or a mapping; None for the dataset's own split."""
    if written in (None, 0, "none"):
        return None
    if not isinstance(written, dict):
        written = {"by" if isinstance(written, str) else "count": written}
    folds: FoldsSection = _check_folds(written)
    if not folds.by and folds.count is None:
        raise mistake("needs a number of folds, or a division of the dataset.", "For example 5, or {by: session}.")
    return folds


# -- training ----------------------------------------------------------------------------------------

_Optimizer = Annotated[Adam | AdamW | SGD, one_of(Adam, AdamW, SGD)]
_Schedule = Annotated[Constant | Step | Cosine, one_of(Constant, Step, Cosine)]


class WrittenTraining(Training, title="Training"):
    """The budget and the rules that all methods of a suite share."""

    optimizer: _Optimizer = Field(default=Adam(), description="How weights are updated.")
    schedule: _Schedule = Field(default=Constant(), description="How the learning rate changes over the epochs.")


#: Whose training a method runs under. What its authors leave open is the suite's; so are the epochs, unless asked for.
Settings = Literal["suite", "authors", "authors_with_epochs"]


class OwnTraining(Section, title="MethodTraining"):
    """What this method has instead of the suite's training."""

    settings: Settings = Field(
        default="suite",
        description="Whose training the fields beside it change: the suite's, or that of the method's authors as far "
        "as it is known, with their epochs or without; by default the suite's 'settings'.",
    )
    # The rest, above all the epochs and their selection, is the same for all methods, so that they can be compared.
    batch_size: int = Field(default_factory=lambda: Training().batch_size, ge=1, description="Samples per batch.")
    optimizer: _Optimizer = Field(default_factory=Adam, description="How weights are updated.")
    schedule: _Schedule = Field(default_factory=Constant, description="How the learning rate changes over the epochs.")
    clip_norm: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description=Training.model_fields["clip_norm"].description
    )


#: What a method may have of its own.
OWN = tuple(field for field in OwnTraining.model_fields if field != "settings")
_check_training, _check_own = checker(WrittenTraining), checker(OwnTraining)


def read_training(written: object, _: object = None) -> Training:
    """The suite's training."""
    return Training(**dict(_check_training(written)))


def read_own_training(written: object, base: Training) -> Training:
    """The training of a method: what is ``written`` in its entry on top of ``base``."""
    fields = written if isinstance(written, dict) else {}
    common = [field for field in Training.model_fields if field in fields.keys() - {*OWN}]
    own = {field: _on_top(getattr(base, field, None), value) for field, value in fields.items() if field not in common}
    with Mistakes() as mistakes:
        for field in common:
            problem = "is the same for all methods of a suite, so that they can be compared."
            mistakes.add(problem, "Set it in the suite's own 'training'.", field=(field,))
        with mistakes.below():
            checked = _check_own(own if fields else written)
    return base.model_copy(
        update={field: getattr(checked, field) for field in OWN if field in checked.model_fields_set}
    )


def _of_authors(shared: Training, settings: object, declared: AuthorsTraining | None) -> Training:
    """The suite's training, or with what a method's authors use on top of it."""
    if declared is None or settings not in ("authors", "authors_with_epochs"):
        return shared
    values = {field: value for field, value in declared.values.items() if field != "epochs" or settings != "authors"}
    return shared.model_copy(update=values)


def _on_top(shared: Any, own: Any) -> Any:
    """Options of an optimiser or schedule on top of those that are written for all, unless it is another one."""
    if not (isinstance(shared, BaseModel) and isinstance(own, dict)):
        return own
    inherited = {**shared.model_dump(include={"name"}), **shared.model_dump(mode="json", exclude_unset=True)}
    return {**inherited, **own} if own.get("name", inherited["name"]) == inherited["name"] else own


# -- tuning ------------------------------------------------------------------------------------------


_OptimizerName = Literal["adam", "adamw", "sgd"]


def _tunable(space: dict[str, Values]) -> dict[str, Values]:
    with Mistakes() as mistakes:
        for path in space:
            section, _, field = path.partition(".")
            if section != "training" or field.partition(".")[0] not in OWN:
                problem = "is not what methods can have of their own in the training."
                remedy = f"Such fields begin with {', '.join(f'training.{own}' for own in OWN)}."
                mistakes.add(problem, remedy, field=(path,))
    return space


class TuningSection(Section):
    """How ``mlabench tune`` searches."""

    tries: int = Field(default=20, ge=1, description="Configurations tried for each method; the first is the default.")
    seed: int = Field(default=0, ge=0, lt=2**32, description="Seed of the search.")
    folds: int | None = Field(
        default=None, ge=1, description="Train each try on so many of the suite's folds, the first; by default on all."
    )
    optimizers: Annotated[tuple[_OptimizerName, ...], listed(_OptimizerName)] = Field(
        default=("adam", "sgd"),
        description="Optimisers that are tried for each method beside its own, unless `space` says what is tried.",
    )
    space: Annotated[dict[str, Values], AfterValidator(_tunable)] = Field(
        default={},
        description="Fields of the suite's training that are tuned for every method, such as "
        "training.optimizer.lr; by default the optimiser, the learning rate and the weight decay.",
    )


class LabelledMethod(Section):
    """A method of a suite.

    Attributes:
        label: Its name in the suite's tables.
        method: The method.
        training: The suite's or its authors', with the entry's own on top.
        settings: Which of these was asked for.
        own: What the entry changes.
    """

    label: str
    method: Component
    training: Training
    settings: Settings = "suite"
    own: tuple[str, ...] = ()

    @property
    def declared(self) -> AuthorsTraining | None:
        """The training of its authors, if that was asked for and is known."""
        return None if self.settings == "suite" else registry.get("methods", self.method.name).about.authors_training

    @property
    def origin(self) -> str:
        """Whose training it is, for tables: ``suite``, ``authors``, or either with what the entry changes."""
        whose = self.settings.replace("_", " ")
        if self.settings != "suite" and self.declared is None:
            whose = "suite (authors' not known)"
        return " + ".join((whose, *self.own))


# -- registered classes -------------------------------------------------------------------------------

#: The encoder of what no suite and no dataset says anything about.
MLP = {"name": "mlp"}


def resolve(kind: Kind, written: object) -> Component:
    """The registered class that is ``written``, every option filled in; ``name:model`` sets its option ``model``."""
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
    refuse_repeated(keys, "rate", missing.rates, "rates")
    return missing


def refuse_repeated(keys: Sequence[object], what: str, written: Sequence[object], *field: str) -> None:
    """Refuses what is ``written`` if the same key stands further up already."""
    with Mistakes() as mistakes:
        for at, key in enumerate(keys):
            if key in keys[:at]:
                problem = f"duplicate trial: the {what} {written[at]} is listed twice."
                mistakes.add(problem, field=(*field, at))


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

    return resolve_methods(written, info.data.get("training"), info.data.get("settings", "suite"), refusals)


def shared_training(written: object) -> Training | None:
    """The suite's training; None if there are mistakes in it."""
    try:
        return read_training({} if written is None else written)
    except ValidationError:
        return None


def resolve_methods(
    written: object,
    shared: Training | None,
    settings: Any,
    refusals: Callable[[Component], Iterable[str]] = lambda _: (),
) -> tuple[LabelledMethod, ...]:
    """The methods that a suite lists.

    ``shared`` is its training, None if that has mistakes; ``settings`` says whose training its methods run under;
    ``refusals`` say why a method cannot do what it asks.
    """
    if not isinstance(written, list) or not written:
        what = "is required" if written is None else "must be a list of at least one method"
        raise mistake(f"{what}.", f"Known: {', '.join(registry.entries('methods'))}.")
    found: list[LabelledMethod] = []
    with Mistakes() as mistakes:
        for at, entry in enumerate(written):
            with mistakes.below(at):
                one = _method(entry, shared, settings)
                for refusal in refusals(one.method):
                    mistakes.add(refusal, field=(at,))
                for other in found:
                    if (other.method, other.training) == (one.method, one.training):
                        raise mistake(f"duplicate trial: {one.label!r} has the same configuration as {other.label!r}.")
                    if other.label == one.label:
                        problem = f"two different methods have the label {one.label!r}."
                        raise mistake(problem, "Give each its own 'label'.")
                found.append(one)
    return tuple(found)


def _method(written: object, shared: Training | None, settings: Any) -> LabelledMethod:
    entry = written if isinstance(written, dict) else {}
    label, own, about = entry.get("label", "by default"), entry.get("training"), None
    base = full = shared or Training()
    with Mistakes() as mistakes:
        if not isinstance(label, str) or not label.strip():
            mistakes.add(f"must be text, not {json.dumps(label)}.", field=("label",))
        with mistakes.below():
            options = {key: value for key, value in entry.items() if key not in ("label", "training")}
            method = resolve("methods", options if entry else written)
            about = registry.get("methods", method.name).about
        if isinstance(own, dict):
            settings = own.get("settings", settings)
        with mistakes.below("training"):
            base = _of_authors(base, settings, about.authors_training if about else None)
            full = read_own_training({} if own is None else own, base) if shared else base
    return LabelledMethod(
        label=entry.get("label") or _title(method, own),
        method=method,
        training=full,
        settings=settings,
        own=tuple(field for field in OWN if getattr(full, field) != getattr(base, field)),
    )


def _title(method: Component, training: object) -> str:
    """The method's title, what differs from its defaults, and its own training.

    For example ``MLA (gradient_modification="none", training.optimizer.lr=0.1)``.
    """
    about = registry.get("methods", method.name).about
    changed = {key: value for key, value in method.config.items() if about.defaults.get(key, ...) != value}
    if training:
        changed |= {dotted(path): value for path, value in leaves(training, ("training",))}
    changes = ", ".join(f"{field}={json.dumps(value)}" for field, value in changed.items())
    return f"{about.title} ({changes})" if changes else about.title
