"""Hosts: which of them are this machine, to who offers a hub there and to who asks one."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host, by its name alone: no name is looked up.

    A name below `localhost` may be anybody's: not every resolver keeps it at home.
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
