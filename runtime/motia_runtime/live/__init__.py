"""Live streams: who follows items is told of every change, by whichever process made it. Knows neither NATS nor HTTP.

frames      what a client is told, encoded once for all who hear it
channels    one group of items as it stands, kept up to date while anybody follows it
hub         the channels of a process, and its one watch of the log
clients     one who follows: bounded, whatever it reads
door        who may connect, and who may follow what
"""
