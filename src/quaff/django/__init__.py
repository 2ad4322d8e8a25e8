"""Quaff for Django: ``INSTALLED_APPS += ["quaff.django"]``, ``from quaff.django import quaff``, ``manage.py quaff``.

``quaff`` is the project's Quaff; tasks are registered on it in the ``tasks.py`` of each app. ``docs/django.md`` has all
of it.
"""

from quaff.django.project import Quaff, application, quaff

__all__ = ["Quaff", "application", "quaff"]
