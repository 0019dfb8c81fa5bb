from django.db import models


class Note(models.Model):
    text = models.CharField(max_length=100)
    session = models.CharField(max_length=100, default="")

    class Meta:
        app_label = "shop"
