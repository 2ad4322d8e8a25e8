"""Jobs over HTTP, without a framework: tickets, the status of a job, its events, and the script for a page.

``quaff.flask``, ``quaff.quart`` and ``quaff.asgi`` read a request, call ``JobViews`` and send what it answers.
"""
