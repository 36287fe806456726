"""Statistics of repeated trainings that are tested on the same samples: intervals, comparisons, ranks.

Reports compare records with it; anybody can import it and feed it arrays. ``resampling`` makes intervals over trainings
and groups of samples at once, ``comparisons`` compares two methods, ``ranks`` many. Free of torch and of the rest of
mlabench.
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
    holm,
    shapley,
    summarise,
)
from mlabench.statistics.ranks import critical_difference, interquartile_mean, probability_of_improvement, win_rates
from mlabench.statistics.resampling import Interval

__all__ = [
    "Comparison",
    "Interval",
    "Outcomes",
    "Summary",
    "accuracy_interval",
    "area_under_curve",
    "averaged",
    "compare",
    "contrast",
    "critical_difference",
    "difference_of_means",
    "distinguishable",
    "holm",
    "interquartile_mean",
    "probability_of_improvement",
    "shapley",
    "summarise",
    "win_rates",
]
