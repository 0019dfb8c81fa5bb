"""The settings of a small site; the environment says where its database and its Redis are."""

import json
import os
from pathlib import Path

SECRET_KEY = "of a test"
USE_TZ = True
INSTALLED_APPS = ["pytask.django", "shop"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = json.loads(
    os.environ.get("SITE_DATABASES")
    or json.dumps({"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(Path("db.sqlite3"))}})
)
TASKS = {
    "default": {
        "BACKEND": "pytask.django.PytaskBackend",
        "QUEUES": ["default", "mail"],
        "OPTIONS": json.loads(os.environ.get("SITE_OPTIONS", "{}")),
    }
}
