"""Results from others: a folder that anyone can check without running the code in it. Free of torch.

NAME/card.yaml                  who made it, and how (:class:`Card`)
     plugin.py                  the method, unless it is one of mlabench's own
     plans/, trials/, samples/  as the store writes them, of the contributed methods alone
     verdicts.json              what the report says of them
     SHA256SUMS                 of all other files, for ``sha256sum --check``
"""

from mlabench.contributing.card import CARD, Card, read_card, write_template
from mlabench.contributing.layout import PLUGIN, SUMS, VERDICTS

__all__ = ["CARD", "PLUGIN", "SUMS", "VERDICTS", "Card", "read_card", "write_template"]
