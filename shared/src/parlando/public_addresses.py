"""Classification of IP addresses: public, loopback. No I/O."""

import ipaddress
from typing import Final

_V4 = ipaddress.IPv4Address
_V6 = ipaddress.IPv6Address

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
_6TO4: Final = ipaddress.IPv6Network("2002::/16")  # RFC 3056: bits 16 to 48 are an IPv4 address
_REFUSED: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments, RFC 6890
        "192.88.99.0/24",  # 6to4 relays, RFC 7526
        "::/96",  # IPv4-compatible, RFC 4291: deprecated
        "64:ff9b:1::/48",  # local-use NAT64, RFC 8215
        "2001::/32",  # Teredo, RFC 4380
        "3fff::/20",  # documentation, RFC 9637
        "fec0::/10",  # site-local, RFC 3879: deprecated
    )
)


def is_loopback(host: str) -> bool:
    """Whether a server that listens on `host` (an address, or `localhost`) serves this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_public(address: str) -> bool:
    """Whether an address is a global unicast address.

    For an IPv6 address with an embedded IPv4 address, the IPv4 address decides.

    Raises
    ------
    ValueError
        if `address` is not an IP address.

    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, _V6) and (inner := _embedded(found)) is not None:
        found = inner
    if any(found in network for network in _REFUSED):  # False if the IP versions differ
        return False
    return found.is_global and not found.is_multicast and not found.is_reserved


def _embedded(address: _V6) -> _V4 | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return _V4(int(address) & 0xFFFF_FFFF)
    if address in _6TO4:
        return address.sixtofour
    return None
