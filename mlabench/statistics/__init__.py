"""Statistics of repeated trainings that are tested on the same samples: intervals, comparisons, verdicts, ranks.

``resampling`` makes intervals over trainings and groups of test samples at once, ``comparisons`` compares methods in
pairs, ``decisions`` says what follows, ``ranks`` ranks many methods, ``datasets`` averages over datasets. Public: give
it your own arrays; the README beside it shows how. Reports call it. It imports nothing else of mlabench, and no torch.
"""

from mlabench.statistics.comparisons import (
    Comparison,
    Outcomes,
    Summary,
    accuracy_interval,
    area_under_curve,
    averaged,
    brier_scores,
    compare,
    contrast,
    corrected_resampled_t,
    difference_of_means,
    p_of_difference,
    paired_trainings,
    shapley,
    summarise,
    weighted_sum,
)
from mlabench.statistics.datasets import MeanOverDatasets, mean_over_datasets
from mlabench.statistics.decisions import Decision, Verdict, decide, expected_half_width, further_trainings, holm
from mlabench.statistics.ranks import (
    Ranking,
    RankInterval,
    probability_better,
    rank_intervals,
)
from mlabench.statistics.resampling import ConfidenceDistribution, Interval, confidence_distribution

__all__ = [
    "Comparison",
    "ConfidenceDistribution",
    "Decision",
    "Interval",
    "MeanOverDatasets",
    "Outcomes",
    "RankInterval",
    "Ranking",
    "Summary",
    "Verdict",
    "accuracy_interval",
    "area_under_curve",
    "averaged",
    "brier_scores",
    "compare",
    "confidence_distribution",
    "contrast",
    "corrected_resampled_t",
    "decide",
    "difference_of_means",
    "expected_half_width",
    "further_trainings",
    "holm",
    "mean_over_datasets",
    "p_of_difference",
    "paired_trainings",
    "probability_better",
    "rank_intervals",
    "shapley",
    "summarise",
    "weighted_sum",
]
