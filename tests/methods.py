"""Another name for what tests of methods take from :mod:`mlabench.testing`."""

from mlabench.testing import *  # noqa: F403
