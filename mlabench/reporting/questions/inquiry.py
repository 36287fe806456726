"""A question put to all trials that bear on it: whose they are, what is compared, and what any sceptic would object."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from mlabench.reporting import wording
from mlabench.reporting.answer import RULES, Answer, Contrast, Family, Half, Side
from mlabench.reporting.charts import Chart, difference_chart, result_charts, with_facts
from mlabench.reporting.evidence import Archive, Evidence
from mlabench.reporting.questions import common
from mlabench.reporting.results import MULTIMODAL, Results
from mlabench.reporting.table import Cell, Column, Row, Table, measure, unranked
from mlabench.statistics import Interval, corrected_resampled_t, decide, probability_better
from mlabench.suite import Plan, Question
from mlabench.words import counted

#: The setting in which all modalities are there.
COMPLETE = "0 %"


@dataclass(frozen=True, eq=False)
class Inquiry:
    """One question, and the trials of all suites that ask it of one dataset in the same way.

    Attributes:
        question: The question.
        column: The dataset, as the column of the grid is called.
        suites: The suites.
        evidence: What is known of their trials together.
    """

    question: Question
    column: str
    suites: tuple[str, ...]
    evidence: Evidence

    @property
    def results(self) -> Results:
        """All results."""
        return self.evidence.results

    @property
    def plan(self) -> Plan:
        """All trials as one plan."""
        return self.results.plan

    @property
    def method(self) -> str | None:
        """The label of the method in question."""
        return common.method_in_question(self.plan)

    def versus(self, other: str, weights: Mapping[str, float], where: str, *, brier: bool = False) -> Contrast:
        """The method in question against another: fused accuracies, weighted by setting."""
        what, unit = ("Brier score, sign turned", "hundredths") if brier else ("fused accuracy", "points")
        sign = -1.0 if brier else 1.0
        sides = [
            common.side(
                self.evidence,
                [(label, at, MULTIMODAL) for at in weights],
                [sign * weight for weight in weights.values()],
                brier=brier,
            )
            for label in (self.method or "", other)
        ]
        return Contrast(self.method or "", other, what, where, None, unit, (sides[0], sides[1]))

    def second_end_point(
        self, compared: Mapping[str, tuple[Mapping[str, float], str]]
    ) -> tuple[tuple[str, Family], ...]:
        """The same comparisons by Brier score, which sees how sure predictions are; nothing where it was not kept."""
        contrasts = [self.versus(other, *of, brier=True) for other, of in compared.items()]
        found = family(contrasts, self.plan.margin)
        if not any(one.decision for one in found.contrasts):
            return ()
        return (("By Brier score, the second end point (sign turned: above 0 is better)", found),)

    def answer(self, half: Half, family: Family, claim: str, sentence: str, rule: str, **parts: Any) -> Answer:
        """The answer, with what is the same for all answers from these trials."""
        about = wording.dataset_sentence(self.plan).removeprefix("Dataset: ").removesuffix(".")
        unit = family.contrasts[0].unit if family.contrasts else "points"
        rule = f"{rule} {RULES[family.rule]} Margin, fixed in the suite: {family.margin:g} {unit}."
        more: dict[str, Any] = {
            "samples": wording.counted_as(wording.datasets(self.plan)),
            "encoders": wording.encoders(self.plan),
            "caveats": (*self.caveats, *parts.pop("caveats", ())),
            "charts": tuple(with_facts(chart, self.results) for chart in parts.pop("charts", ())),
            "tables": (*parts.pop("tables", ()), *_checks(family)),
        }
        return Answer(
            half, self.column, about, self.suites, self.method or "", claim, family, sentence, rule, **{**parts, **more}
        )

    def conditions(self, *settings: str) -> str:
        """What a table or chart of some settings must say."""
        return wording.conditions(self.plan, self.results.on_axis(*settings))

    def accuracies(self, settings: Sequence[str]) -> Table:
        """The methods' accuracies by setting, or by modality where there is one setting."""
        evidence, results = self.evidence, self.results
        single = len(settings) == 1
        places = (
            [(settings[0], target) for target in results.targets] if single else [(at, MULTIMODAL) for at in settings]
        )
        names = results.targets if single else tuple(settings)
        kind, rows = "Accuracy" if single else "Fused accuracy", []
        for label in results.labels:
            cells = [common.accuracy_cell(evidence, label, *place) for place in places]
            more = (measure(results.at(label, settings[0], MULTIMODAL), "ece"), self._brier(label)) if single else ()
            rows.append(Row((label,), (*cells, *more, common.shortfall_cell(results, label))))
        scores = (
            " ECE: expected calibration error of the fused prediction (15 bins), in percent. Brier: its mean score, "
            "times 100: 0 is perfect, 200 the worst."
        )
        return Table(
            name="accuracies",
            title=f"{kind} of each method",
            note=f"{kind} in percent.{scores if single else ''} {common.INTERVALS}",
            conditions=self.conditions(*settings),
            heads=("Method",),
            columns=(*map(Column, names), *unranked(*(["ECE", "Brier"] if single else []), "Not there")),
            rows=tuple(rows),
        ).with_best()

    def accuracy_chart(self, name: str) -> list[Chart]:
        """One of the charts of accuracies: ``accuracy`` by modality, or ``missing_rate``; none if there is no such."""
        return [chart for chart in self._charts if chart.name == name]

    @cached_property
    def _charts(self) -> tuple[Chart, ...]:
        return result_charts(self.evidence)

    def _brier(self, label: str) -> Cell:
        found = self.evidence.brier(label, COMPLETE)
        return Cell(text="—") if found is None else Cell(text=f"{found.accuracy:.1f}")

    @cached_property
    def caveats(self) -> tuple[str, ...]:
        """What a sceptic would object to any answer from these trials."""
        return tuple(self._caveats())

    def _caveats(self) -> Iterator[str]:
        results, scores = self.results, self.results.scores
        if limited := wording.limit_sentence(scores):
            yield limited
        if "stand-in" in (data := wording.dataset_sentence(self.plan)):
            yield data
        if self.plan.paper:
            yield f"It re-runs {self.plan.paper}; numbers of another dataset, split or encoder are not comparable."
        if "WARNING" in (selection := wording.selection_sentences(scores)):
            yield selection
        trainings = scores[["seed", "fold"]].drop_duplicates().shape[0]
        if trainings == 1:
            yield "One training of each method: nothing is known of what others would do, so nothing is decided."
        elif trainings < _FEW:
            yield f"{trainings} trainings of each method: how much they vary is known roughly, so intervals are wide."
        for label, seeds in self.evidence.partial().items():
            yield f"Left out of {label}, since folds are missing: repeat {', '.join(map(str, seeds))}."
        lost = [f"{label} ({short})" for label in results.labels if (short := common.shortfall(results, label))]
        if lost:
            yield f"Trials lost: {', '.join(lost)}. A comparison uses only the trainings that both methods have."
        if results.left_out:
            yield f"{counted(len(results.left_out), 'trial')} made with a limit on the samples left out."
        for kind, found in (
            ("were corrupt and were set aside", results.set_aside),
            ("could not be read", results.unread),
        ):
            if found:
                yield f"{counted(len(found), 'record')} {kind}."
        yield from dict.fromkeys(note for record in results.records.values() for note in record.notes)
        for reason, count in Counter(self.evidence.problems.values()).items():
            yield f"Predictions of {counted(count, 'trial')} are not used: {reason}."
        yield from self._without_predictions()

    def _without_predictions(self) -> Iterator[str]:
        places = [(label, setting, MULTIMODAL) for label in self.results.labels for setting in self.results.settings]
        whole = (place for place in places if self.evidence.per_seed(*place))
        labels = dict.fromkeys(place[0] for place in whole if self.evidence.outcomes(*place) is None)
        if labels:
            yield (
                f"Which predictions are right was not kept for all trials of {wording.listed(labels)}: these are "
                "compared over trainings alone, which takes the test samples as given."
            )


#: Fewer trainings than this say little about how much training varies.
_FEW = 5


def inquiries(plans: Sequence[Plan], archive: Archive, *, include_limited: bool = False) -> Iterator[Inquiry]:
    """Every question that the plans ask of a dataset, once for all plans that ask it in the same way.

    That is: of the same data, folds and margin, and with the same options and budget of the methods that they share.
    """
    questions = sorted({question for plan in plans for question in plan.questions})
    learning: dict[str, set[str]] = {}
    for plan in (plan for plan in plans if plan.questions):
        learning.setdefault(wording.datasets(plan), set()).add(wording.encoders(plan))
    for question in questions:
        parts: list[list[Plan]] = []
        for plan in (plan for plan in plans if question in plan.questions and plan.cells):
            same = next((part for part in parts if all(_fit(plan, other) for other in part)), None)
            if same is None:
                parts.append([plan])
            else:
                same.append(plan)
        columns: set[str] = set()
        for part in sorted(parts, key=_extent):
            evidence, names = archive.evidence(part, include_limited=include_limited), [plan.name for plan in part]
            column = wording.datasets(evidence.results.plan)
            if len(learning[column]) > 1:
                column = f"{column} ({wording.encoders(evidence.results.plan)})"
            column = f"{column} ({', '.join(names)})" if column in columns else column
            columns.add(column)
            if evidence.results.settings:
                yield Inquiry(question, column, tuple(names), evidence)


def _fit(a: Plan, b: Plan) -> bool:
    """Whether the trials of two plans may be taken together."""
    first, second = _terms(a), _terms(b)
    both = first.keys() & second.keys()
    return len(both) > 1 and all(first[label] == second[label] for label in both)


def _terms(plan: Plan) -> dict[str, str]:
    """By label, what its trials have in common; under no label, what all have."""
    complete = all(cell.trial.missing.protocol == "complete" for cell in plan.cells)
    tests = {test.protocol for cell in plan.cells for test in cell.tests}
    found: dict[str, str] = {}
    for cell in plan.cells:
        if cell.label not in found:
            content = cell.trial.identity()
            fold = content.get("fold") or {}
            # Trained on complete data alone, the missing rate is that of the test.
            axis = complete and bool(tests - {"complete", "subset"})
            shared = (
                content["dataset"],
                content["limit"],
                fold.get("by"),
                fold.get("count"),
                plan.modalities,
                plan.margin,
            )
            own = {name: value for name, value in content.items() if name not in ("seed", "fold", "missing")}
            found[""] = json.dumps((*shared, axis), sort_keys=True)
            found[cell.label] = json.dumps(own, sort_keys=True)
    return found


def _extent(part: Sequence[Plan]) -> tuple[int, int]:
    """Those with the most trainings of a method come first, then those with the fewest methods."""
    cells = [cell for plan in part for cell in plan.cells]
    return -len({(cell.trial.seed, cell.trial.fold) for cell in cells}), len({cell.label for cell in cells})


# -- comparisons --------------------------------------------------------------------------------


def family(contrasts: Iterable[Contrast], margin: float, rule: Literal["all", "any"] = "all") -> Family:
    """Decides comparisons together; each knows its two sides."""
    drafts = dict(enumerate(contrasts))
    tests = {str(place): common.compared(*one.sides) if one.sides else None for place, one in drafts.items()}
    decisions = decide(tests, margin)
    return Family(tuple(replace(one, decision=decisions[str(place)]) for place, one in drafts.items()), margin, rule)


def _checks(family: Family) -> Iterator[Table]:
    """The same comparisons seen in two other ways."""
    rows = []
    for one in family.contrasts:
        first, second = (side.outcomes for side in one.sides or (Side(None, {}),) * 2)
        if one.decision is None or first is None or second is None or one.decision.comparison.trainings < 2:
            continue
        careful = corrected_resampled_t(first, second) if first.folds is not None else None
        likely = probability_better(first, second)
        cells = (
            common.difference_cell(careful),
            common.p_cell(careful.p_value if careful else None),
            Cell(interval=Interval(100 * likely.estimate, 100 * likely.low, 100 * likely.high), form="z.0f"),
        )
        rows.append(Row((one.other, one.where), cells))
    if rows:
        method = family.contrasts[0].method
        yield Table(
            name="checks",
            title="Two checks of the comparisons",
            note="Corrected resampled t: a conservative test over the trainings of all folds (Nadeau, Bengio, 2003), "
            "p uncorrected; it does not decide. P(better): how probably a training of "
            f"{method} beats its twin, of the same seed and test samples, in percent, with a 95 % interval.",
            conditions="",
            heads=("Minus", "Where"),
            columns=unranked("Corrected resampled t", "p", f"P({method} better)"),
            rows=tuple(rows),
            detail=True,
        )


def differences_chart(
    method: str, family: Family, title: str, x: Mapping[str, float] | None = None, caption: str = ""
) -> Chart:
    """The paired differences of a family: against the missing rate if given, else one row per other method."""
    line = {at: 100 * rate for at, rate in x.items()} if x and len(x) > 1 else None
    note = "Intervals cover 95 % and are not corrected for their number."
    series = family.series(line)
    return difference_chart(
        "differences", title, method, series, margin=family.margin, caption=f"{caption} {note}".strip()
    )
