"""The record: a row per image answered, in a database, for whoever checks the answers later.

A request leaves what it knows in a bounded line (`recorder.py`, `line.py`) and goes on. One thread
(`writer.py`) makes rows of it (`noted.py`) and writes them in portions (`database.py`, `schema.py`); when to
try again and what to delete, `policy.py` decides. `routes.py` reads. Only `schema.py` and `database.py`
import SQLAlchemy, and they are imported only where a record is kept.
"""
