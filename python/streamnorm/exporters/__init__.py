"""Hands what is known of a finished stream to a metrics library; one module for each.

`streamnorm.exporters.otel` needs the extra ``otel``, `streamnorm.exporters.prometheus` the
extra ``prometheus``. Nothing else of streamnorm imports them.
"""
