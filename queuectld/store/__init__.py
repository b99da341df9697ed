"""The store: the only package that uses SQL, SQLite and Peewee.

Others use `store.Store`, the values in `records`, and `maintenance`; the rest is internal.
"""
