"""Traces for OpenTelemetry, sent by OTLP over HTTP when the standard variables `OTEL_EXPORTER_OTLP_...` say where to.

settings   what the variables say
spans      spans made of records of runs, in OTLP's JSON
sender     one request to a collector, and what its answer means
exporter   the queue and the thread that empties it
"""
