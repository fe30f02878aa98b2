"""Steps whose handlers run in workers: processes of any language that are reached over NATS. docs/worker-protocol.md is for who writes one.

wire         what engine and workers say to each other, and on which subjects
pieces       messages above the broker's limit
inputs       what a handler is called with, and what it has returned, as JSON
attempt      one try of a run at a worker: what it asks for, done here; what it has said
switchboard  the engine's side: a run sent to a worker, heard of, sent to another one

A worker changes nothing by itself. State is read through the engine; emits and writes come back with the result, and the engine validates, commits and
records them as for every other handler: `Bound.elsewhere` is all that the rest of the engine knows. Workers may die at any moment.
docs/decisions/0012-workers-over-nats.md has the why.
"""
