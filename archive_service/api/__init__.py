"""The REST API: ``app`` lists the routes; ``routes`` has a file each; ``problems`` maps errors."""
