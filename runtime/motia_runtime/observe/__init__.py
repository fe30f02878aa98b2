"""What happened, found again: records of runs followed, indexed and searched. `index.TraceIndex` is what the CLI and the Workbench use.

    feed       records in the order in which they were written, to the end and on
    view       what is asked and answered: filters, summaries, pages, trees
    store      the index itself, one SQLite file
    queries    filters as SQL
    index      the three together, off the event loop
    redaction  what is never recorded

Nothing here is needed to run an app: the index is made from the stream of records, and made anew when it is gone.
"""
