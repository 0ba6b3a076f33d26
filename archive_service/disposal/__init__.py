"""What is destroyed: dispositions, eliminations, erasure batches, and what they leave on the media."""
