from __future__ import annotations

import pytest


@pytest.fixture
def site(transactional_db, tmp_path):
    """The test project on an ASGI server."""
    pytest.importorskip("uvicorn")
    from tests.results.serving import Site

    with Site(tmp_path) as site:
        yield site
