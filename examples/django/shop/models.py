"""What a shop knows."""

from django.db import models


class Order(models.Model):
    number = models.IntegerField(primary_key=True)
    shipped = models.IntegerField(default=0)
