"""Whether a worker keeps the protocol: a real broker, a real engine, the worker as its own process, and cases that any language has to pass.

project  what the worker has to serve: four steps, and one handler that does as it is told
kit      broker, engine and worker, started and stopped
cases    what is tried
"""
