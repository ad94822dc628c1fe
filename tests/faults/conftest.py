from __future__ import annotations

import pytest

from tests.faults.harness import make_scene


@pytest.fixture
def scene():
    made = make_scene()
    yield made
    made.close()
