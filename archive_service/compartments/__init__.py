"""Compartments, and what is moved into them."""
