"""Everything that is kept: the only package that knows SQL, SQLite and Peewee.

`store.Store` is what others use; what they get back is in `records`. Nothing else in here is for them.
"""
