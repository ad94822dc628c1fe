"""Every example in a docstring runs and gives what it says."""

from __future__ import annotations

import doctest
import pkgutil
from importlib import import_module
from importlib.util import find_spec

import pytest

import demo
import fiftyone_plugin

MODULES = [
    module.name
    for package in (fiftyone_plugin, demo)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not module.name.startswith("fiftyone_plugin.plugin.")
    and not module.name.endswith("__main__")
    and (find_spec("triton") or not module.name.endswith(".device_kernels"))  # PyTorch for a Mac is without Triton
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = import_module(name)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.testmod(module, optionflags=flags).failed == 0
