"""Q2: whether MLA keeps the highest accuracy as modalities go missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mlabench.reporting import wording
from mlabench.reporting.answer import Answer, Family
from mlabench.reporting.questions import common
from mlabench.reporting.questions.inquiry import Inquiry, differences_chart, family
from mlabench.reporting.results import MULTIMODAL
from mlabench.reporting.table import Column, Row, Table, measure
from mlabench.statistics import Summary, summarise

_CLAIM = "As modalities go missing, MLA keeps the highest fused accuracy."


def answers(inquiry: Inquiry) -> Iterator[Answer]:
    """The answer; none if there is no MLA, nothing to compare it with, or fewer than two missing rates."""
    plan, method, rates = inquiry.plan, inquiry.method, inquiry.results.rates
    if method is None or len(rates) < 2:
        return
    shared = {other: found for other in common.baselines(plan) if len(found := _shared(inquiry, other, rates)) > 1}
    if not shared:
        return
    compared = {other: (common.area_weights(own), _named(own)) for other, own in shared.items()}
    whole = family((inquiry.versus(other, *of) for other, of in compared.items()), plan.margin)
    pairs = [(other, setting) for other, own in shared.items() for setting in own]
    by_rate = family((inquiry.versus(other, {at: 1.0}, at) for other, at in pairs), plan.margin)
    where = wording.where_missing(inquiry.results.on_axis(*rates))
    yield inquiry.answer(
        "missing",
        whole,
        _CLAIM,
        f"On average over the missing rates, {method} is {whole.tally()}. {_at_single_rates(by_rate)}",
        f"Compared: the area under the curve of fused accuracy against missing rate (trapezoidal rule), divided by the "
        f"range of the rates: a mean accuracy. {method} minus each of the {len(shared)} other methods, over the rates "
        "that both have.",
        more=(("Rate by rate, corrected together", by_rate), *inquiry.second_end_point(compared)),
        tables=(inquiry.accuracies(list(rates)), *_pattern_tables(inquiry, rates)),
        charts=(
            differences_chart(
                method, by_rate, "Fused accuracy at each missing rate", rates, f"Modalities are missing in {where}."
            ),
            *inquiry.accuracy_chart("missing_rate"),
        ),
        caveats=tuple(_caveats(inquiry, rates, by_rate)),
    )


def _shared(inquiry: Inquiry, other: str, rates: Mapping[str, float]) -> dict[str, float]:
    """The rates at which the two have repeats in common: at least half as many as at the rate with the most."""
    found = {}
    for setting in rates:
        both = [inquiry.evidence.per_seed(label, setting, MULTIMODAL).keys() for label in (inquiry.method or "", other)]
        if not inquiry.results.at(other, setting, MULTIMODAL).empty:
            found[setting] = len(both[0] & both[1])
    most = max(found.values(), default=0)
    return {setting: rates[setting] for setting, count in found.items() if 2 * count >= most}


def _named(rates: Mapping[str, float]) -> str:
    settings = list(rates)
    return f"mean of {wording.listed(settings) if len(settings) < 5 else f'{settings[0]} to {settings[-1]}'}"


def _at_single_rates(by_rate: Family) -> str:
    """Where the average hides something."""
    parts = []
    if {one.verdict for one in by_rate.contrasts} == {"better"}:
        return "At every single rate it is better than each of them."
    for verdict in ("better", "worse"):
        if found := [f"{one.other} at {one.where}" for one in by_rate.contrasts if one.verdict == verdict]:
            some = (
                wording.listed(found)
                if len(found) < 5
                else f"others at {len(found)} of {len(by_rate.contrasts)} points"
            )
            parts.append(f"{verdict} than {some}")
    crossings = [f"{other} at {at}" for other in dict.fromkeys(one.other for one in by_rate.contrasts)
                 for at in _crossings(by_rate, other)]  # fmt: skip
    told = f"At single rates it is {' and '.join(parts)}." if parts else "At no single rate a difference shows."
    return f"{told} Curves cross: {', '.join(crossings)}." if crossings else told


def _crossings(by_rate: Family, other: str) -> Iterator[str]:
    """Between which rates an order that both intervals show is turned round."""
    own = [one for one in by_rate.contrasts if one.other == other and one.verdict in ("better", "worse")]
    for before, after in pairwise(own):
        if before.verdict != after.verdict:
            yield f"{before.where} to {after.where}"


def _pattern_tables(inquiry: Inquiry, rates: Mapping[str, float]) -> Iterator[Table]:
    """Which modalities a test sample has decides what a method can make of it: at the highest rate."""
    evidence, results = inquiry.evidence, inquiry.results
    setting = list(rates)[-1]
    presence = {label: evidence.presence(label, setting) for label in results.labels}
    reference = next((present for present in presence.values() if present is not None), None)
    if reference is None:
        return
    patterns = _patterns(reference, results.plan.modalities)
    rows = []
    for label in results.labels:
        whole, outcomes = measure(results.at(label, setting, MULTIMODAL)), evidence.outcomes(label, setting, MULTIMODAL)
        known = outcomes if presence[label] is not None else None
        cells = []
        for here in patterns.values():
            if known is None:
                cells.append(replace(whole, summary=Summary()))
                continue
            folds = None if known.folds is None else known.folds[:, here]
            part = replace(known, correct=known.correct[:, here], groups=known.groups[here], folds=folds)
            cell = replace(whole, summary=summarise(100 * part.correct.mean(axis=1)))
            cells.append(common.with_interval(cell, part))
        rows.append(Row((label,), tuple(cells)))
    yield Table(
        name="patterns",
        title=f"Fused accuracy at {setting}, by the modalities that a test sample has",
        note=f"Fused accuracy in percent over the n test samples that have exactly the named modalities. "
        f"{common.INTERVALS}",
        conditions=inquiry.conditions(setting),
        heads=("Method",),
        columns=tuple(Column(f"{name} (n = {here.sum():,})") for name, here in patterns.items()),
        rows=tuple(rows),
        detail=True,
    ).with_best()


def _patterns(present: NDArray[np.bool_], modalities: tuple[str, ...]) -> dict[str, NDArray[np.bool_]]:
    """The test samples that have exactly the named modalities, few modalities first. Each ``[N]``"""
    rows = sorted({tuple(row) for row in present.tolist()}, key=lambda row: (sum(row), [not here for here in row]))
    return {
        " + ".join(name for name, here in zip(modalities, row, strict=True) if here): (present == row).all(axis=1)
        for row in rows
    }


def _caveats(inquiry: Inquiry, rates: Mapping[str, float], by_rate: Family) -> Iterator[str]:
    if beside := [setting for setting in inquiry.results.settings if setting not in rates]:
        yield f"Not on the curve because they have no rate of their own: {', '.join(beside)}."
    others = {one.other for one in by_rate.contrasts}
    if left := [label for label in common.baselines(inquiry.plan) if label not in others]:
        yield f"Not compared, having fewer than two rates in common with {inquiry.method}: {', '.join(left)}."
    used = {one.where for one in by_rate.contrasts}
    if unused := [setting for setting in rates if setting not in used]:
        yield f"Rates left out, since fewer than half of the repeats are there: {', '.join(unused)}."
    if len(rates) < 4:
        yield f"The curve has {len(rates)} points ({', '.join(rates)}): what happens between them is not known."
    yield (
        "Patterns are nested (what is missing at one rate is missing at higher ones) and shared by all methods and "
        "trainings: neighbouring rates are not independent, and another draw of patterns may give other numbers."
    )
