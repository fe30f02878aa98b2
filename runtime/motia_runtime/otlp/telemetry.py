"""All that an app exports: an exporter for each signal that the environment has an address for."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterable, Mapping, Sequence

from motia_runtime.metrics.text import family
from motia_runtime.otlp.exporter import Exporter
from motia_runtime.otlp.sender import Sender
from motia_runtime.otlp.settings import JSON, BadSetting, settings_of
from motia_runtime.otlp.signals import SIGNALS, Signal
from motia_runtime.version import __version__
from motia_spec.model import Project

_log = logging.getLogger("motia.otlp")


class Telemetry:
    """Of one process. Lives as long as it, over all versions of the app. `start` and `stop` once each; `take` and `show` from the event loop."""

    def __init__(self, exporters: Sequence[Exporter]) -> None:
        self.exporters = exporters

    def start(self) -> None:
        for exporter in self.exporters:
            exporter.start()

    def show(self, project: Project) -> None:
        """As the version that runs now."""
        for exporter in self.exporters:
            exporter.show(project)

    def take(self, lines: bytes) -> None:
        """Records as they are stored, a line each."""
        for exporter in self.exporters:
            exporter.take(lines)

    def stop(self) -> None:
        """Send what is left, within a few seconds. Blocks."""
        stopping = [threading.Thread(target=exporter.stop) for exporter in self.exporters]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()

    def lines(self) -> Iterable[str]:
        """For Prometheus."""
        runs: dict[tuple[str, str], int] = {}
        for each in self.exporters:
            runs |= {(each.signal.name, "sent"): each.sent, (each.signal.name, "dropped"): each.dropped}
        names = ("signal", "result")
        yield from family("counter", "motia_otlp_runs_total", "Runs whose records were exported.", names, runs)
        for each in self.exporters:
            name = f"motia_otlp_{each.signal.items}_rejected_total"
            yield from family("counter", name, "What the collector refused.", (), {(): each.rejected})


def telemetry_of(environ: Mapping[str, str], name: str) -> Telemetry | None:
    """What the environment asks for. A setting that makes no sense is told, and that signal is not exported: the app runs without. `name`: of the app, unless
    a variable names the service."""
    instance = str(uuid.uuid4())
    exporters = [each for signal in SIGNALS if (each := _exporter(environ, signal, name, instance)) is not None]
    return Telemetry(exporters) if exporters else None


def _exporter(environ: Mapping[str, str], signal: Signal, name: str, instance: str) -> Exporter | None:
    try:
        settings = settings_of(environ, signal.name)
        if settings is None:
            return None
        sender = Sender(settings)
    except (BadSetting, OSError) as problem:
        _log.error("no %s are exported: %s", signal.name, problem)
        return None
    if settings.protocol not in ("", JSON):
        _log.info(
            "%s are sent as %s, which collectors take at the same address as %s", signal.name, JSON, settings.protocol
        )
    who = {
        "service.name": name,
        "service.instance.id": instance,
        "telemetry.sdk.name": "motia",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.version": __version__,
        **settings.resource,
    }
    return Exporter(settings, sender, signal, who)
