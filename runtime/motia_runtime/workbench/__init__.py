"""The Workbench: what a browser shows of an app, its HTTP API under `/__workbench/api`, and the channel that tells it what happens.

site      who may ask, and which of the following answers
assets    the files of the front end (`ui/`), read once
live      what happens, as it happens, to the browsers that look
audience  who follows streams now
board     what the last save of the spec was like; outlives the versions of an app
bench     what the API reads: one version of an app
api/      the API, a module for each page
"""
