"""S3 with Object Lock as an object store, plain S3 as a key place, and the probe that a store must pass."""
