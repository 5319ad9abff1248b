"""Files of servers: one protocol (`transport`), one module a kind of server, a cache, and stores behind URLs."""
