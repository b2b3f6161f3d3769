"""The HTML of our own pages: one small shell each, in which the user interface starts. No template engine, everything escaped.

Shells of the login and error pages say what they have to say without scripts too.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from urllib.parse import quote

import msgspec

from homeport.web.assets import PageAssets

# Shown until the user interface has drawn itself, without scripts, and when it has not been built.
_PLAIN_STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;margin:0;padding:2rem 1rem}"
    "#plain{max-width:36rem;margin:10vh auto 0}h1{font-size:1.4rem}input,button{font:inherit;padding:.4rem .8rem}"
)

ICON = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#0f5c63"/>'
    b'<path d="M16 6.5v17M10 11h12M7 18c.6 4.6 4.3 7.5 9 7.5s8.4-2.900 9-7.5" fill="none" stroke="#fff" '
    b'stroke-width="2.6" stroke-linecap="round" stroke-linejoin="round"/><circle cx="16" cy="6.5" r="2" fill="#fff"/></svg>'
)
"""The page icon."""


def content_security_policy(host: str, nonce: str) -> str:
    """The policy of our own pages.

    Args:
        host: the Host that the page was asked under; older Safari does not count WebSockets as ``'self'``.
        nonce: lets the editor's style sheets in, which are made by script. Styles in HTML attributes stay out.
    """
    sockets = f" ws://{host} wss://{host}" if all(char.isalnum() or char in ".-:[]_" for char in host) else ""
    return (
        "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'; object-src 'none'; "
        f"script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data: blob: https: http:; "
        "media-src 'self' data: blob: https:; font-src 'self' data:; worker-src 'self' blob:; manifest-src 'self'; "
        f"frame-src 'self' blob: data:; connect-src 'self'{sockets}"
    )


def script_json(value: object) -> str:
    """JSON that can stand in a ``<script>`` element."""
    text = msgspec.json.encode(value, enc_hook=str).decode()
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def shell(*, base_url: str, title: str, config: Mapping[str, object], assets: PageAssets | None, nonce: str, plain: str = "") -> bytes:
    """A page.

    Args:
        config: the page's configuration; docs/architecture.md has its keys.
        assets: what to load; None when the user interface has not been built.
        plain: HTML that is shown until the user interface draws itself.
    """
    static = html.escape(base_url) + "static/"
    head = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="color-scheme" content="light dark">\n',
        f"<title>{html.escape(title)}</title>\n",
        f'<link rel="icon" type="image/svg+xml" href="{html.escape(base_url)}favicon.ico">\n',
        f'<style nonce="{nonce}">{_PLAIN_STYLE}</style>\n' if plain or assets is None else "",
    ]
    if assets is not None:
        head += [f'<link rel="stylesheet" href="{static}{quote(name)}">\n' for name in assets.styles]
        head.append(f'<script type="module" src="{static}{quote(assets.script)}"></script>\n')
        head += [f'<link rel="modulepreload" href="{static}{quote(name)}">\n' for name in assets.preload]
    body = [
        f'<script type="application/json" id="homeport-config">{script_json(config)}</script>\n</head>\n<body>\n',
        f'<div id="app">{plain}</div>\n',
        NOT_BUILT if assets is None else "<noscript><p>This page needs JavaScript.</p></noscript>\n",
        "</body>\n</html>\n",
    ]
    return "".join([*head, *body]).encode()


NOT_BUILT = (
    '<div id="plain"><h1>The user interface has not been built</h1><p>Homeport runs, and its API answers; only the pages are missing. '
    "In a checkout of its repository run <code>make run</code>, or <code>pip install .</code>, and reload this page.</p></div>\n"
)


def login_form(*, action: str, next_url: str, xsrf: str, problem: str, by_password: bool) -> str:
    """The form that works without scripts."""
    what, name = ("Password or token", "password") if by_password else ("Token", "token")
    said = f'<p role="alert">{html.escape(problem)}</p>' if problem else ""
    return (
        f'<div id="plain"><h1>Log in to Homeport</h1>{said}<form method="post" action="{html.escape(action)}">'
        f'<input type="hidden" name="_xsrf" value="{html.escape(xsrf)}">'
        f'<input type="hidden" name="next" value="{html.escape(next_url)}">'
        f'<p><label>{what}<br><input name="{name}" type="password" autocomplete="current-password" required autofocus></label></p>'
        "<p><button>Log in</button></p></form>"
        "<p>The server printed a link with the token when it started; <code>homeport list</code> on its machine shows it again.</p></div>"
    )


def problem_text(*, status: int, message: str, links: Mapping[str, str]) -> str:
    """What went wrong, and ways on: link text by URL."""
    ways = "".join(f'<li><a href="{html.escape(url)}">{html.escape(text)}</a></li>' for url, text in links.items())
    return f'<div id="plain"><h1>{html.escape(message)}</h1><p>Status {status}.</p><ul>{ways}</ul></div>'
