"""Whether methods do what their sources claim, and none does what cannot be done: on data made for that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mlabench import registry
from mlabench.errors import UserError
from mlabench.reporting import wording
from mlabench.reporting.evidence import Evidence
from mlabench.reporting.questions import common
from mlabench.reporting.results import MULTIMODAL, Results
from mlabench.reporting.table import LEVEL, Cell, Row, Table, measure, unranked
from mlabench.statistics import Comparison, decide, holm, summarise
from mlabench.words import counted

RAISES, WITHSTANDS = "raises the weak modality", "withstands missing modalities"
#: Where the first claim is looked for.
_OWN, _PROBE = f"{RAISES}: its predictions", f"{RAISES}: its encoder"

_WORDS = {"better": "held", "worse": "not held", "practically equal": "not held", "undecided": "undecided"}


def verification_tables(evidence: Evidence) -> Iterator[Table]:
    """Claims and bounds, where the best possible accuracies are known."""
    results = evidence.results
    if results.scores["bayes"].notna().any():
        yield from _claims_table(evidence)
        yield _bounds_table(results)


@dataclass(frozen=True)
class _Check:
    """A claim of one method, and what it and the suite's first method reach or lose, run by run.

    ``gain`` is by how much the method is better, None if they share no run. ``hollow``: it does worse all the same, as
    one that has learned nothing has nothing to lose.
    """

    reference: Mapping[Any, float]
    own: Mapping[Any, float]
    gain: Comparison | None
    hollow: bool = False


def _claims_table(evidence: Evidence) -> Iterator[Table]:
    results = evidence.results
    checks = {claim: own for claim, own in _checks(evidence).items() if own}
    if not checks:
        return
    reference, start, end = results.labels[0], results.settings[0], results.settings[-1]
    weak, margin = _weak_modality(results), results.plan.margin
    measures = {
        _OWN: f"Predictions: the accuracy of those from {weak} alone, with {start} missing, in percent. ",
        _PROBE: f"Encoder: the accuracy of a linear probe on {weak}'s frozen encoder, in percent. ",
        WITHSTANDS: f"{WITHSTANDS.capitalize()}: what the multimodal accuracy loses from {start} to {end} "
        f"missing, in points; a method that is below {reference} at {end} all the same has not held. ",
    }
    rows, held = [], 0
    for claim, own in checks.items():
        decisions = decide({label: check.gain for label, check in own.items()}, margin)
        for label, check in own.items():
            decision = decisions[label]
            word = "not measured" if decision is None else "not held" if check.hollow else _WORDS[decision.verdict]
            held += word == "held"
            numbers = (check.reference, check.own)
            cells = (
                *(Cell(summarise(found.values())) for found in numbers),
                common.difference_cell(check.gain),
                common.p_cell(None if decision is None else decision.p_value),
                Cell(text=word),
            )
            rows.append(Row((claim, label), cells, group=claim))
    yield Table(
        name="claims",
        title=f"Verification: what the methods' sources claim, against {reference}",
        note=f"{held} of {counted(len(rows), 'check')} held. {''.join(measures[claim] for claim in checks)}"
        "Gain: by how much the method is better, in points, with a 95 % interval over trainings and test samples (over "
        "trainings alone for the encoder). Held: it lies above 0, and p, corrected by Holm's method for the methods "
        f"with the same claim, is below 0.05. Not held: it lies below 0 likewise, or within ±{margin:g} points.",
        conditions=wording.conditions(results.plan, results.on_axis()),
        heads=("Claim", "Method"),
        columns=unranked(reference, "Method", "Gain", "p", "Verdict"),
        rows=tuple(rows),
    )


def _checks(evidence: Evidence) -> dict[str, dict[str, _Check]]:
    """By claim and method."""
    results = evidence.results
    reference, *others = results.labels
    weak, start, end = _weak_modality(results), results.settings[0], results.settings[-1]
    checks: dict[str, dict[str, _Check]] = {_OWN: {}, _PROBE: {}, WITHSTANDS: {}}
    for label in others:
        claims, pair = _claims(results, label), (reference, label)
        if RAISES in claims and weak is not None:
            first, own = (evidence.per_seed(name, start, weak) for name in pair)
            gain = common.contrasted(evidence, [(name, start, weak) for name in pair], (-1.0, 1.0))
            checks[_OWN][label] = _Check(first, own, gain)
            read, own_read = (evidence.probe(name, start).get(weak, {}) for name in pair)
            checks[_PROBE][label] = _Check(read, own_read, common.over_trainings(own_read, read))
        if WITHSTANDS in claims and start != end:
            checks[WITHSTANDS][label] = _withstands(evidence, reference, label)
    return checks


def _withstands(evidence: Evidence, reference: str, label: str) -> _Check:
    ends = evidence.results.settings[0], evidence.results.settings[-1]
    reached = {name: [evidence.per_seed(name, at, MULTIMODAL) for at in ends] for name in (reference, label)}
    lost = {
        name: {run: start[run] - end[run] for run in start.keys() & end.keys()}
        for name, (start, end) in reached.items()
    }
    places = [(name, setting, MULTIMODAL) for name in (reference, label) for setting in ends]
    first, own = (summarise(reached[name][1].values()).mean for name in (reference, label))
    hollow = first is not None and own is not None and own < first
    return _Check(lost[reference], lost[label], common.contrasted(evidence, places, (1.0, -1.0, -1.0, 1.0)), hollow)


def _bounds_table(results: Results) -> Table:
    """Accuracies as shares of the best possible ones, and whether any is beyond that."""
    known = results.scores[results.scores["bayes"].notna() & (results.scores["setting"] != "")]
    tails = [
        _tail(round(n * accuracy), n, bound)
        for n, accuracy, bound in known[["n", "accuracy", "bayes"]].itertuples(index=False)
    ]
    known = known.assign(p=holm(tails), share=known["accuracy"] / known["bayes"])
    complete, *incomplete = results.settings
    places = [(complete, target) for target in results.targets] + [(setting, MULTIMODAL) for setting in incomplete]
    heads = [*results.plan.modalities, "Multimodal", *(f"{setting} missing" for setting in incomplete)]

    def at(setting: str, target: str) -> pd.DataFrame:
        return known[(known["setting"] == setting) & (known["target"] == target)]

    bounds = [Cell(text=f"{100 * at(*place)['bayes'].mean():.1f}") for place in places]
    rows = [Row(("Best possible accuracy",), (*bounds, Cell(text="—")))]
    for label in results.labels:
        shares = [measure(here[here["label"] == label], "share") for here in map(at, *zip(*places, strict=True))]
        within = _within(known.loc[known["label"] == label, "p"].tolist())
        rows.append(Row((label,), (*shares, Cell(text=within))))
    beaten = int((known["p"] < LEVEL).sum())
    return Table(
        name="bounds",
        title="Verification: accuracy as a share of the best possible one",
        note=f"{beaten or 'None'} of {len(known):,} accuracies lies beyond its bound by more than chance "
        "(one-sided binomial tests, one for each training, missing rate and modality, corrected by Holm's method; "
        "level 5 %). First row: Bayes-optimal accuracies from what is present, in percent; below: shares of them, in "
        "percent.",
        conditions=wording.conditions(results.plan, known),
        heads=("Method",),
        columns=unranked(*heads, "Bound"),
        rows=tuple(rows),
    )


def _tail(hits: int, samples: int, bound: float) -> float:
    """The probability of so many hits, or more, at the best possible accuracy.

    Under a missing pattern the samples differ in theirs; hits above the mean are then rarer still (Hoeffding, 1956).
    """
    from scipy.special import bdtrc

    return 1.0 if hits <= samples * bound else float(bdtrc(hits - 1, samples, bound))


def _within(p_values: list[float]) -> str:
    if not p_values:
        return "—"
    return "within" if min(p_values) >= LEVEL else f"beaten, {wording.p_value(min(p_values))}"


def _weak_modality(results: Results) -> str | None:
    """The one of which the least can be told; None if all are alike, or that is not known."""
    scores = results.on_axis(results.settings[0])
    bounds = scores.groupby("target")["bayes"].mean().drop(MULTIMODAL).dropna()
    return None if bounds.nunique() < 2 else str(bounds.idxmin())


def _claims(results: Results, label: str) -> tuple[str, ...]:
    """What the source of a method claims; nothing if its package is not installed here."""
    name = next(cell.trial.method.name for cell in results.plan.cells if cell.label == label)
    try:
        return registry.get("methods", name).about.claims
    except UserError:
        return ()
