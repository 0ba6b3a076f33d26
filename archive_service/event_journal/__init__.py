"""The event journal in the sense of NF Z42-013 and ISO 14641: a view of a tenant's logs, never a store of its own."""
