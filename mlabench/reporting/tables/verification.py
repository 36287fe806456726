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
from mlabench.reporting.former import Verdict
from mlabench.reporting.questions import common
from mlabench.reporting.results import MULTIMODAL, Results
from mlabench.reporting.table import Cell, Row, Table, measure, unranked
from mlabench.statistics import Comparison, holm, summarise
from mlabench.words import counted

RAISES, WITHSTANDS = "raises the weak modality", "withstands missing modalities"
#: Where the first claim is looked for.
_OWN, _PROBE = f"{RAISES}: its predictions", f"{RAISES}: its encoder"

_WORDS: dict[Verdict, str] = {"supported": "held", "contradicted": "not held", "not decided": "not decided"}


def verification_tables(evidence: Evidence) -> Iterator[Table]:
    """Claims and bounds, where the best possible accuracies are known."""
    results = evidence.results
    if results.scores["bayes"].notna().any():
        yield from _claims_table(evidence)
        yield _bounds_table(results)


@dataclass(frozen=True)
class _Check:
    """A claim of one method, and what it and the suite's first method reach or lose, by seed.

    ``gain`` is by how much the method is better, None if they share no run. ``hollow``: it does worse all the same, as
    one that has learned nothing has nothing to lose.
    """

    claim: str
    label: str
    reference: Mapping[Any, float]
    own: Mapping[Any, float]
    gain: Comparison | None
    hollow: bool = False


def _claims_table(evidence: Evidence) -> Iterator[Table]:
    results = evidence.results
    reference, *others = results.labels
    claims = {label: _claims(results, label) for label in others}
    weak, complete, incomplete = _weak_modality(results), results.settings[0], results.settings[-1]
    checks = []
    if weak is not None:
        raising = [label for label in others if RAISES in claims[label]]
        checks += [_predicts_better(evidence, reference, label, weak) for label in raising]
        checks += [_encodes_better(evidence, reference, label, weak) for label in raising]
    if complete != incomplete:
        checks += [_withstands(evidence, reference, label) for label in others if WITHSTANDS in claims[label]]
    if not checks:
        return
    by_claim: dict[str, list[_Check]] = {}
    for check in checks:
        by_claim.setdefault(check.claim, []).append(check)
    measures = {
        _OWN: f"Predictions: the accuracy of those from {weak} alone, with {complete} missing, in percent. ",
        _PROBE: f"Encoder: the accuracy of a linear probe on {weak}'s frozen encoder, in percent. ",
        WITHSTANDS: f"{WITHSTANDS.capitalize()}: what the multimodal accuracy loses from {complete} to {incomplete} "
        f"missing, in points; a method that is below {reference} at {incomplete} all the same has not held. ",
    }
    rows, held = [], 0
    for claim, own in by_claim.items():
        (family,) = common.corrected({check.label: check.gain for check in own})
        for check in own:
            word = _word(check, family.p_values[check.label])
            held += word == "held"
            means = Cell(summarise(check.reference.values())), Cell(summarise(check.own.values()))
            gain, p, _ = family.cells(check.label)
            rows.append(Row((claim, check.label), (*means, gain, p, Cell(text=word)), group=claim))
    yield Table(
        name="claims",
        title=f"Verification: what the methods' sources claim, against {reference}",
        note=f"{held} of {counted(len(checks), 'check')} held. {''.join(measures[claim] for claim in by_claim)}"
        "Gain: by how much the method is better, in points, with a 95 % interval over seeds and test samples (over "
        "seeds alone for the encoder). Held (not held): it lies above (below) 0, and p, corrected by Holm's method "
        "for the methods with the same claim, is below 0.05.",
        conditions=wording.conditions(results.plan, results.on_axis()),
        heads=("Claim", "Method"),
        columns=unranked(reference, "Method", "Gain", "p", "Verdict"),
        rows=tuple(rows),
    )


def _word(check: _Check, p: float | None) -> str:
    if check.gain is None:
        return "not measured"
    return "not held" if check.hollow else _WORDS[common.verdict(check.gain.difference, p)]


def _predicts_better(evidence: Evidence, reference: str, label: str, weak: str) -> _Check:
    setting = evidence.results.settings[0]
    first, own = (evidence.per_seed(name, setting, weak) for name in (reference, label))
    return _Check(_OWN, label, first, own, common.compared(evidence, label, reference, setting, weak))


def _encodes_better(evidence: Evidence, reference: str, label: str, weak: str) -> _Check:
    setting = evidence.results.settings[0]
    first, own = (evidence.probe(name, setting).get(weak, {}) for name in (reference, label))
    return _Check(_PROBE, label, first, own, common.over_seeds(own, first))


def _withstands(evidence: Evidence, reference: str, label: str) -> _Check:
    ends = evidence.results.settings[0], evidence.results.settings[-1]

    def lost(name: str) -> dict[int, float]:
        start, end = (evidence.per_seed(name, setting, MULTIMODAL) for setting in ends)
        return {seed: start[seed] - end[seed] for seed in start.keys() & end.keys()}

    places = [(name, setting, MULTIMODAL) for name in (reference, label) for setting in ends]
    gain = common.contrasted(evidence, places, (1.0, -1.0, -1.0, 1.0))
    first, own = (summarise(evidence.per_seed(name, ends[1], MULTIMODAL).values()).mean for name in (reference, label))
    hollow = first is not None and own is not None and own < first
    return _Check(WITHSTANDS, label, lost(reference), lost(label), gain, hollow)


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
    beaten = int((known["p"] < common.LEVEL).sum())
    return Table(
        name="bounds",
        title="Verification: accuracy as a share of the best possible one",
        note=f"{beaten or 'None'} of {len(known):,} accuracies lies beyond its bound by more than chance "
        "(one-sided binomial tests, one for each method, seed, missing rate and modality, corrected by Holm's method; "
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
    return "within" if min(p_values) >= common.LEVEL else f"beaten, {wording.p_value(min(p_values))}"


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
