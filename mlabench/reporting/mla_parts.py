"""The parts of MLA that its ablation turns off: the options that choose them, and the values that stand for off."""

from __future__ import annotations

HGM, DF = "HGM", "DF"

#: Option and value by which each part is off.
OFF = {HGM: ("gradient_modification", "none"), DF: ("dynamic_fusion", "average")}
