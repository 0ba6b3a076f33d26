"""The engines under the projections, and how these are made anew."""
