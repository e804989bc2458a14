"""A loopback upstream that streams in the wire shapes of eight providers, and a show of it.

``python -m streamnorm.demo`` runs the show (extra ``demo``). The upstream itself
(`streamnorm.demo.upstream`) and its streams need nothing but the standard library.
"""
