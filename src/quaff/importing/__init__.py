"""What waits in the queues of Celery, RQ, Dramatiq and Huey, moved into ours; the machinery of ``quaff import``."""
