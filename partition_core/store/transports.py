"""Placeholder"""

from partition_core.store.remote import Transport


def transport_of(url: str) -> Transport:
    raise NotImplementedError
