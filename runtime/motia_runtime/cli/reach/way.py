"""A way that is open."""

from __future__ import annotations

from motia_runtime.cli.reach.broker import Broker
from motia_runtime.cli.reach.http import Http

Way = Broker | Http
