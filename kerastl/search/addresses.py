"""Whether a cluster answers at its address, asked before Ray or Dask is.

Left to themselves, Ray tries for a quarter of an hour where nobody listens, and Dask waits
for ever for one that listens and says nothing.
"""

import importlib
import os
import socket
from urllib.parse import urlsplit

# what opens HTTP/2, and the type of the frame that answers it (RFC 9113, 3.4 and 6.5)
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
SETTINGS = 4
LONGEST_HELLO = 2**20  # bytes; Dask's has some sixty
TOKEN = (
    "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to what `ray get-auth-token` prints on "
    "its first machine or RAY_AUTH_TOKEN_PATH to a file that holds it"
)


def knock_at_ray(address: str, seconds: float) -> None:
    """Raise an `OSError` or a `ValueError` where no Ray answers in time.

    Args:
        address: `"auto"`, `"host:port"` or `"ray://host:port"`; other kinds are left to
            Ray.
        seconds: For it to let us in, and again to answer.
    """
    place = urlsplit(address if "://" in address else f"core://{_resolve(address)}")
    if place.port is None or place.scheme not in ("core", "ray"):
        return
    with socket.create_connection((place.hostname, place.port), seconds) as connection:
        if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
            return  # a greeting would have to be encrypted
        connection.sendall(GREETING)
        with connection.makefile("rb") as answer:
            if answer.read(4)[3:] != bytes([SETTINGS]):
                raise ConnectionError("what listens there is not Ray")


def _resolve(address: str) -> str:
    """Return the host and port that Ray would try; there is no public way to ask."""
    services = importlib.import_module("ray._private.services")
    resolve = getattr(services, "canonicalize_bootstrap_address", str)
    return resolve(address)


def knock_at_dask(address: str, seconds: float) -> None:
    """Raise an `OSError` or a `ValueError` where no Dask scheduler answers in time.

    Args:
        address: `"host:port"` or `"tcp://host:port"`; other kinds are left to Dask.
        seconds: For it to let us in, and again to answer.
    """
    place = urlsplit(address if "://" in address else f"tcp://{address}")
    if place.scheme != "tcp":
        return
    if place.port is None:
        raise ValueError("it names no port, such as 8786")
    with (
        socket.create_connection((place.hostname, place.port), seconds) as connection,
        connection.makefile("rb") as answer,
    ):
        length = answer.read(8)  # a scheduler speaks first
    if not 0 < int.from_bytes(length, "little") < LONGEST_HELLO:
        raise ConnectionError("what listens there is not Dask")


def explain_ray(address: str | None, error: Exception) -> str:
    """Say why there is no Ray, and what to do.

    Args:
        address: As given; of `RAY_ADDRESS`, or none at all, where None.
        error: What `knock_at_ray` or `ray.init` raised.
    """
    told = os.environ.get("RAY_ADDRESS")
    where = address or told
    reason = " ".join(str(error).split())
    if where in (None, "", "local"):
        return f"Ray does not start on this machine ({reason}); executor='loky' does."
    if "AuthenticationError" in f"{error!r} {error.__cause__}":
        return f"address={where!r} is a Ray cluster that asks for a token: {TOKEN}."
    if "client connection timeout" in reason:  # whatever the cause was
        reason += f"; if it asks for a token, {TOKEN}"
    remedy = "leave it out" if address else "unset RAY_ADDRESS"
    return (
        f"address={where!r} is no Ray cluster that answers ({reason}); {remedy} to start "
        "one on this machine."
    )
