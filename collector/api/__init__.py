"""The HTTP API: JSON in, JSON out, described by its own OpenAPI document.

    desk         what answers are made from: the database, the event files, the clock
    routes       what can be asked, found in `resources`    resources    a module each, a table of routes each
    tokens       who may ask, and for how long              limits       how often
    application  one request over HTTP, to its answer       openapi      all of it, described
    serving      the server, on a thread and loop of its own

The same routes answer `Ask` of the Query service (`collector.service`), which the commands use.
"""
