"""Traces and logs for OpenTelemetry, sent by OTLP over HTTP when the standard variables `OTEL_EXPORTER_OTLP_...` say where to.

settings   what the variables say
spans      spans made of records of runs, in OTLP's JSON
logs       log records made of them
values     attributes, of both
signals    which signals there are
sender     one request to a collector, and what its answer means
exporter   of one signal: the queue, and the thread that empties it
telemetry  the exporters of an app
"""
