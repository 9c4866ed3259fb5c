"""The dashboard: one page at `/`, what it shows, and who may see it.

login.py    a code that works once becomes a session: a cookie and a key, each useless without the other
live.py     one look at the node a second while somebody watches, as server-sent events
audit.py    the real audit of this node's own ledger, in another process
routes.py   the HTTP routes, and the headers that keep other pages out
static/     the page itself: no build step, no request to anywhere else
"""
