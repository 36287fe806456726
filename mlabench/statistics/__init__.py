"""Statistics of repeated trainings that are tested on the same samples: intervals, comparisons, ranks.

``resampling`` makes intervals over seeds and groups of test samples at once, ``comparisons`` compares methods in pairs,
``ranks`` ranks many over several tasks. Public: give it your own arrays; the README beside it shows how. Reports call
it. It imports nothing else of mlabench, and no torch.
"""

from mlabench.statistics.comparisons import (
    Comparison,
    Outcomes,
    Summary,
    accuracy_interval,
    area_under_curve,
    averaged,
    compare,
    contrast,
    difference_of_means,
    distinguishable,
    effects_2x2,
    holm,
    shapley,
    summarise,
)
from mlabench.statistics.ranks import (
    Ranks,
    critical_difference,
    interquartile_mean,
    probability_of_improvement,
    win_rates,
)
from mlabench.statistics.resampling import ConfidenceDistribution, Interval, confidence_distribution

__all__ = [
    "Comparison",
    "ConfidenceDistribution",
    "Interval",
    "Outcomes",
    "Ranks",
    "Summary",
    "accuracy_interval",
    "area_under_curve",
    "averaged",
    "compare",
    "confidence_distribution",
    "contrast",
    "critical_difference",
    "difference_of_means",
    "distinguishable",
    "effects_2x2",
    "holm",
    "interquartile_mean",
    "probability_of_improvement",
    "shapley",
    "summarise",
    "win_rates",
]
