"""`chgdb web`: a page that shows a store, its server, and the same page as a static site.

The page (sources in `page/`, built into `static/`) decodes records by itself, from any file server. The server does
what the page cannot do. Nothing else of chgdb imports this package; it needs fastapi and uvicorn (`pip install
'chgdb[web]'`).
"""
