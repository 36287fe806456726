"""The families of methods, by which readers filter."""

from __future__ import annotations

FUSION = "Fusion"
BALANCED = "Balanced learning"
MISSING = "Missing modalities"
MLA = "MLA"
OTHERS = "Other methods"
CONTRIBUTED = "Contributed"

#: By registered name. Fusion is plain or weighted; one modality alone is its control.
_MEMBERS = {
    FUSION: "concat sum film bigated late_fusion qmf unimodal",
    BALANCED: "ogm_ge agm g_blending mmcosine mmpareto opm pmr reconboost relearning umt dgl lfm arl aug inforeg",
    MISSING: "imputation mmin modality_dropout imder mmanet momke shaspec",
    MLA: "mla mla_released",
}

#: In the order in which filters show them.
FAMILIES = (*_MEMBERS, OTHERS, CONTRIBUTED)

_BY_METHOD = {method: family for family, methods in _MEMBERS.items() for method in methods.split()}


def family_of(method: str) -> str:
    """The family of a registered method; :data:`OTHERS` for those that a plugin adds."""
    return _BY_METHOD.get(method, OTHERS)
