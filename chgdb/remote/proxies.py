"""The proxy that the environment names for a URL, by curl's rules.

`http_proxy` (in lower case only, since a web server sets HTTP_PROXY from a header of its visitors), `https_proxy` or
HTTPS_PROXY, else `all_proxy` or ALL_PROXY; none for hosts in `no_proxy` or NO_PROXY: names with all that ends in them,
addresses, networks such as 10.0.0.0/8, or `*`. Without a port it is 1080. SOCKS is not supported, and said so.
"""

from __future__ import annotations

import os
import re

from ..errors import RemoteError
from ..urls import public

_VARIABLES = {"http": ("http_proxy",), "https": ("https_proxy", "HTTPS_PROXY")}
_ALL = ("all_proxy", "ALL_PROXY")


def proxy_for(scheme: str, host: str) -> str:
    """URL of the proxy, with its password and its port; empty: none.

    host: an address without brackets. Raises `RemoteError` if the environment names something that is no proxy, or
    one of a kind that is not supported.
    """
    for variable in (*_VARIABLES.get(scheme, ()), *_ALL):
        text = os.environ.get(variable, "").strip()
        if text:
            return "" if _bypassed(host) else _checked(text, variable)
    return ""


def _checked(text: str, variable: str) -> str:
    from urllib3.exceptions import LocationParseError
    from urllib3.util import parse_url

    url = text if "://" in text else f"http://{text}"
    try:
        parts = parse_url(url)
    except (LocationParseError, ValueError):
        parts = None
    if parts is None or not parts.scheme or not parts.host or not re.fullmatch(r"[\x21-\x7e]+", parts.host):
        raise RemoteError(f"the proxy of the environment variable {variable}, {public(url)!r}, is no URL")
    if parts.scheme not in ("http", "https"):
        raise RemoteError(
            f"the proxy of the environment variable {variable} is of a kind, {parts.scheme}, that is not supported; "
            "name an http:// one, or the host of the store in NO_PROXY"
        )
    port = parts.port or (443 if parts.scheme == "https" else 1080)
    return f"{parts.scheme}://{parts.auth + '@' if parts.auth else ''}{parts.host}:{port}"


def _bypassed(host: str) -> bool:
    """Whether `no_proxy` names a host."""
    listed = re.split(r"[,\s]+", os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "")
    host = host.strip("[]").rstrip(".").lower()
    if "*" in listed:
        return True
    names = [name.strip("[]").strip(".").lower() for name in listed if name.strip(".[]")]
    return any(host == name or host.endswith(f".{name}") or _in_network(host, name) for name in names)


def _in_network(host: str, network: str) -> bool:
    import ipaddress

    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:  # one of them is a name
        return False
