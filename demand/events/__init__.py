"""The log of events: what customers did, and what became of predictions, kept in a database as it is told.

Orders, reviews, browsing and profiles come in as they happen, each under an id that its sender made. Datasets are cut
from the log, and customers can be asked for by their id alone. SQLite and PostgreSQL hold it, by one model.
"""
