"""Numbers for Prometheus, off unless `MOTIA_METRICS` says where to listen.

text     the exposition format
counts   runs counted, as their records are written
now      what is looked up when somebody asks: steps, streams, the process
server   the address, and the page `/metrics` on it
"""
