"""Configuration: read once, checked as a whole, frozen.

`loading` is the entry and `schema` holds the tables; `export` is how others get to see it. Nothing here knows
what the values are used for, and nothing is imported here: who reads a duration does not wait for the schema.
"""
