"""What Django asks of an app."""

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class QuaffConfig(AppConfig):
    """Has each app's ``tasks`` imported, so that every process knows all tasks."""

    name = "quaff.django"
    label = "quaff"

    def ready(self) -> None:
        autodiscover_modules("tasks")
