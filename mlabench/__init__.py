"""mlabench: a benchmark of multimodal learning with all modalities present and with modalities missing.

The public contract for plugins lives in :mod:`mlabench.method` (methods), :mod:`mlabench.encoders`
(encoders) and :mod:`mlabench.datasets` (datasets). Importing this package does not import torch.
"""

__version__ = "0.1.0"
