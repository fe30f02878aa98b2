"""CloudEvents 1.0 as messages of NATS: what the events of an app say of themselves, and what other programs send to it.

https://github.com/cloudevents/spec: the core, the JSON event format and the NATS protocol binding, whose binary mode is that of its version 1.0.3.

attributes   names and values of attributes as headers
outgoing     headers of the events that are stored
incoming     a message of another program, read
"""
