"""Judgement of synthetic rows: likeness to real rows, and what they tell of those they are made
from.
"""
