"""Every example in a docstring runs and gives what it says."""

from __future__ import annotations

import doctest
import pkgutil
from importlib import import_module

import pytest

import fiftyone_plugin

MODULES = [
    module.name
    for module in pkgutil.walk_packages(fiftyone_plugin.__path__, "fiftyone_plugin.")
    if not module.name.startswith("fiftyone_plugin.plugin")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = import_module(name)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.testmod(module, optionflags=flags).failed == 0
