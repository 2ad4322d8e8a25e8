#!/usr/bin/env python
from yourapp import app

from quaff.snippet import queue_daemon

queue_daemon(app)
