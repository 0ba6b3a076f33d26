"""Who may see what: ``tokens`` (who), ``policy`` (may they), ``log`` (what they did)."""
