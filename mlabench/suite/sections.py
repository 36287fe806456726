"""The sections of a suite that need no registered class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag

from mlabench.hyperparameters import Values
from mlabench.missing import Missing, pattern_hash
from mlabench.suite.validation import Mistakes, checker, listed, one_of
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
        default=("train", "test"), description="Where modalities are missing; train includes validation."
    )
    pattern_seed: int = Field(default=0, ge=0, description="Seed of the patterns, shared by all methods and seeds.")
    evaluate: Annotated[tuple[_Evaluation, ...], listed(_Evaluation)] = Field(
        default=("diagonal",),
        description="Test patterns of each training: its own rate (diagonal, always there), every rate of the suite "
        "(matrix), every combination of whole modalities (subsets).",
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


# -- training ----------------------------------------------------------------------------------------

_Optimizer = Annotated[Adam | AdamW | SGD, one_of(Adam, AdamW, SGD)]
_Schedule = Annotated[Constant | Step | Cosine, one_of(Constant, Step, Cosine)]


class WrittenTraining(Training, title="Training"):
    """The budget and the rules that all methods of a suite share."""

    optimizer: _Optimizer = Field(default=Adam(), description="How weights are updated.")
    schedule: _Schedule = Field(default=Constant(), description="How the learning rate changes over the epochs.")


class OwnTraining(Section, title="MethodTraining"):
    """What this method has instead of the suite's training."""

    # The rest, above all the epochs and their selection, is the same for all methods, so that they can be compared.
    batch_size: int = Field(default_factory=lambda: Training().batch_size, ge=1, description="Samples per batch.")
    optimizer: _Optimizer = Field(default_factory=Adam, description="How weights are updated.")
    schedule: _Schedule = Field(default_factory=Constant, description="How the learning rate changes over the epochs.")


_OWN = OwnTraining.model_fields.keys()
_check_training, _check_own = checker(WrittenTraining), checker(OwnTraining)


def read_training(written: object, _: object = None) -> Training:
    """The suite's training."""
    return Training(**dict(_check_training(written)))


def read_own_training(written: object, shared: Training) -> Training:
    """The training of a method: what is ``written`` in its entry on top of what all methods share."""
    common = [field for field in Training.model_fields if isinstance(written, dict) and field in written.keys() - _OWN]
    with Mistakes() as mistakes:
        for field in common:
            problem = "is the same for all methods of a suite, so that they can be compared."
            mistakes.add(problem, "Set it in the suite's own 'training'.", field=(field,))
        with mistakes.below():
            own = written
            if isinstance(written, dict):
                options = {field: value for field, value in written.items() if field not in common}
                own = {field: _on_top(getattr(shared, field, None), value) for field, value in options.items()}
            checked = _check_own(own)
    return shared.model_copy(update={field: getattr(checked, field) for field in checked.model_fields_set})


def _on_top(shared: Any, own: Any) -> Any:
    """Options of an optimiser or schedule on top of those that are written for all, unless it is another one."""
    if not (isinstance(shared, BaseModel) and isinstance(own, dict)):
        return own
    inherited = {**shared.model_dump(include={"name"}), **shared.model_dump(mode="json", exclude_unset=True)}
    return {**inherited, **own} if own.get("name", inherited["name"]) == inherited["name"] else own


# -- tuning ------------------------------------------------------------------------------------------


def _tunable(space: dict[str, Values]) -> dict[str, Values]:
    with Mistakes() as mistakes:
        for path in space:
            section, _, field = path.partition(".")
            if section != "training" or field.partition(".")[0] not in _OWN:
                problem = "is not what methods can have of their own in the training."
                remedy = f"Such fields begin with {', '.join(f'training.{own}' for own in _OWN)}."
                mistakes.add(problem, remedy, field=(path,))
    return space


class TuningSection(Section):
    """How ``mlabench tune`` searches."""

    tries: int = Field(default=20, ge=1, description="Configurations tried for each method; the first is the default.")
    seed: int = Field(default=0, ge=0, lt=2**32, description="Seed of the search.")
    space: Annotated[dict[str, Values], AfterValidator(_tunable)] = Field(
        default={},
        description="Fields of the suite's training that are tuned for every method, such as "
        "training.optimizer.lr; by default the learning rate and the weight decay.",
    )


class LabelledMethod(Section):
    """A method, its name in the suite's tables, and its training: the suite's with the method's own on top."""

    label: str
    method: Component
    training: Training
