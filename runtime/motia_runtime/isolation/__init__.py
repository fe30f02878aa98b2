"""Steps with `isolation: process`: their handlers run in processes of their own, their effects stay here.

pool      the worker processes of one step: started when needed, kept, replaced when one dies
apart     handlers of other steps in such a process for a while, for events that may kill theirs
process   one of them, from its start to its end; also its output and what is said when it dies
requests  what a handler asks for over there, done here on the context of its attempt
wire      what both sides say to each other
failures  how errors cross, in both directions
child     the program that a worker process runs
remote    what stands behind `ctx` over there

A handler in a process changes nothing by itself: state, emits and streams are requests to the app, whose `Unit` buffers and commits them as it
does for every other handler. So a process may be killed at any moment. docs/decisions/0010-process-isolation.md has the why.
"""
