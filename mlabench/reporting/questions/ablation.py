"""Q3: what gradient modification (HGM) and dynamic fusion (DF) each contribute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from mlabench.reporting import wording
from mlabench.reporting.answer import Answer, Contrast, Family, Half
from mlabench.reporting.mla_parts import DF, HGM, OFF
from mlabench.reporting.questions import common, weights
from mlabench.reporting.questions.common import Place
from mlabench.reporting.questions.inquiry import Inquiry, differences_chart, family
from mlabench.reporting.results import MULTIMODAL, Results
from mlabench.reporting.table import Row, Table, unranked
from mlabench.suite import Plan

#: The variants with both parts, HGM alone, DF alone and neither: where a part counts as on, and where as off.
_EFFECTS: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {
    HGM: ((0, 1), (2, 3)),
    DF: ((0, 2), (1, 3)),
    "Interaction": ((0, 3), (1, 2)),
}

_WORDS = {
    "better": "raises MLA's fused accuracy",
    "worse": "lowers MLA's fused accuracy",
    "practically equal": "practically does not change MLA's fused accuracy",
    "undecided": "may raise or lower MLA's fused accuracy",
}


class Design(NamedTuple):
    """The labels of the four variants of a 2x2 design, the full method first: the paper's table read backwards."""

    both: str
    only_hgm: str
    only_df: str
    neither: str


def answers(inquiry: Inquiry) -> Iterator[Answer]:
    """One for each part; none if not all four variants are trained."""
    design = find_design(inquiry.plan)
    if design is None:
        return
    results, margin = inquiry.results, inquiry.plan.margin
    fusible = [
        setting for setting in results.settings if _fusible(results, setting) and _measured(inquiry, design, setting)
    ]
    where = f"mean of {wording.listed(fusible)}" if len(fusible) > 1 else "".join(fusible)
    main = family((_effect(inquiry, design, part, fusible, where) for part in (HGM, DF)), margin)
    brier = family((_effect(inquiry, design, part, fusible, where, brier=True) for part in (HGM, DF)), margin)
    tables = {HGM: (_table(inquiry, design, where, fusible),), DF: weights.tables(inquiry, design, fusible)}
    charts = {HGM: (), DF: weights.charts(inquiry, design.both)}
    halves: tuple[Half, Half] = ("HGM", "DF")
    for place, (half, part) in enumerate(zip(halves, (HGM, DF), strict=True)):
        own = Family((main.contrasts[place],), margin)
        by_rate = family((_effect(inquiry, design, part, [at], at) for at in results.settings), margin)
        shown = tuple(replace(one, other=part) for one in by_rate.contrasts)
        yield inquiry.answer(
            half,
            own,
            f"{_LONG[part]} ({part}) raises MLA's fused accuracy.",
            _sentence(part, own.contrasts[0]),
            "Four variants of MLA are trained: with both parts, without HGM, without DF, without both. Compared: the "
            f"fused accuracy with {part} minus that without it, averaged over the other part being on and off and over "
            "the missing rates at which test samples have two modalities or more. Both parts are one family.",
            more=(
                ("Rate by rate, corrected together", by_rate),
                *((("By Brier score (sign turned: above 0 is better)", Family((brier.contrasts[place],), margin)),)
                  if brier.contrasts[place].decision else ()),
            ),
            tables=(inquiry.accuracies(results.settings), *tables[part]),
            charts=(
                differences_chart(part, Family(shown, margin), f"Fused accuracy with {part} minus without it",
                                  inquiry.results.rates, "Averaged over the other part being on and off."),
                *inquiry.accuracy_chart("missing_rate" if len(results.settings) > 1 else "accuracy"),
                *charts[part],
            ),
            caveats=tuple(_caveats(inquiry, design, fusible)),
        )  # fmt: skip


_LONG = {HGM: "Gradient modification", DF: "Dynamic fusion"}


def find_design(plan: Plan) -> Design | None:
    """A variant of the method in question and those that lack one of its parts, or both; None without all four.

    They are found by their options, whatever their labels; the method in question comes first.
    """
    options = {cell.label: cell.trial.method.config for cell in plan.cells if cell.trial.method.name == common.METHOD}
    no_hgm, no_df = (dict([OFF[part]]) for part in (HGM, DF))
    for full in sorted(options, key=lambda label: label != common.method_in_question(plan)):
        wanted = [{**options[full], **off} for off in ({}, no_df, no_hgm, no_hgm | no_df)]
        found = [label for one in wanted for label, own in options.items() if own == one]
        if len(set(found)) == len(wanted):
            return Design(*found)
    return None


def _effect(
    inquiry: Inquiry, design: Design, part: str, settings: Sequence[str], where: str, target: str = MULTIMODAL, *,
    brier: bool = False,
) -> Contrast:  # fmt: skip
    """The accuracy with a part minus that without it, over the other part being on and off, and over settings.

    The interaction is what HGM adds with DF, minus what it adds without.
    """
    scale = (-1.0 if brier else 1.0) * (1.0 if part in OFF else 2.0)
    sides = []
    for variants in _EFFECTS[part]:
        places: list[Place] = [(design[one], setting, target) for setting in settings for one in variants]
        weight = scale / max(1, len(places))
        sides.append(common.side(inquiry.evidence, places, [weight] * len(places), brier=brier))
    what = (
        "Brier score, sign turned" if brier else "fused accuracy" if target == MULTIMODAL else f"accuracy of {target}"
    )
    own = design.both
    pair = (f"{own} with {part}", f"without {part}") if part in OFF else (f"{own} with both or neither", "with one")
    return Contrast(*pair, what, where, None, "hundredths" if brier else "points", (sides[0], sides[1]))


def _measured(inquiry: Inquiry, design: Design, setting: str) -> bool:
    runs = [inquiry.evidence.per_training(label, setting, MULTIMODAL).keys() for label in design]
    return bool(set.intersection(*map(set, runs)))


def _fusible(results: Results, setting: str) -> bool:
    """Whether some test sample has two modalities: otherwise there is nothing to fuse, and DF is without effect."""
    rates = results.scores.loc[results.scores["setting"] == setting, "realised_rate"]
    return bool(rates.min() < 1 - 1 / len(results.plan.modalities) - 1e-9)


def _sentence(part: str, one: Contrast) -> str:
    if one.decision is None:
        return f"The effect of {part} was not measured: no training has all four variants."
    told = f"{part} {_WORDS[one.verdict]} {one.told('').strip()}, {one.where}."
    return f"{told} {one.needed.capitalize()}." if one.verdict == "undecided" else told


def _table(inquiry: Inquiry, design: Design, where: str, fusible: Sequence[str]) -> Table:
    """Effects on all predictions, setting by setting, and their interaction."""
    places = [(where, list(fusible), MULTIMODAL)] if len(fusible) > 1 else []
    places += [(at, [at], target) for at in inquiry.results.settings for target in inquiry.results.targets[::-1]]
    rows = []
    for name, settings, target in places:
        own = family((_effect(inquiry, design, part, settings, name, target) for part in _EFFECTS), inquiry.plan.margin)
        cells = tuple(common.difference_cell(one.effect) for one in own.contrasts)
        rows.append(Row((name, "fused" if target == MULTIMODAL else target), cells, group=name))
    return Table(
        name="effects",
        title="Effects of HGM and DF, and their interaction, on all predictions",
        note="Effects on the accuracy in points, with 95 % intervals: with the part minus without it, averaged over "
        "the other part being on and off; interaction: what HGM adds with DF minus what it adds without. DF acts at "
        "test time only, and on no unimodal prediction: what it shows there comes from the choice of another epoch.",
        conditions=inquiry.conditions(),
        heads=("Missing", "Prediction"),
        columns=unranked(*_EFFECTS),
        rows=tuple(rows),
        detail=True,
    )


def _caveats(inquiry: Inquiry, design: Design, fusible: Sequence[str]) -> Iterator[str]:
    if lost := [setting for setting in inquiry.results.settings if setting not in fusible]:
        yield f"Not in the mean, having nothing to fuse or no training with all four variants: {wording.listed(lost)}."
    optimizers = {cell.trial.training.optimizer.name for cell in inquiry.plan.cells if cell.label in design}
    if optimizers - {"sgd"}:
        yield (
            f"Trained with {wording.listed(sorted(optimizers))}: Adam rescales each element of the modified gradient "
            "and gives back much of what HGM takes away; with SGD its effect may be larger."
        )
    yield (
        "HGM does not act in the authors' released code, and according to a review (ICLR 2024) the paper's row without "
        "both parts equals its late fusion; here all four variants are trained as the equations say, on a shared head."
    )
