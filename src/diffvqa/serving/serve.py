"""A model behind an address of this machine."""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from diffvqa.answering.answer import NOTICE
from diffvqa.errors import InputError

_NEEDED = ("fastapi", "uvicorn", "python_multipart")
_PORTS = {"http": 80, "https": 443}


def serve(model: Path, host: str, port: int, origin: str | None = None) -> None:
    """Serve the model of a folder until interrupted. port: 0 for any that is free.

    origin: the address under which the page is reached through what stands in front of this server. Raises InputError
    for a folder that holds no model, an address that cannot be had or reached, and where the extra is missing.
    """
    if any(find_spec(library) is None for library in _NEEDED):
        raise InputError("serve needs libraries that are not installed: pip install 'diffvqa[serve]'")
    import uvicorn

    from diffvqa.answering.answerer import Answerer
    from diffvqa.serving.app import create_app

    origin = None if origin is None else as_sent(origin)
    # First of all: a port in use is said at once, not after the model has been loaded.
    with listen(host, port) as listener:
        address = ipaddress.ip_address(listener.getsockname()[0])
        if address.is_unspecified and origin is None:
            raise InputError(
                "expected one address of this machine, found one that stands for all of them: the server must know the "
                "name that browsers ask for; give one address, or {origin} with the start of the page's address, such "
                "as https://rad.hospital.org",
                argument="host",
                mentions=("origin",),
            )
        answerer = Answerer.from_pretrained(model)
        app = create_app(answerer, answerer.model.priors, [host], origin)
        shown = f"[{host}]" if ":" in host else host
        print(f"model {answerer.version.name}, version {answerer.version.version}: http://{shown}:", end="")
        reached = f", reached as {origin}" if origin else ""
        print(f"{listener.getsockname()[1]}{reached}  (stop with Ctrl-C)\n{NOTICE}", flush=True)
        if not address.is_loopback:
            print("Whoever reaches this address can use it: there is no password and no encryption.", flush=True)
        # No access log, and no headers that say who is behind a proxy.
        settings = uvicorn.Config(
            app,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=5,
        )
        with suppress(KeyboardInterrupt):  # how it is meant to end
            uvicorn.Server(settings).run(sockets=[listener])


def as_sent(origin: str) -> str:
    """The address of a page as browsers send it in Origin. Raises InputError for what is none."""
    try:
        parts = urlsplit(origin)
        name, port = parts.hostname or "", parts.port
        rest = (parts.path.removeprefix("/"), parts.query, parts.fragment)
        # A name may have only the characters of host names. A browser sends others in another form, and * is no name.
        named = re.fullmatch(r"[a-z0-9._-]+|[0-9a-f:.]+", name)
        if not named or parts.scheme not in _PORTS or "@" in parts.netloc or any(rest):
            raise ValueError("no origin")
    except ValueError:
        raise InputError(
            "expected the start of the page's address without a path, such as https://rad.hospital.org or "
            "http://localhost:9000, found something else",
            argument="origin",
        ) from None
    shown = f"[{name}]" if ":" in name else name
    return f"{parts.scheme}://{shown}" + ("" if port in (None, _PORTS[parts.scheme]) else f":{port}")


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at an address of this machine. Raises InputError for one that cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (socket.gaierror, UnicodeError) as error:
        raise InputError(
            "expected an address or a name of this machine, found one that is not known", argument="host"
        ) from error
    except OSError as error:
        raise _why_not(error, port) from error


def _why_not(error: OSError, port: int) -> InputError:
    if error.errno == errno.EADDRINUSE:
        said = f"{port} is in use by another program; give another one, or 0 for any that is free"
        return InputError(said, argument="port")
    if error.errno == errno.EADDRNOTAVAIL:
        said = "expected an address of this machine, found another one's; the default is 127.0.0.1"
        return InputError(said, argument="host")
    return InputError(f"{port} cannot be opened ({error.strerror}); give one from 1024 on", argument="port")
