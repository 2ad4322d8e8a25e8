"""Settings of the shop."""

import os
from pathlib import Path

HERE = Path(__file__).parents[1]
SECRET_KEY = os.environ.get("SECRET_KEY", "change me, and make it longer than this one is")
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "shop.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["quaff.django", "shop"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DATABASE", str(HERE / "shop.db")),
        "OPTIONS": {"timeout": 30},
    }
}

QUAFF = {"RESULT_TTL": 600}
TASKS = {"default": {"BACKEND": "quaff.django.backend.QuaffBackend", "QUEUES": [], "OPTIONS": {"retries": 3}}}
