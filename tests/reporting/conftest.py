from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.reporting.browser import Page, browser


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page
