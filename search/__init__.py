"""Finding mail: ``query_language`` (text to tree), ``document`` (message to fields), ``indexes`` (a file a back
end), ``follower`` (logs to catalog and index)."""
