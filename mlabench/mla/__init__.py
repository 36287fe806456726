"""MLA: multimodal representation learning by alternating unimodal adaptation (CVPR 2024), and its released code.

``method`` is the method as the paper has it, with every difference of published code as an option, ``released`` the
released code's choice of them. The registry finds both by name; README.md says source by source what differs.
"""

from mlabench.mla.method import MLA
from mlabench.mla.released import MLAReleased

__all__ = ["MLA", "MLAReleased"]
