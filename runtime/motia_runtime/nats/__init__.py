"""NATS JetStream behind the ports of `motia_runtime.ports`.

binary, embedded    the private nats-server of an app without a broker of its own
connect             settings from the environment, one connection
rights              what the server does not let us do, and what to allow
link, fast, plain   one connection as `NatsLog` uses it, on nats-py: our own hot path, or nats-py's
streams, reconcile  which streams and buckets an app has, and making the broker agree
log, appends, batches, reads, durables, pulls   `ports.Log`
"""
