"""Looks at a server as an application finds it, and says what may cost jobs there: for ``quaff doctor``."""
