"""A show: eight providers' streams as they are sent and as they come out, side by side.

``python -m streamnorm.demo`` runs it (extra ``demo``), on the loopback upstream
(`streamnorm.upstream`).
"""
