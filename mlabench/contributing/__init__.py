"""Results from others: a folder that anyone can check without running the code in it. Free of torch.

NAME/card.yaml                  who made it, and how (:class:`Card`)
     plugin.py                  the method, unless it is one of mlabench's own
     plans/, trials/, samples/  as the store writes them, of the contributed methods alone
     verdicts.json              what the report says of them
     SHA256SUMS                 of all other files, for ``sha256sum --check``
"""

from mlabench.contributing.card import CARD, Card, read_card, write_template
from mlabench.contributing.finding import Finding
from mlabench.contributing.layout import PLUGIN
from mlabench.contributing.packing import Packed, pack
from mlabench.contributing.rerunning import chosen, rerun
from mlabench.contributing.verifying import Verification, verify

__all__ = [
    "CARD",
    "PLUGIN",
    "Card",
    "Finding",
    "Packed",
    "Verification",
    "chosen",
    "pack",
    "read_card",
    "rerun",
    "verify",
    "write_template",
]
