"""Tests that need a Node."""

from __future__ import annotations

import pytest

from motia_runtime.remote import node


def have_node() -> bool:
    try:
        node.find()
    except node.NoNode:
        return False
    return True


def needs_node() -> None:
    """Skip the test, aloud, where no Node can run steps in TypeScript."""
    try:
        node.find()
    except node.NoNode as problem:
        pytest.skip(str(problem))
