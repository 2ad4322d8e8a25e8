"""A shop on Django.

python manage.py migrate --run-syncdb
python manage.py quaff dev              # web application, worker and server
curl -X POST http://127.0.0.1:8000/orders/7
"""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    execute_from_command_line(sys.argv)
