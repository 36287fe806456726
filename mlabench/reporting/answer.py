"""What the report says about a question, apart from how it is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import nan
from typing import Literal, NamedTuple

from mlabench.reporting.charts import Chart, Series
from mlabench.reporting.table import Cell, Row, Table, unranked
from mlabench.reporting.wording import ends, listed, number, p_value, points
from mlabench.statistics import Decision, Interval, Outcomes, Verdict
from mlabench.suite import Question
from mlabench.words import counted

#: Of a whole family: ``mixed`` where the method is better than some and worse than others.
FamilyVerdict = Verdict | Literal["mixed"]

Half = Literal["laziness", "accuracy", "missing", "HGM", "DF", "gap", "absence"]


class Topic(NamedTuple):
    """A row of the grid of verdicts: a question or half of one, a short name, and what is asked."""

    question: Question
    name: str
    asks: str


#: In the order in which they are shown.
TOPICS: dict[Half, Topic] = {
    "laziness": Topic("Q1", "Laziness", "Does MLA get more out of the modalities that joint training leaves lazy?"),
    "accuracy": Topic("Q1", "Accuracy", "With all modalities present, is MLA's fused accuracy the highest?"),
    "missing": Topic("Q2", "Missing modalities", "Does MLA keep the highest accuracy as modalities go missing?"),
    "HGM": Topic("Q3", "HGM", "Does gradient modification raise MLA's fused accuracy?"),
    "DF": Topic("Q3", "Dynamic fusion", "Does dynamic fusion raise MLA's fused accuracy?"),
    "gap": Topic("Q4", "Modality gap", "Does MLA enlarge the gap between the modalities' embeddings?"),
    "absence": Topic("Q4", "Absence", "Is MLA hurt less than others if a modality is absent from training samples?"),
}

#: How a family's verdict follows from those of its comparisons.
RULES = {
    "all": "Better: better than every other method. Worse: worse than one or more, and better than none. Mixed: better "
    "than some and worse than others. Practically equal: better than or practically equal to every one. Undecided "
    "otherwise.",
    "any": "Better: better in one or more, worse in none. Worse: the other way round. Mixed: better in some and worse "
    "in others. Practically equal: in every one. Undecided otherwise.",
}


@dataclass(frozen=True, eq=False)
class Side:
    """One side of a comparison: numbers of each test sample, if known, and of each training (by seed and fold)."""

    outcomes: Outcomes | None
    per_training: Mapping[tuple[int, str], float]


@dataclass(frozen=True)
class Contrast:
    """One comparison: ``what`` of ``method`` minus that of ``other``, at ``where``.

    ``decision`` is None if it was not measured: the two have no runs in common. Numbers are in ``unit``; ``sides`` are
    what was compared.
    """

    method: str
    other: str
    what: str
    where: str
    decision: Decision | None
    unit: str = "points"
    sides: tuple[Side, Side] | None = field(default=None, repr=False, compare=False)

    @property
    def verdict(self) -> Verdict:
        """What is said about it."""
        return self.decision.verdict if self.decision else "undecided"

    @property
    def effect(self) -> Interval | None:
        """The difference and its 95 % interval."""
        return replace(self.decision.comparison.difference, unit=self.unit) if self.decision else None

    @property
    def numbers(self) -> dict[str, object]:
        """All of them by name, ``p`` uncorrected; none if it was not measured."""
        if self.decision is None:
            return {}
        told, one = self.decision, self.decision.comparison
        return {
            "difference": one.difference.estimate,
            "low": one.difference.low,
            "high": one.difference.high,
            "p": one.p_value,
            "p_holm": told.p_value,
            "p_equal_holm": told.equivalence_p,
            "excluded": one.excluded,
            "verdict": told.verdict,
            "needed": told.needed,
            "detectable": one.detectable,
            "seeds": one.seeds,
            "trainings": one.trainings,
            "samples": one.samples,
            "groups": one.groups,
        }

    @property
    def needed(self) -> str:
        """``about 12 more trainings would decide``, where that is known; empty for a decided one."""
        if self.decision is None:
            return "not measured"
        if self.verdict != "undecided":
            return ""
        more = self.decision.needed
        return f"about {counted(more, 'more training')} per method would decide" if more else "more trainings needed"

    @property
    def excluded(self) -> str:
        """``differ by less than 1.5 points``: what the comparison excludes, decided or not."""
        if self.decision is None or self.decision.comparison.trainings < 2:
            return ""
        return f"differ by less than {number(self.decision.comparison.excluded, self.digits)} {self.unit}"

    @property
    def statement(self) -> str:
        """All of its numbers in one sentence."""
        told = f"{self.what} of {self.method} minus {self.other} ({self.where}): "
        if self.decision is None or self.effect is None:
            return f"{told}not measured."
        parts = [
            f"{self.verdict}, {points(self.effect, self.digits)}, {p_value(self.decision.p_value)}",
            f"for a difference below {number(self.decision.margin, self.digits)} "
            f"{p_value(self.decision.equivalence_p)}",
            self.excluded,
            self.needed,
            basis(self.decision),
        ]
        return told + "; ".join(filter(None, parts)) + "."

    @property
    def digits(self) -> int:
        """Decimals that its numbers are shown with."""
        return 1 if self.unit == "points" else 2

    def told(self, name: str) -> str:
        """``name (+0.3 [−0.6, 1.2])``"""
        if self.effect is None:
            return f"{name} (not measured)"
        return f"{name} ({number(self.effect.estimate, self.digits, signed=True)} {ends(self.effect, self.digits)})"

    def cells(self) -> tuple[Cell, ...]:
        """Its row of a table, under :data:`COLUMNS`."""
        if self.decision is None:
            return *(Cell(text="—"),) * (len(COLUMNS) - 1), Cell(text="not measured")
        told, one = self.decision, self.decision.comparison
        form = f"z.{self.digits}f"
        texts = (p_value(told.p_value), p_value(told.equivalence_p), f"± {number(one.excluded, self.digits)}")
        verdict = self.verdict if self.verdict != "undecided" else f"undecided ({self.needed})"
        return (
            Cell(interval=self.effect, form=f"+{form}"),
            *(Cell(text=text.removeprefix("p ").removeprefix("= ")) for text in texts),
            Cell(text=str(one.trainings)),
            Cell(text=verdict),
        )


#: Of the table of a family's comparisons.
COLUMNS = ("Difference", "p (Holm)", "p equal (Holm)", "Excludes more than", "Trainings", "Verdict")


def basis(decision: Decision) -> str:
    """What a comparison rests on: ``n = 1,312 in 130 groups, 25 trainings per method``"""
    one = decision.comparison
    samples = f"n = {one.samples:,}" if one.samples else "over trainings alone"
    groups = f" in {one.groups:,} groups" if 0 < one.groups < one.samples else ""
    return f"{samples}{groups}, {counted(one.trainings, 'training')} per method"


@dataclass(frozen=True)
class Family:
    """Comparisons that are made together: p-values are corrected by Holm's method over them.

    ``rule`` says how its verdict follows from theirs, see :data:`RULES`.
    """

    contrasts: tuple[Contrast, ...]
    margin: float
    rule: Literal["all", "any"] = "all"

    @property
    def verdict(self) -> FamilyVerdict:
        """The verdict on all of them."""
        found = [one.verdict for one in self.contrasts]
        better, worse, open_ = "better" in found, "worse" in found, "undecided" in found
        if better and worse:
            return "mixed"
        if worse:
            return "worse"
        if better and (self.rule == "any" or set(found) == {"better"}):
            return "better"
        return "practically equal" if found and not open_ else "undecided"

    @property
    def deciding(self) -> Contrast | None:
        """The comparison that the verdict turns on: of those with this verdict the one least in favour of the method.

        None if that was not measured.
        """
        wanted = "worse" if self.verdict == "mixed" else self.verdict
        found = [one for one in self.contrasts if one.verdict == wanted and one.effect]
        return min(found, key=lambda one: one.effect.estimate if one.effect else nan, default=None)

    @property
    def effect(self) -> Interval | None:
        """That of the comparison which the verdict turns on."""
        return self.deciding.effect if self.deciding else None

    @property
    def needed(self) -> int | None:
        """About so many more trainings per method would decide all; None if decided, or not known."""
        found = [one.decision.needed if one.decision else None for one in self.contrasts if one.verdict == "undecided"]
        known = [more for more in found if more is not None]
        return max(known) if known and len(known) == len(found) else None

    def tally(self) -> str:
        """``better than 3 of 4; practically equal to QMF (+0.3 [−0.6, 1.2])``: what was found, in words."""
        words = {"better": "better than", "worse": "worse than", "practically equal": "practically equal to"}
        parts = []
        for verdict, word in (words | {"undecided": "undecided against"}).items():
            found = [one for one in self.contrasts if one.verdict == verdict]
            if len(found) > (1 if verdict == "better" else _MANY):
                every = len(found) == len(self.contrasts)
                effects = [one.effect.estimate for one in found if one.effect]
                ends = (number(end, found[0].digits, signed=True) for end in (min(effects), max(effects)))
                whom = f"{'all' if every else f'{len(found)} of'} {len(self.contrasts)} others"
                parts.append(f"{word} {whom} (by {' to '.join(ends)})" if effects else f"{word} {whom}")
            elif found:
                parts.append(f"{word} {listed(one.told(one.other) for one in found)}")
        if self.needed:
            parts[-1] += f" (about {counted(self.needed, 'more training')} per method would decide)"
        return "; ".join(parts) or "nothing to compare with"

    def table(self, name: str, title: str, note: str, conditions: str = "") -> Table:
        """One row per comparison, all numbers."""
        heads = [(one.what, one.other, one.where) for one in self.contrasts]
        shown = [place for place in range(len(_HEADS)) if place == 1 or len({row[place] for row in heads}) > 1]
        rows = [
            Row(tuple(row[place] for place in shown), one.cells())
            for row, one in zip(heads, self.contrasts, strict=True)
        ]
        names = tuple(_HEADS[place] for place in shown)
        return Table(name, title, note, conditions, names, unranked(*COLUMNS), tuple(rows))

    def series(self, x: Mapping[str, float] | None = None, by: Literal["other", "what"] = "other") -> Iterator[Series]:
        """One per other method, or per thing that is compared: its differences by ``where``, at ``x`` if given."""
        named = [(getattr(one, by), one, one.effect) for one in self.contrasts]
        for label in dict.fromkeys(name for name, _, effect in named if effect):
            own = [
                (one, effect) for name, one, effect in named if name == label and effect and (not x or one.where in x)
            ]
            yield Series(
                label,
                [x[one.where] for one, _ in own] if x else [one.where for one, _ in own],
                [effect.estimate for _, effect in own],
                [effect.low for _, effect in own],
                [effect.high for _, effect in own],
                [f"{one.verdict}; {basis(one.decision)}" for one, _ in own if one.decision],
            )


_HEADS = ("What", "Minus", "Where")

#: More methods than this are counted in a sentence rather than named.
_MANY = 5


@dataclass(frozen=True)
class Answer:
    """A question, or half of one, answered on one dataset by all the suites that ask it: a cell of the grid.

    Attributes:
        half: The row of the grid, a key of :data:`TOPICS`.
        dataset: The column of the grid.
        about: The dataset in words: what it stands in for, if it does.
        samples: The dataset whose samples these are, which has another name where two have the same.
        encoders: How the encoders learn: frozen, from scratch, ...
        suites: The suites whose trials it rests on.
        method: The label of the method in question.
        claim: What the paper claims.
        family: The comparisons that decide, of the method in question with others.
        sentence: What was found, in plain words.
        rule: How the verdict follows, with the margin.
        more: Further comparisons that do not decide, each family with its name and title.
        tables: Accuracies first, then details.
        charts: The paired differences first, then accuracies, then others.
        caveats: What a sceptic would object.
    """

    half: Half
    dataset: str
    about: str
    suites: tuple[str, ...]
    method: str
    claim: str
    family: Family
    sentence: str
    rule: str
    more: tuple[tuple[str, Family], ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    caveats: tuple[str, ...] = ()
    samples: str = ""
    encoders: str = ""

    @property
    def topic(self) -> Topic:
        """Its row of the grid, in words."""
        return TOPICS[self.half]

    @property
    def name(self) -> str:
        """What its files are called after: ``Q1_laziness_stamps``."""
        return f"{self.topic.question}_{self.half}_{self.dataset}"

    @property
    def verdict(self) -> FamilyVerdict:
        """The word in its cell."""
        return self.family.verdict

    @property
    def effect(self) -> Interval | None:
        """The number in its cell: the difference that the verdict turns on."""
        return self.family.effect

    @property
    def contrasts(self) -> Table:
        """The comparisons that decide."""
        return self.family.table("contrasts", f"{self.topic.name}: comparisons", self.rule)
