"""Bounds of the buckets in which the copy head counts time."""

AGE_DAYS = (0.5, 1.5, 2.5, 3.5, 5, 7, 9, 11, 14, 18, 22, 28, 35, 45, 60, 80, 110, 150, 210, 300)
"""Bounds between the buckets of an item's age, in days."""
ORDERS_AGO = (1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 30, 45, 70, 120)
"""Bounds between the buckets of how many orders ago an item was bought."""
