"""URLs as text: which names are URLs, and what of them may be shown."""

from __future__ import annotations

import os
import re
from urllib.parse import quote, unquote

# Patterns are texts, which `re` compiles and keeps when they are first used: few commands meet a URL.
_SCHEME = r"([A-Za-z][A-Za-z0-9+.-]+)://"
_CHAIN = r"(?s)[A-Za-z][A-Za-z0-9+.-]*(?:://(?:[^:\[]|\[[^\]]*\]|:(?!:))*)?::"
#: Before the host: everything up to the last @ of the authority.
_LOGIN = r"(?<=://)[^/?#\s]*@"
#: The same where the password holds a blank, a slash, ? or #, which it should hold as %20, %2F, %3F and %23.
_ODD_LOGIN = r"(?s)(?<=://)(?!\[)[^/?#\s:@]*:(?=[^\s/?#])(?!\d*(?:[/?#\s]|$))[^@]*@"
_BLANK_LOGIN = r"(?<=://)[^/?#\s:@]+:(?!\s)[^/?#\s]*\s[^/?#]*@"
#: The login in a text, whatever quotes are in it; what comes before the @ of these schemes is no login.
_LOGIN_IN_TEXT = r"(?<!github)(?<!abfs)(?<!abfss)(?<!wasb)(?<!wasbs)://[^/?#\s]*@"
#: A URL of which a `Path` has left one slash of the two; as text only where it is one beyond doubt.
_ONE_SLASH = r"(?i)(?<![\w+.-])(https?:|[A-Za-z][A-Za-z0-9+.-]+:(?=/[^\s/]*@))/(?!/)"
_IN_TEXT = r"([A-Za-z][A-Za-z0-9+.-]+://[^\s\"'<>]*?)([:;,.]*(?=[\s\"'<>]|$))"
#: Schemes whose part before the @ names a container or a repository, unless it holds a colon.
_CONTAINERS = ("abfs", "abfss", "wasb", "wasbs")


def scheme(url: str) -> str:
    """The scheme of a URL in lower case; empty for a chain of several.

    >>> scheme("HTTPS://example.org/x"), scheme("zip::https://example.org/x.zip")
    ('https', '')
    """
    match = re.match(_SCHEME, url)
    return match[1].lower() if match and len(links(url)) == 1 else ""


def links(url: str) -> list[str]:
    """The links of a chain of fsspec's. The host of an address with brackets has colons too, and is no chain.

    >>> links("zip://a.zip::https://[::1]/x.zip")
    ['zip://a.zip', 'https://[::1]/x.zip']
    """
    found = []
    while not re.match(r"(?:https?|github)://", url, re.IGNORECASE) and (match := re.match(_CHAIN, url)):
        found.append(match[0].removesuffix("::"))
        url = url[match.end() :]
    return [*found, url]


def is_url(text: object) -> bool:
    """Whether a text is a URL. A path with `::` in it that exists, or whose folder does, is a path.

    >>> is_url("https://example.org/x"), is_url("zip::data.zip"), is_url("C:/x"), is_url("runs/CHGCAR")
    (True, True, False, False)
    """
    if not isinstance(text, str):
        return False
    if re.match(_SCHEME, text):
        return True
    if not re.match(_CHAIN, text):
        return False
    import glob

    folder = os.path.dirname(text)
    try:
        there = os.path.lexists(text) or ("::" in folder and os.path.isdir(folder))
        return not there and ("://" in text or not any(glob.iglob(text, recursive=True)))
    except ValueError:  # a NUL
        return True


def is_url_as_path(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a URL, also one that `Path` has made of it: with one slash, in no folder that is there.

    >>> is_url_as_path("s3://bucket/x"), is_url_as_path("s3:/bucket/x"), is_url_as_path("C:/x")
    (True, True, False)
    """
    text = os.fsdecode(path)
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text) is not None and not os.path.isdir(text.partition("/")[0])


def url_path(url: str) -> str:
    """The path of a URL, of the first link of a chain that has one; blanks and the like as they are, not as %20.

    >>> url_path("https://example.org/runs/mp-149/CHGCAR.gz?key=1"), url_path("zip::file:///a/CHGCAR.zip")
    ('runs/mp-149/CHGCAR.gz', '/a/CHGCAR.zip')
    """
    found = links(public(url))
    if len(found) > 1:
        return next((link.partition("://")[2] for link in found if "://" in link), found[-1])
    path = public(url).partition("://")[2].partition("/")[2]
    return unquote(path) if scheme(url) in ("http", "https") else path


def file_name(source: str) -> str:
    """The name of the file at a path or URL, without the parameters of a URL.

    >>> file_name("runs/Si/CHGCAR"), file_name("https://example.org/runs/NaCl.cube?key=1")
    ('CHGCAR', 'NaCl.cube')
    """
    return os.path.basename(url_path(source) if is_url(source) else source)


def public(url: str) -> str:
    """A URL without its user name and password, and without the parameters and the fragment that may hold a secret.

    >>> public("https://me:secret@example.org/x?signature=abc"), public("http://me:p@ss@localhost:80/x")
    ('https://example.org/x', 'http://localhost:80/x')
    """
    if "://" not in url:  # a path, or a chain of them
        return url
    last = links(url)[-1]
    kind = last.partition("://")[0].lower()
    if kind == "github" or (kind in _CONTAINERS and not re.match(r"\w+://[^/@]*:", last)):
        return url.partition("?")[0]
    odd = None if re.search(_LOGIN, last) else re.search(_ODD_LOGIN, last)
    if odd:
        last = last[: odd.start()] + last[odd.start() :].rpartition("@")[2]
    last = re.sub(_LOGIN, "", last).partition("?")[0]
    if kind in ("http", "https"):
        last = last.partition("#")[0]
    return re.sub(_LOGIN, "", "::".join([*(link.partition("?")[0] for link in links(url)[:-1]), last]))


def without_secrets(text: str) -> str:
    """A text in which every URL is as `public` shows it.

    >>> without_secrets("no answer of ftp://me:secret@host/x?key=1, 3 times")
    'no answer of ftp://host/x, 3 times'
    >>> without_secrets("https:/me:secret@host/x is a file")
    'https://host/x is a file'
    """
    if ":/" not in text:
        return text
    text = re.sub(_ONE_SLASH, r"\1//", text)
    text = re.sub(_LOGIN_IN_TEXT, "://", re.sub(_BLANK_LOGIN, "", text))
    return re.sub(_IN_TEXT, lambda match: public(match[1]) + match[2], text)


def _spellings(piece: str) -> tuple[str, ...]:
    return piece, unquote(piece), *(quote(piece, safe, errors="surrogatepass") for safe in ("/", ""))


def without_secrets_of(url: str, text: str) -> str:
    """A text of another library about a URL, without the secrets of that URL in any spelling."""
    text = text.replace(url, public(url))
    login = url.partition("://")[2].rpartition("@")[0] if "@" in url and "://" in url else ""
    query = url.partition("?")[2]
    pieces = [login, login.partition(":")[2], query, *(pair.partition("=")[2] for pair in query.split("&"))]
    spellings = {spelling for piece in pieces for spelling in _spellings(piece)}
    for piece in sorted(spellings, key=len, reverse=True):
        if len(piece) > 2:
            text = text.replace(piece, "...")
    return without_secrets(text)
